"""What is checked of a file before it is read: kind, size and length."""

"""The built-in synthetic colon."""

"""What is fitted to a trained network after training."""

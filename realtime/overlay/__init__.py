"""What is drawn on a frame: findings, and the status beside them."""

"""Live video from the network, and its way back after a loss."""

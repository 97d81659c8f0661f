"""Receives live video from the network and reconnects after a loss."""

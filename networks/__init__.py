"""Builds the network, and reads and writes the bundles that hold it."""

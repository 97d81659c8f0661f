"""The network, and the bundles that hold it."""

"""Serves the tab where people outline lesions."""

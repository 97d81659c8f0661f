"""Reads frames from files, folders, cameras, the network and synthetic scenes."""

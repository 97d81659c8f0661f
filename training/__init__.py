"""Trains a network and writes its bundle: images, augmentation, losses and loop."""

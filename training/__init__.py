"""How a network is trained: images, losses, loop and the bundle at the end."""

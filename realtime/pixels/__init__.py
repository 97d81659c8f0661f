"""An image in memory: its forms, its colours and the memory it lies in."""

"""Holds images in memory: their forms, their colours and their memory."""

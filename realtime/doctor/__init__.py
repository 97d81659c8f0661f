"""Checks what this machine has, what qlumen uses, and how to add the rest (`qlumen doctor`)."""

"""Holds pixel loops that Numba compiles; they use arrays and numbers, nothing else of qlumen."""

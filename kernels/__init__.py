"""Loops over pixels, compiled by Numba. They know arrays and numbers, nothing else of qlumen."""

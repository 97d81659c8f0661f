"""Measures where the time of a frame goes (`qlumen profile`)."""

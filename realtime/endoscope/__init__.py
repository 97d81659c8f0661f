"""Judges what an endoscope shows: its visible field, the quality of a frame, and private parts."""

"""What an endoscope shows: its visible field, how good a frame is, and what is private."""

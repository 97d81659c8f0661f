"""How a frame is judged: one way for live video, replay, review, report and evaluation."""

"""Scores the alarms of live video: false ones a minute, lesions found, time to the first alarm."""

"""A processed recording on disk: what the network said of each frame, to be looked at again
and again with other thresholds, without the network."""

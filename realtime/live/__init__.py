"""Shows live video with the findings on it."""

# Imported before PyAV: both bring parts of libxcb under the same names, and a window opens only
# with OpenCV's.
import cv2  # noqa: F401

"""Draws findings on the images that a review stores, at their stored size."""

from collections.abc import Sequence

from qlumen.realtime.frames import Finding
from qlumen.realtime.overlay.findings import Overlay
from qlumen.realtime.pixels.jpeg import jpeg_bytes
from qlumen.realtime.review.review import Review
from qlumen.realtime.tracking.findings import scale_finding, segment_findings

JPEG_QUALITY = 90


def draw_jpeg(review: Review, place: int, findings: Sequence[Finding], overlay: Overlay) -> bytes:
    """Draw these findings on the stored image of their frame, and encode it as JPEG."""
    image = review.image(place)
    size = image.shape[1], image.shape[0]
    frame_size = review.frames[place].size
    small = (one for finding in findings for one in scale_finding(finding, frame_size, size))
    return jpeg_bytes(overlay(image, segment_findings(small, size)), JPEG_QUALITY)

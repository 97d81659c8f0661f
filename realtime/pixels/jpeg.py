"""Encodes images as JPEG files."""

import cv2

from qlumen.errors import SinkError
from qlumen.realtime.pixels.arrays import Image


def jpeg_bytes(image: Image, quality: int) -> bytes:
    """Return `(H, W, 3) uint8` BGR, or `(H, W) uint8`, as a JPEG file of `quality` 0 to 100.

    Raises:
        SinkError: a side is longer than the 65,500 pixels that a JPEG file can have.
    """
    encoded, file = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not encoded:
        height, width = image.shape[:2]
        raise SinkError(f"an image of {width}x{height} cannot be encoded as JPEG")
    return bytes(file.data)

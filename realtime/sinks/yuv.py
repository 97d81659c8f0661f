"""From BGR images to the pictures that a video encoder takes."""

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.realtime.frames import Image

# ITU-R BT.709-6, items 3.2 to 3.5: weights of red and blue, range of 8-bit signals.
RED, BLUE = 0.2126, 0.0722
LUMA_RANGE, LUMA_BLACK = 219, 16
CHROMA_RANGE, CHROMA_ZERO = 224, 128


def to_i420(image: Image) -> NDArray[np.uint8]:
    """`(H, W, 3) uint8` BGR, H and W even, as `(H * 3 / 2, W) uint8` planar YUV 4:2:0.

    BT.709, limited range; within a level of the formula. Chroma is the mean of 2x2 pixels.
    """
    height, width = image.shape[:2]
    yuv = cv2.transform(image, _BGR_TO_YUV)
    half = cv2.resize(yuv, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    planes = np.empty((height * 3 // 2, width), np.uint8)
    planes[:height] = cv2.extractChannel(yuv, 0)
    chroma = planes[height:].reshape(2, height // 2, width // 2)
    chroma[0] = cv2.extractChannel(half, 1)
    chroma[1] = cv2.extractChannel(half, 2)
    return planes


def pad_to_even(image: Image) -> Image:
    """The image with its last row and column repeated where their number is odd."""
    height, width = image.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return image
    return cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)


def fit(image: Image, size: tuple[int, int]) -> Image:
    """The image scaled to fit into `size` (width, height), centred, with black bars."""
    width, height = size
    scale = min(width / image.shape[1], height / image.shape[0])
    inner = [max(1, round(side * scale)) for side in (image.shape[1], image.shape[0])]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    x, y = (width - inner[0]) // 2, (height - inner[1]) // 2
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[y : y + inner[1], x : x + inner[0]] = cv2.resize(image, inner, interpolation=method)
    return canvas


def _bgr_to_yuv() -> NDArray[np.float64]:
    luma = np.array([BLUE, 1 - RED - BLUE, RED])
    blue = (np.array([1, 0, 0]) - luma) / (1 - BLUE) / 2
    red = (np.array([0, 0, 1]) - luma) / (1 - RED) / 2
    scaled = np.stack([luma * LUMA_RANGE, blue * CHROMA_RANGE, red * CHROMA_RANGE]) / 255
    return np.column_stack([scaled, [LUMA_BLACK, CHROMA_ZERO, CHROMA_ZERO]])


_BGR_TO_YUV = _bgr_to_yuv()

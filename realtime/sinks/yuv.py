"""From BGR images to the pictures that a video encoder takes."""

from collections.abc import Iterable

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.realtime.frames import Box, Image

# ITU-R BT.709-6, items 3.2 to 3.5: weights of red and blue, range of 8-bit signals.
RED, BLUE = 0.2126, 0.0722
LUMA_RANGE, LUMA_BLACK = 219, 16
CHROMA_RANGE, CHROMA_ZERO = 224, 128


def to_picture(image: Image) -> av.VideoFrame:
    """`(H, W, 3) uint8` BGR as `yuv420p`; odd sides are made even by repeating the edge."""
    return av.VideoFrame.from_ndarray(to_i420(pad_to_even(image)), format="yuv420p")


def repainted(decoded: av.VideoFrame, image: Image, boxes: Iterable[Box]) -> av.VideoFrame:
    """A copy of a `yuv420p` picture, with these boxes of `image` in place of its own.

    Boxes grow to even bounds. Elsewhere all samples are those of `decoded`.

    Args:
        image: `(H, W, 3) uint8` BGR of the same even size.
    """
    picture = av.VideoFrame(decoded.width, decoded.height, "yuv420p")
    planes = [_samples(plane) for plane in picture.planes]
    for plane, source in zip(planes, decoded.planes, strict=True):
        np.copyto(plane, _samples(source))
    for x0, y0, x1, y1 in boxes:
        left, top, right, bottom = x0 // 2, y0 // 2, (x1 + 1) // 2, (y1 + 1) // 2
        patch = image[2 * top : 2 * bottom, 2 * left : 2 * right]
        height, width = patch.shape[:2]
        fresh = to_i420(np.ascontiguousarray(patch))
        planes[0][2 * top : 2 * bottom, 2 * left : 2 * right] = fresh[:height]
        chroma = fresh[height:].reshape(2, height // 2, width // 2)
        for plane, values in zip(planes[1:], chroma, strict=True):
            plane[top:bottom, left:right] = values
    return picture


def _samples(plane: av.video.plane.VideoPlane) -> NDArray[np.uint8]:
    """A plane's samples where FFmpeg keeps them, `(h, w)`; rows as far apart as it likes."""
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[: plane.height, : plane.width]


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


def padded(size: tuple[int, int]) -> tuple[int, int]:
    """Width and height rounded up to even numbers."""
    return size[0] + size[0] % 2, size[1] + size[1] % 2


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

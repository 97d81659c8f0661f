"""Converts BGR images to frames for a video encoder: BT.709, limited range."""

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.kernels.yuv420 import bgr_to_yuv420
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.pixels.colour import BT709, encoding

Plane = NDArray[np.uint8]


def to_video_frame(image: Image) -> av.VideoFrame:
    """Convert `(H, W, 3) uint8` BGR to a `yuv420p` frame, exact except for rounding.

    Chroma is that of the mean of 2x2 pixels. Odd sides are made even: the edge is repeated.
    """
    even = np.ascontiguousarray(pad_to_even(image)).view()
    even.flags.writeable = False  # read-only for all: Numba compiles for each kind of array
    frame = av.VideoFrame(even.shape[1], even.shape[0], "yuv420p")
    bgr_to_yuv420(even, _MAPPING, *(plane_lines(plane) for plane in frame.planes))
    return frame


def plane_lines(plane: av.video.plane.VideoPlane) -> Plane:
    """Return a plane in FFmpeg's memory with the bytes between its rows, `(rows, line) uint8`."""
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)


def plane_samples(plane: av.video.plane.VideoPlane) -> Plane:
    """Return a plane's samples in FFmpeg's memory, `(h, w)`, with a row stride of its own."""
    return plane_lines(plane)[: plane.height, : plane.width]


def frame_lines(frame: av.VideoFrame) -> tuple[Plane, Plane, Plane]:
    """Return read-only `plane_lines` of luma, Cb and Cr; from `nv12`, Cb and Cr are copies."""
    luma, *chroma = (plane_lines(plane) for plane in frame.planes)
    blue, red = cv2.split(chroma[0].reshape(len(chroma[0]), -1, 2)) if len(chroma) == 1 else chroma
    for plane in (luma, blue, red):
        plane.flags.writeable = False
    return luma, blue, red


def even_size(size: tuple[int, int]) -> tuple[int, int]:
    """Round width and height up to even numbers."""
    return size[0] + size[0] % 2, size[1] + size[1] % 2


def pad_to_even(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Repeat the last row and column of `(H, W, ...)` where their number is odd."""
    height, width = image.shape[:2]
    if height % 2 == 0 and width % 2 == 0:
        return image
    return cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)


def fit(image: Image, size: tuple[int, int]) -> Image:
    """Scale the image to fit into `size` (width, height), centred, with black bars."""
    width, height = size
    scale = min(width / image.shape[1], height / image.shape[0])
    inner = [max(1, round(side * scale)) for side in (image.shape[1], image.shape[0])]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    x, y = (width - inner[0]) // 2, (height - inner[1]) // 2
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[y : y + inner[1], x : x + inner[0]] = cv2.resize(image, inner, interpolation=method)
    return canvas


_MAPPING = encoding(BT709, full=False)

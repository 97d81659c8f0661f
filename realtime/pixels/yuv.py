"""From BGR images to the frames that a video encoder takes: BT.709, limited range."""

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.kernels.yuv420 import bgr_to_yuv420
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.pixels.colour import BT709, encoding

Plane = NDArray[np.uint8]


def to_video_frame(image: Image) -> av.VideoFrame:
    """`(H, W, 3) uint8` BGR as `yuv420p`, exact but for the rounding. Chroma is that of the mean
    of 2x2 pixels; odd sides are made even by repeating the edge."""
    even = np.ascontiguousarray(pad_to_even(image)).view()
    even.flags.writeable = False  # as some images are: another kind would be compiled for
    picture = av.VideoFrame(even.shape[1], even.shape[0], "yuv420p")
    bgr_to_yuv420(even, _MAPPING, *(plane_lines(plane) for plane in picture.planes))
    return picture


def plane_lines(plane: av.video.plane.VideoPlane) -> Plane:
    """A plane where FFmpeg keeps it, C-contiguous `(rows, line) uint8`: its samples, and what is
    between the end of a row and the next."""
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)


def plane_samples(plane: av.video.plane.VideoPlane) -> Plane:
    """A plane's samples where FFmpeg keeps them, `(h, w)`; rows as far apart as it likes."""
    return plane_lines(plane)[: plane.height, : plane.width]


def frame_lines(frame: av.VideoFrame) -> tuple[Plane, Plane, Plane]:
    """`plane_lines` of luma, Cb and Cr, not to be written to; of `nv12`, whose chroma alternates,
    Cb and Cr are copies."""
    luma, *chroma = (plane_lines(plane) for plane in frame.planes)
    blue, red = cv2.split(chroma[0].reshape(len(chroma[0]), -1, 2)) if len(chroma) == 1 else chroma
    for plane in (luma, blue, red):
        plane.flags.writeable = False
    return luma, blue, red


def even_size(size: tuple[int, int]) -> tuple[int, int]:
    """Width and height rounded up to even numbers."""
    return size[0] + size[0] % 2, size[1] + size[1] % 2


def pad_to_even(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image, `(H, W, ...)`, with its last row and column repeated where their number is odd."""
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


_MAPPING = encoding(BT709, full=False)

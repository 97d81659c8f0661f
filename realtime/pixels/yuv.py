"""From BGR images to the pictures that a video encoder takes: BT.709, limited range."""

from collections.abc import Iterable

import av
import cv2
import numpy as np

from qlumen.kernels.yuv420 import bgr_to_yuv420
from qlumen.realtime.pixels.annotated import Patch
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.pixels.colour import BT709, encoding
from qlumen.realtime.pixels.planes import Planes, plane_lines, samples
from qlumen.realtime.pixels.pool import FramePool


def to_picture(image: Image) -> av.VideoFrame:
    """`(H, W, 3) uint8` BGR as `yuv420p`, exact but for the rounding. Chroma is that of the mean
    of 2x2 pixels; odd sides are made even by repeating the edge."""
    even = np.ascontiguousarray(pad_to_even(image)).view()
    even.flags.writeable = False  # as some images are: another kind would be compiled for
    picture = av.VideoFrame(even.shape[1], even.shape[0], "yuv420p")
    bgr_to_yuv420(even, _MAPPING, *(plane_lines(plane) for plane in picture.planes))
    return picture


def warm_up() -> None:
    """Compile the conversions of this kind of picture, here and back."""
    Planes(to_picture(np.zeros((2, 2, 3), np.uint8)), FramePool(prepared=1)).bgr()


def repainted(planes: Planes, patches: Iterable[Patch]) -> av.VideoFrame:
    """A copy of the picture with what is marked in these patches of even bounds.

    All other samples of luma, and of chroma where none of the 2x2 pixels is marked, are those of
    the decoder.
    """
    picture = av.VideoFrame(*planes.size, "yuv420p")
    luma, *chroma = (samples(plane) for plane in picture.planes)
    np.copyto(luma, planes.luma)
    for plane, source in zip(chroma, planes.chroma, strict=True):
        np.copyto(plane, source)
    for (x0, y0, x1, y1), image, marked in patches:
        fresh, *halves = (samples(plane) for plane in to_picture(image).planes)
        cv2.copyTo(fresh, marked, luma[y0:y1, x0:x1])
        touched = marked[::2, ::2] | marked[1::2, ::2] | marked[::2, 1::2] | marked[1::2, 1::2]
        for plane, values in zip(chroma, halves, strict=True):
            cv2.copyTo(values, touched, plane[y0 // 2 : y1 // 2, x0 // 2 : x1 // 2])
    return picture


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


_MAPPING = encoding(BT709, full=False)

"""Converts a decoded FFmpeg frame to an upright image."""

from typing import NamedTuple, TypeVar

import av
import cv2
import numpy as np
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

from qlumen.kernels.yuv420 import yuv420_to_bgr
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.pixels.base import Pixels
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.pixels.colour import MATRICES, decoding
from qlumen.realtime.pixels.planes import Planes
from qlumen.realtime.pixels.pool import FramePool
from qlumen.realtime.pixels.yuv import frame_lines
from qlumen.realtime.sources.ffmpeg.hdr import is_hdr, map_to_sdr

T = TypeVar("T", np.uint8, np.uint16)

SPC_RGB = 0  # ITU-T H.273, MatrixCoefficients
HD_WIDTH_PX = 1280
SD_HEIGHT_PX = 576
FULL_420 = "yuvj420p"
"""FFmpeg's older name for full range."""


class DecodedFrame(NamedTuple):
    """Holds a decoded frame and its upright pixels, as `Planes` if possible, else `BgrImage`."""

    frame: av.VideoFrame
    pixels: Pixels


def convert_frame(
    frame: av.VideoFrame, matrix: tuple[int, int, int, int] | None, pool: FramePool
) -> DecodedFrame:
    """Turn the frame as its display matrix asks; BGR arrays come from `pool`."""
    if matrix is None and _is_recordable(frame):
        return DecodedFrame(frame, Planes(frame, pool))
    return DecodedFrame(frame, BgrImage(turn_upright(to_bgr(frame, pool), matrix)))


def to_bgr(frame: av.VideoFrame, pool: FramePool) -> Image:
    """Convert the stored frame (not turned) to `(H, W, 3) uint8` BGR in an array of `pool`.

    Colour range and matrix are those of the frame's flags. Without a flag, or with an unknown
    one (BT.2020 with constant luminance, YCgCo), the matrix is BT.709 for frames wider than 1279
    or higher than 576 pixels and BT.601 for smaller ones, as in video players. More than 8 bits
    are reduced to 8. 8-bit 4:2:0, planar or `nv12`, is exact except for rounding. swscale
    converts other formats, mostly within 3 levels; samples of no valid colour may become another.
    High dynamic range is mapped to that of ordinary video; see `hdr`.
    """
    image = pool.take((frame.height, frame.width, 3))
    if is_hdr(frame):
        deep = frame.reformat(format="bgr48le", src_colorspace=_matrix(frame), threads=1)
        map_to_sdr(_packed(deep, np.uint16), frame, image)
    elif _is_420(frame):
        mapping = decoding(MATRICES[_matrix(frame)], full=_is_full(frame))
        yuv420_to_bgr(*frame_lines(frame), 0, 0, mapping, image)
    else:
        packed = frame.reformat(format="bgr24", src_colorspace=_matrix(frame), threads=1)
        np.copyto(image, _packed(packed, np.uint8))
    return image


def turn_upright(image: Image, matrix: tuple[int, int, int, int] | None) -> Image:
    """Turn and mirror `image` as a display matrix asks, to the nearest quarter turn.

    Args:
        image: `(H, W, 3)`, not changed.
        matrix: a, b, c, d of the mapping `x' = a x + c y, y' = b x + d y` from stored to
            shown pixels (ISO/IEC 14496-12, 6.2.2); None for images shown as stored.
    """
    if matrix is None:
        return image
    a, b, c, d = matrix
    if abs(b) > abs(a):
        return _mirror(cv2.transpose(image), across=c < 0, down=b < 0)
    return _mirror(image, across=a < 0, down=d < 0)


def _is_recordable(frame: av.VideoFrame) -> bool:
    return (
        frame.format.name == "yuv420p"
        and not is_hdr(frame)
        and _is_420(frame)
        and _matrix(frame) == Colorspace.ITU709
        and not _is_full(frame)
        and frame.width % 2 == frame.height % 2 == 0
    )


def _is_420(frame: av.VideoFrame) -> bool:
    """Check that the frame has 8 bits and a matrix whose formula is known here."""
    return (
        frame.format.name in ("yuv420p", FULL_420, "nv12")
        and _matrix(frame) in MATRICES
        and all(plane.line_size > 0 for plane in frame.planes)
    )


def _is_full(frame: av.VideoFrame) -> bool:
    return frame.format.name == FULL_420 or frame.color_range == ColorRange.JPEG


def _matrix(frame: av.VideoFrame) -> int:
    if frame.colorspace == SPC_RGB or frame.colorspace in MATRICES:
        return int(frame.colorspace)
    hd = frame.width >= HD_WIDTH_PX or frame.height > SD_HEIGHT_PX
    return Colorspace.ITU709 if hd else Colorspace.ITU601


def _packed(frame: av.VideoFrame, samples: type[T]) -> NDArray[T]:
    """Return the samples of a packed BGR frame, `(H, W, 3)`."""
    plane = frame.planes[0]
    rows = np.frombuffer(plane, samples).reshape(frame.height, -1)
    return rows[:, : 3 * frame.width].reshape(frame.height, frame.width, 3)


def _mirror(image: Image, *, across: bool, down: bool) -> Image:
    if not (across or down):
        return image
    return cv2.flip(image, -1 if across and down else int(across))

"""Estimates the motion between two frames.

It works on small grey images with OpenCV's dense inverse search (Kroeger et al., "Fast optical
flow using dense inverse search", 2016). Size and options were chosen on the built-in scene, whose
truth is known: see `bench/motion.py`.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.kernels.flow import flow_residual
from qlumen.realtime.pixels.base import Pixels
from qlumen.realtime.pixels.reduce import reduce

Thumbnail = NDArray[np.uint8]
"""Grey image `(h, w)` in the frame's proportions, THUMBNAIL_PX at its longer side for tracking."""
Flow = NDArray[np.float32]
"""Displacement x, y from the earlier thumbnail to the later one, `(h, w, 2)`, in its pixels."""

GREEN = 1
"""The channel with the most contrast on mucosa."""
THUMBNAIL_PX = 112
LEAST_SIDE_PX = 32
"""Thinner thumbnails are padded: for less OpenCV returns nan, or ends the process."""
CUT_GREY_LEVELS = 25.0
PATCH_STRIDE_PX = 4
SEARCH_STEPS = 16
FLOW_CELLS = 32
"""Longer side of a reduced flow."""
FLOW_UNIT = 1 / 256
"""A step of a reduced flow, in cells."""
FLOW_RANGE = 32767
"""Largest displacement of a reduced flow, in steps."""


class Motion:
    """Estimates motion. It holds OpenCV's scratch memory, so it belongs to one thread.

    Args:
        thumbnail_px: longer side of the thumbnails.
    """

    def __init__(self, thumbnail_px: int = THUMBNAIL_PX) -> None:
        self._thumbnail_px = thumbnail_px
        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._search.setFinestScale(0)
        self._search.setPatchStride(PATCH_STRIDE_PX)
        self._search.setGradientDescentIterations(SEARCH_STEPS)

    def reduce(self, pixels: Pixels) -> Thumbnail:
        """Make the thumbnail of an image of any size. Smaller images keep their size."""
        width, height = pixels.size
        scale = min(1.0, self._thumbnail_px / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = reduce(pixels, (0, 0, width, height), size)
        return np.ascontiguousarray(small[..., GREEN])

    def flow(self, earlier: Thumbnail, later: Thumbnail) -> Flow:
        """Estimate where each pixel of `earlier` went.

        Raises:
            ValueError: the thumbnails differ in size.
        """
        if earlier.shape != later.shape:
            raise ValueError(
                f"thumbnails of {earlier.shape} and {later.shape}: they must be of one size; "
                "drop the earlier one when the frame's size changes"
            )
        found = self._search.calc(_pad(earlier), _pad(later), None)
        return np.ascontiguousarray(found[: earlier.shape[0], : earlier.shape[1]])


def reduce_flow(flow: Flow) -> Flow:
    """Average a flow over cells, `FLOW_CELLS` along its longer side at most.

    The result is in cells, in multiples of `FLOW_UNIT`: small enough to store for each frame.
    """
    height, width = flow.shape[:2]
    scale = min(1.0, FLOW_CELLS / max(height, width))
    columns, rows = max(1, round(width * scale)), max(1, round(height * scale))
    mean = np.nan_to_num(cv2.resize(flow, (columns, rows), interpolation=cv2.INTER_AREA))
    scale = np.array((columns / width, rows / height), np.float32) / np.float32(FLOW_UNIT)
    steps = np.clip(np.rint(mean * scale), -FLOW_RANGE, FLOW_RANGE)
    return (steps * np.float32(FLOW_UNIT)).astype(np.float32)


def mismatch(earlier: Thumbnail, later: Thumbnail, flow: Flow) -> float:
    """Return the mean absolute difference, in grey levels, that `flow` leaves between two images.

    Consecutive frames of recordings have 4 to 6. From `CUT_GREY_LEVELS` on they show different
    scenes, and nothing should be carried over.
    """
    return float(flow_residual(earlier, later, flow))


def _pad(thumbnail: Thumbnail) -> Thumbnail:
    down, right = (max(0, LEAST_SIDE_PX - side) for side in thumbnail.shape)
    return np.pad(thumbnail, ((0, down), (0, right)), mode="edge") if down or right else thumbnail

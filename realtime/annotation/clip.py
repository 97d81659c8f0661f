"""Reads what propagation needs of a recording: thumbnails, maps of the network, key masks."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.errors import UsageError
from qlumen.realtime.annotation.propagate import FLOW_PX
from qlumen.realtime.pixels.arrays import Mask
from qlumen.realtime.review.recording import open_recording
from qlumen.realtime.review.review import Review
from qlumen.realtime.sources.images import read_image
from qlumen.realtime.tracking.motion import Motion, Thumbnail


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """Holds a clip without its images.

    Attributes:
        size: width and height of its frames, pixels.
    """

    size: tuple[int, int]
    thumbnails: tuple[Thumbnail, ...]


def read_map(review: Review, index: int) -> NDArray[np.float32] | None:
    """Read the network's map of a frame, `(H, W) float32`; None where it did not judge."""
    probability = review.probability(index)
    if probability is None:
        return None
    record = review.frames[index]
    x0, y0, x1, y1 = record.field_box
    whole = np.zeros((record.height, record.width), np.float32)
    whole[y0:y1, x0:x1] = cv2.resize(probability, (x1 - x0, y1 - y0))
    return whole


def read_clip(review: Review, on_frame: Callable[[int], None] = lambda done: None) -> Clip:
    """Read the thumbnails of a reviewed recording.

    Raises:
        UsageError: its frames differ in size, or do not follow each other.
        SourceError: the recording cannot be read any more.
    """
    if not review.is_sequence:
        raise UsageError(f"{review.location} is no video; outlines move along frames of a video")
    sizes = {record.size for record in review.frames}
    if len(sizes) > 1:
        raise UsageError(f"{review.location} changes its size; cut it where it changes")
    motion, thumbnails = Motion(FLOW_PX), []
    with open_recording(review.location, review.settings) as source:
        # The review has the readable frames; reading on would raise the error of a damaged end.
        for _, frame in zip(review.frames, source.frames(), strict=False):
            thumbnails.append(motion.reduce(frame.pixels))
            on_frame(len(thumbnails))
    return Clip(sizes.pop(), tuple(thumbnails))


def read_keys(folder: Path, clip: Clip) -> dict[int, Mask]:
    """Read the outlines of key frames: `FRAME.png` with the number of a lesion at each pixel.

    FRAME counts from 0. 0 is background, so an image of zeros says that the frame has no lesion.

    Raises:
        UsageError: there is no such file, or one has another size or no frame.
    """
    if not folder.is_dir():
        raise UsageError(f"no folder {folder}")
    keys: dict[int, Mask] = {}
    for path in sorted(folder.glob("*.png")):
        if not path.stem.isascii() or not path.stem.isdigit():
            raise UsageError(f"{path}: name a mask after its frame from 0, such as 000012.png")
        index = int(path.stem)
        if index >= len(clip.thumbnails):
            raise UsageError(f"{path}: the last frame of the clip is {len(clip.thumbnails) - 1}")
        if index in keys:
            raise UsageError(f"{path}: another file is for frame {index} too; keep one")
        levels = read_image(path)
        if levels is None:
            raise UsageError(f"{path} is not a readable image")
        height, width = levels.shape[:2]
        if (width, height) != clip.size:
            raise UsageError(
                f"{path} is {width}x{height}, the clip {clip.size[0]}x{clip.size[1]}; "
                "outline its own frames"
            )
        if (levels != levels[..., :1]).any():
            raise UsageError(f"{path} has colours; write grey levels, one for each lesion")
        keys[index] = np.ascontiguousarray(levels[..., 0])
    if not keys:
        raise UsageError(f"{folder} has no mask; add one for a frame, such as 000012.png")
    return keys

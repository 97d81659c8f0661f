"""Reads what propagation needs of a recording: thumbnails, maps of the network, key masks."""

import re
from collections.abc import Callable, Mapping
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
from qlumen.realtime.tracking.motion import Motion, Thumbnail

MOST_LESIONS = 255


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


def read_keys(folder: Path) -> dict[int, Mask]:
    """Read the outlines of key frames: `FRAME.png` with the number of a lesion at each pixel.

    FRAME counts from 0. 0 is background, so an image of zeros says that the frame has no lesion.

    Returns:
        `(H, W) uint8` by frame.

    Raises:
        UsageError: there is no such file, or one is no mask; the message names it.
    """
    if not folder.is_dir():
        raise UsageError(f"no folder {folder}")
    keys: dict[int, Mask] = {}
    for path in sorted(folder.glob("*.png")):
        if not re.fullmatch("[0-9]{1,9}", path.stem):
            raise UsageError(f"{path}: name a mask after its frame from 0, such as 000012.png")
        index = int(path.stem)
        if index in keys:
            raise UsageError(f"{path}: another file is for frame {index} too; keep one")
        keys[index] = _read_levels(path)
    if not keys:
        raise UsageError(f"{folder} has no mask; add one for a frame, such as 000012.png")
    return keys


def check_keys(keys: Mapping[int, Mask], clip: Clip) -> None:
    """Raise UsageError unless keys are of the clip's size and within it."""
    width, height = clip.size
    for index, mask in keys.items():
        if index >= len(clip.thumbnails):
            raise UsageError(
                f"the mask of frame {index}: the last frame of the clip is "
                f"{len(clip.thumbnails) - 1}"
            )
        if mask.shape != (height, width):
            raise UsageError(
                f"the mask of frame {index} is {mask.shape[1]}x{mask.shape[0]}, the clip "
                f"{width}x{height}; outline its own frames"
            )


def _read_levels(path: Path) -> Mask:
    """Read a grey image as it is stored: other readers scale 16 bits, which loses numbers."""
    stored = np.fromfile(path, np.uint8)
    levels = cv2.imdecode(stored, cv2.IMREAD_UNCHANGED) if stored.size else None
    if levels is None:
        raise UsageError(f"{path} is not a readable image")
    if levels.ndim == 3:
        if levels.shape[2] != 3 or (levels != levels[..., :1]).any():
            raise UsageError(f"{path} has colours or transparency; write grey levels alone")
        levels = levels[..., 0]
    if levels.max() > MOST_LESIONS:
        raise UsageError(f"{path} has level {levels.max()}; number lesions from 1 to 255")
    return np.ascontiguousarray(levels, np.uint8)

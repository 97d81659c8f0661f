"""Maps a frame into the network's input and back, in exact integers."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from qlumen.errors import ConfigError
from qlumen.realtime.pixels.arrays import Box

Fit = Literal["stretch", "letterbox"]


class AxisMap(NamedTuple):
    """Maps each frame pixel of one axis to its place between the n network pixels of that axis.

    Cell c lies between network pixels c - 1 and c. Cells 0 and n lie outside the first and the
    last pixel, and hold that pixel's value.

    Attributes:
        cell: `(frame,) int32`, 0 to n.
        weight: `(frame,) float32`, 0 at network pixel c - 1, towards 1 at pixel c.
        start: `(n + 2,) int32`, the first frame pixel whose cell is c or more.
    """

    cell: NDArray[np.int32]
    weight: NDArray[np.float32]
    start: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Geometry:
    """Describes a frame's place in the network's input. All values are pixels.

    Pixel centres lie at half coordinates: frame column X falls on inner column
    (X + 1/2) * inner_w / frame_w - 1/2, and likewise for rows.
    """

    frame_w: int
    frame_h: int
    network_w: int
    network_h: int
    offset_x: int
    offset_y: int
    inner_w: int
    inner_h: int

    @classmethod
    def of(cls, frame_size: tuple[int, int], network_size: tuple[int, int], fit: Fit) -> "Geometry":
        """Fit a frame of (width, height) pixels into a network input of (width, height).

        `stretch` fills the input. `letterbox` keeps the frame's proportions. Its inner
        rectangle's size is rounded half up and at least 1. It is centred, and the left and upper
        margin is the smaller one. Raise ConfigError for another fit or an empty size.
        """
        _check_size("frame", frame_size)
        _check_size("network input", network_size)
        inner_w, inner_h = _inner_size(frame_size, network_size, fit)
        offset_x, offset_y = (network_size[0] - inner_w) // 2, (network_size[1] - inner_h) // 2
        return cls(*frame_size, *network_size, offset_x, offset_y, inner_w, inner_h)

    @property
    def inner(self) -> Box:
        """Return the rectangle of the network's input that shows the frame, half open."""
        right, bottom = self.offset_x + self.inner_w, self.offset_y + self.inner_h
        return self.offset_x, self.offset_y, right, bottom

    def columns(self) -> AxisMap:
        """Map the frame's columns to the inner rectangle."""
        return _axis_map(self.frame_w, self.inner_w)

    def rows(self) -> AxisMap:
        """Map the frame's rows to the inner rectangle."""
        return _axis_map(self.frame_h, self.inner_h)


def _check_size(what: str, size: tuple[int, int]) -> None:
    if min(size) < 1:
        raise ConfigError(f"{what} of {size[0]}x{size[1]} pixels is empty; use 1 or more for both")


def _inner_size(frame: tuple[int, int], network: tuple[int, int], fit: Fit) -> tuple[int, int]:
    if fit == "stretch":
        return network
    if fit != "letterbox":
        raise ConfigError(f"fit is {fit!r}; use 'stretch' or 'letterbox'")
    (frame_w, frame_h), (network_w, network_h) = frame, network
    if network_w * frame_h <= network_h * frame_w:
        return network_w, _scale(frame_h, network_w, frame_w)
    return _scale(frame_w, network_h, frame_h), network_h


def _scale(length: int, numerator: int, denominator: int) -> int:
    return max(1, (2 * length * numerator + denominator) // (2 * denominator))


def _axis_map(frame_px: int, network_px: int) -> AxisMap:
    # Twice the frame is the common denominator of all positions, so they are integers.
    position = (2 * np.arange(frame_px, dtype=np.int64) + 1) * network_px - frame_px
    cell, rest = np.divmod(position, 2 * frame_px)
    cell += 1
    weight = (rest / (2 * frame_px)).astype(np.float32)
    start = np.searchsorted(cell, np.arange(network_px + 2))
    return AxisMap(cell.astype(np.int32), weight, start.astype(np.int32))

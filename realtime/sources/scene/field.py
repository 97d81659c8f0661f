"""Defines the endoscope's lens and its visible field: its place in a frame, and rendered size."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qlumen.kernels.scene import ray_table

Spans = NDArray[np.int32]

WIDTH_PER_HEIGHT = 1.17
HEIGHT_PER_WIDTH = 1.1
CORNER = 0.235
"""Size of the field's cut corners, as a share of its height."""
RENDERED_ROWS = (360, 540)
"""Frames taller than the first value are rendered at half their size, with at most the second
value of rows: endoscopes are not sharper, and a frame may take 40 ms."""
MARGIN_PX = 2
FOCAL_PER_HEIGHT = 0.51
"""Focal length per height of the visible field: about 130 degrees from corner to corner."""


@dataclass(frozen=True, slots=True, eq=False)
class VisibleField:
    """Describes the visible field in a frame.

    Attributes:
        left, top, width, height: box of the field in pixels.
        spans: columns inside the field in each row, `(frame's height, 2)`, half open.
        rendered: width and height at which the field is rendered.
        rendered_spans: spans of the rendered field, `(rendered height, 2)`.
        drawn_spans: `rendered_spans` with a margin for blur.
    """

    left: int
    top: int
    width: int
    height: int
    spans: Spans
    rendered: tuple[int, int]
    rendered_spans: Spans
    drawn_spans: Spans


def make_field(width: int, height: int) -> VisibleField:
    """Make the field of a frame of `width` x `height` pixels: in the middle, as large as fits."""
    rows = max(1, min(height, round(width * HEIGHT_PER_WIDTH)))
    columns = max(1, min(width, round(rows * WIDTH_PER_HEIGHT)))
    left, top = (width - columns) // 2, (height - rows) // 2
    spans = np.zeros((height, 2), np.int32)
    spans[top : top + rows] = left + _octagon(columns, rows)
    fine, most = RENDERED_ROWS
    small_rows = min(rows, max(fine, rows // 2), most)
    small = max(1, round(columns * small_rows / rows)), small_rows
    inner = _octagon(*small)
    drawn = np.clip(inner + np.array([-MARGIN_PX, MARGIN_PX]), 0, small[0]).astype(np.int32)
    return VisibleField(left, top, columns, rows, spans, small, inner, drawn)


@dataclass(frozen=True, slots=True, eq=False)
class Optics:
    """Describes the lens at the rendered size.

    Attributes:
        focal: focal length in pixels.
        middle: x and y of the optical axis in pixels, `(2,)`.
        rays: table of `kernels.scene.ray_table`.
    """

    field: VisibleField
    focal: float
    middle: NDArray[np.float64]
    rays: NDArray[np.float32]


def make_optics(field: VisibleField) -> Optics:
    columns, rows = field.rendered
    focal = FOCAL_PER_HEIGHT * rows
    middle = np.array([(columns - 1) / 2, (rows - 1) / 2])
    return Optics(field, focal, middle, ray_table(rows, columns, focal, middle))


def _octagon(width: int, height: int) -> Spans:
    """Return the columns of each row whose centres lie in an octagon that fills a box."""
    away = np.abs(np.arange(height) + 0.5 - height / 2)
    half = np.minimum(width / 2, width / 2 + (0.5 - CORNER) * height - away)
    first = np.ceil(width / 2 - half - 0.5)
    return np.stack([first, width - first], axis=1).astype(np.int32)

"""Fits outlines to an image as closed curves that neither cross nor merge.

Each curve is a polygon. It moves so that values inside, and those around all curves, vary little:

    E = sum over curves of V_in + V_out + LENGTH * length + REPULSION * sum (h / d - 1)^2

V is the variance over an area of the network's map and of CIE-Lab colours; d < h is the distance of
two corners that are no neighbours (after the repulsive Mumford-Shah of arXiv 2604.23167, whose own
repulsion could not be had). A corner moves by a quarter at most of the gap between its edges and
others, so no step can cross.
"""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.realtime.annotation.snap import to_lab
from qlumen.realtime.pixels.arrays import Image, Mask

WORK_PX = 256
"""Longer side of the image that curves move on; a larger one is reduced."""
EDGE_PX, LEAST_CORNERS = 3.0, 6
STEPS, RATE, MOST_STEP_PX = 30, 6.0, 1.0
STILL_PX = 0.02
"""Curves whose corners all move less are done."""
COLOUR = 0.004
"""Weight of CIE-Lab, whose L runs from 0 to 100, beside probabilities. More was worse on `val`."""
LENGTH, REPULSION, REPULSION_PX, EVEN = 0.05, 0.05, 2.0, 0.1
SUB_PIXEL_BITS = 8

Curve = NDArray[np.float64]
"""Corners of a closed polygon, `(n, 2)`, x and y, pixels of the reduced image."""
Values = NDArray[np.float64]


def fit(
    lesions: Mask,
    image: Image,
    probability: NDArray[np.float32],
    on_step: Callable[[Sequence[Curve]], None] = lambda curves: None,
) -> Mask:
    """Fit the outline of each lesion to the image; each region stays one, and none vanishes.

    Holes are filled. A region that is too thin for a curve stays as it is.

    Args:
        lesions: numbers of lesions `(H, W) uint8`, 0 without one.
        image: `(H, W, 3) uint8`, BGR.
        probability: the network's map `(H, W) float32`; colours alone do not find a border.
        on_step: called with all curves before the first and after each step.
    """
    height, width = lesions.shape
    scale = min(1, WORK_PX / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    ratio = np.array(size) / (width, height)
    numbers, curves = _trace(lesions, ratio)
    thin = _find_missed(lesions, numbers, curves, ratio)
    if curves:
        colours = COLOUR * to_lab(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
        values = np.dstack((colours, cv2.resize(probability, size))).astype(np.float32)
        curves = move_curves(curves, values, on_step)
    result = np.zeros_like(lesions)
    _paint(result, numbers, [(curve + 0.5) / ratio - 0.5 for curve in curves])
    result[thin] = lesions[thin]
    return result


def move_curves(
    curves: Sequence[Curve],
    values: NDArray[np.float32],
    on_step: Callable[[Sequence[Curve]], None] = lambda curves: None,
) -> list[Curve]:
    """Move curves that do not cross to where E is low; they do not cross after any step.

    Args:
        values: weighted channels of the image, `(H, W, C)`.
    """
    curves, domain = list(curves), _widen(curves, values.shape[:2])
    on_step(curves)
    for _ in range(STEPS):
        slopes = _slopes(curves, values, domain)
        limits = np.minimum(measure_gaps(curves) / 4, MOST_STEP_PX)
        moves = _smooth(curves) - RATE * np.concatenate(slopes) + _repel(curves)
        lengths = np.linalg.norm(moves, axis=1)
        moves *= np.minimum(1, limits / np.maximum(lengths, 1e-12))[:, None]
        ends = np.cumsum([len(curve) for curve in curves])[:-1]
        curves = [curve + move for curve, move in zip(curves, np.split(moves, ends), strict=True)]
        on_step(curves)
        if np.minimum(lengths, limits).max() < STILL_PX:
            break
    return curves


def data_slope(
    at: Values, inside: tuple[float, Values, Values], outside: tuple[float, Values, Values]
) -> Values:
    """Return how fast V_in + V_out grow for each unit of area that a corner adds, `(n,)`.

        ((f - m_in)^2 - V_in) / A_in - ((f - m_out)^2 - V_out) / A_out, summed over channels

    Args:
        at: values at the corners, `(n, C)`.
        inside, outside: area, and mean and variance of each channel.
    """
    (area_in, mean_in, var_in), (area_out, mean_out, var_out) = inside, outside
    added = (np.square(at - mean_in) - var_in) / area_in
    return np.asarray((added - (np.square(at - mean_out) - var_out) / area_out).sum(axis=1))


def measure_gaps(curves: Sequence[Curve]) -> Values:
    """Return for each corner how near its two edges are to other edges, pixels, `(n,)`.

    Edges that share a corner count from their far ends, so that they do not fold.
    """
    starts = np.concatenate(curves)
    ends = np.concatenate([np.roll(curve, -1, axis=0) for curve in curves])
    following = _neighbours(curves, -1)
    along = ends - starts
    squares = np.maximum(np.square(along).sum(axis=1), 1e-12)
    offset = starts[:, None] - starts[None]
    place = np.clip((offset * along[None]).sum(axis=2) / squares, 0, 1)
    distances = np.linalg.norm(offset - place[..., None] * along[None], axis=2)
    own = np.arange(len(starts))
    distances[own, own] = distances[following, own] = np.inf
    corners, edges = distances.min(axis=1), distances.min(axis=0)
    edges = np.minimum(edges, np.minimum(corners, corners[following]))
    return np.asarray(np.minimum(edges, edges[_neighbours(curves, 1)]))


def find_crossing(curves: Sequence[Curve]) -> bool:
    """Check whether edges that share no corner cross or touch."""
    starts = np.concatenate(curves)
    following = _neighbours(curves, -1)
    ends = starts[following]

    def side(point: Values) -> NDArray[np.float64]:
        """Return the side of each edge (column) on which each point (row) lies."""
        along, offset = (ends - starts)[None], point[:, None] - starts[None]
        return np.sign(along[..., 0] * offset[..., 1] - along[..., 1] * offset[..., 0])

    parted = side(starts) * side(ends) <= 0
    crossing = parted & parted.T
    own = np.arange(len(starts))
    for one, other in ((own, own), (own, following), (following, own)):
        crossing[one, other] = False
    low, high = np.minimum(starts, ends), np.maximum(starts, ends)
    meets = ((low[:, None] <= high[None]) & (low[None] <= high[:, None])).all(axis=2)
    return bool((crossing & meets).any())


def _trace(lesions: Mask, ratio: Values) -> tuple[list[int], list[Curve]]:
    """Return number and curve of each region that is not too thin.

    Where curves would touch, all regions are eroded by a pixel, again and again.
    """
    eroded = lesions
    while True:
        numbers, curves = [], []
        for number in np.setdiff1d(eroded, 0).tolist():
            region = (eroded == number).astype(np.uint8)
            for contour in cv2.findContours(region, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0]:
                curve = _sample((contour[:, 0] + 0.5) * ratio - 0.5)
                if len(curve) >= LEAST_CORNERS:
                    numbers.append(number)
                    curves.append(curve)
        if not curves or not (find_crossing(curves) or measure_gaps(curves).min() <= 0):
            return numbers, curves
        eroded = np.where(cv2.erode(eroded, None) == cv2.dilate(eroded, None), eroded, 0)


def _find_missed(
    lesions: Mask, numbers: Sequence[int], curves: Sequence[Curve], ratio: Values
) -> NDArray[np.bool_]:
    """Return the regions that no curve of their number began in, `(H, W)`."""
    missed = lesions > 0
    for number in set(numbers):
        own, inside = (lesions == number).astype(np.uint8), np.zeros_like(lesions)
        starts = [
            (c + 0.5) / ratio - 0.5 for n, c in zip(numbers, curves, strict=True) if n == number
        ]
        _paint(inside, [1] * len(starts), starts)
        _, parts = cv2.connectedComponents(own)
        missed &= ~np.isin(parts, np.setdiff1d(parts[inside > 0], 0))
    return missed


def _sample(contour: Values) -> Curve:
    """Return corners on a contour, evenly spread."""
    closed = np.concatenate((contour, contour[:1]))
    lengths = np.concatenate(([0], np.cumsum(np.linalg.norm(np.diff(closed, axis=0), axis=1))))
    places = np.linspace(0, lengths[-1], int(lengths[-1] / EDGE_PX), endpoint=False)
    return np.stack([np.interp(places, lengths, closed[:, axis]) for axis in (0, 1)], axis=1)


def _widen(curves: Sequence[Curve], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the area that counts: all curves, and about as much around them."""
    start = np.zeros(shape, np.uint8)
    _paint(start, [1] * len(curves), curves)
    radius = np.sqrt(np.count_nonzero(start) / len(curves) / np.pi) / 2
    around = cv2.distanceTransform(1 - start, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(around <= max(radius, REPULSION_PX))


def _slopes(
    curves: Sequence[Curve], values: NDArray[np.float32], domain: NDArray[np.bool_]
) -> list[Values]:
    """Return the slope of V_in + V_out times the area inside, along the outer normals, `(n, 2)`."""
    numbers = np.zeros(domain.shape, np.uint16)
    _paint(numbers, range(1, len(curves) + 1), curves)
    outside, slopes = _measure(values[domain & (numbers == 0)]), []
    for number, curve in enumerate(curves, start=1):
        inside = _measure(values[numbers == number])
        at = cv2.remap(values, curve.astype(np.float32)[:, None], None, cv2.INTER_LINEAR,
                       borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
        slope = inside[0] * data_slope(at.reshape(len(curve), -1), inside, outside)
        slopes.append(slope[:, None] * _normals(curve))
    return slopes


def _measure(values: NDArray[np.float32]) -> tuple[float, Values, Values]:
    """Return number, mean and variance of values `(n, C)`."""
    if not len(values):
        return 1.0, np.zeros(values.shape[1]), np.zeros(values.shape[1])
    return float(len(values)), values.mean(axis=0, dtype=float), values.var(axis=0, dtype=float)


def _normals(curve: Curve) -> Values:
    """Return unit vectors to the outside at the corners."""
    along = np.roll(curve, -1, axis=0) - np.roll(curve, 1, axis=0)
    after = np.roll(curve, -1, axis=0)
    turn = np.sign(np.sum(curve[:, 0] * after[:, 1] - curve[:, 1] * after[:, 0]))
    normals = turn * np.stack((along[:, 1], -along[:, 0]), axis=1)
    return np.asarray(normals / np.maximum(np.linalg.norm(normals, axis=1), 1e-12)[:, None])


def _smooth(curves: Sequence[Curve]) -> Values:
    """Return moves that shorten curves, and spread their corners evenly."""
    moves = []
    for curve in curves:
        before, after = np.roll(curve, 1, axis=0) - curve, np.roll(curve, -1, axis=0) - curve
        sides = [
            np.maximum(np.linalg.norm(part, axis=1), 1e-12)[:, None] for part in (before, after)
        ]
        shorter = (before / sides[0] + after / sides[1]) / ((sides[0] + sides[1]) / 2)
        moves.append(LENGTH * shorter + EVEN * (before + after) / 2)
    return np.concatenate(moves)


def _repel(curves: Sequence[Curve]) -> Values:
    """Return moves of corners away from others that are near but no neighbours."""
    corners = np.concatenate(curves)
    offset = corners[:, None] - corners[None]
    distances = np.maximum(np.linalg.norm(offset, axis=2), 1e-6)
    near = distances < REPULSION_PX
    own = np.arange(len(corners))
    near[own, own] = near[own, _neighbours(curves, 1)] = near[own, _neighbours(curves, -1)] = False
    push = np.where(near, (REPULSION_PX / distances - 1) * REPULSION_PX / distances**3, 0)
    return np.asarray(2 * REPULSION * (push[..., None] * offset).sum(axis=1))


def _neighbours(curves: Sequence[Curve], by: int) -> NDArray[np.int64]:
    """Return the number of the corner before each (1) or after it (-1)."""
    ends = np.cumsum([len(curve) for curve in curves])
    parts = np.split(np.arange(ends[-1]), ends[:-1])
    return np.concatenate([np.roll(part, by) for part in parts])


def _paint(
    target: NDArray[np.unsignedinteger], numbers: Sequence[int], curves: Sequence[Curve]
) -> None:
    """Fill curves with their numbers, the smallest last, so that one within another is seen."""
    fixed = [np.rint(curve * 2**SUB_PIXEL_BITS).astype(np.int32) for curve in curves]
    order = sorted(zip(numbers, fixed, strict=True), key=lambda one: -cv2.contourArea(one[1]))
    for number, corners in order:
        cv2.fillPoly(target, [corners], number, shift=SUB_PIXEL_BITS)

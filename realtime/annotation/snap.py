"""Moves outlines to the borders that an image shows near them, by an exact minimum cut.

Pixels in a band round an outline are free. A cut between neighbours costs little where their
colours differ (Boykov and Jolly 2001). A free pixel leans to its side of the outline, and to that
which the network says.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from scipy.sparse.csgraph import breadth_first_order, maximum_flow
from scipy.special import logit

from qlumen.realtime.annotation.propagate import signed_distances
from qlumen.realtime.pixels.arrays import Image, Mask

WORK_PX = 640
"""Longer side of the image that is cut; a larger one is reduced."""
BAND_PX = 8
"""Half the width of the band."""
NETWORK, OUTLINE = 0.5, 1.0
"""Weights of the network's log-odds, and of the distance from the outline over `BAND_PX`, beside
the cost of a cut between equal colours, which is 1. Chosen on the scene and on the list `val`."""
MOST_LOG_ODDS = 4.0
SCALE = 1000
"""Capacities are whole numbers, so that the cut is exact: 1 is this many."""
SURE = SCALE * 100
"""Capacity of pixels that are not free: more than all other links of a pixel."""
STEPS = ((0, 1), (1, 0), (1, 1), (1, -1))
"""Steps to half of the eight neighbours of a pixel, rows and columns."""


def snap(lesions: Mask, image: Image, probability: NDArray[np.float32] | None = None) -> Mask:
    """Move the outline of each lesion to the cheapest borders within a band round it.

    Pixels of other lesions do not become a lesion's own. At least the half of a lesion that lies
    deepest stays.

    Args:
        lesions: numbers of lesions `(H, W) uint8`, 0 without one.
        image: `(H, W, 3) uint8`, BGR.
        probability: the network's map `(H, W) float32`, if there is one.
    """
    height, width = lesions.shape
    scale = min(1, WORK_PX / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    colours = to_lab(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
    small = cv2.resize(lesions, size, interpolation=cv2.INTER_NEAREST)
    odds = np.zeros(small.shape, np.float32)
    if probability is not None:
        odds = np.clip(logit(cv2.resize(probability, size)), -MOST_LOG_ODDS, MOST_LOG_ODDS)
    result, taken = np.zeros_like(lesions), small > 0
    for number in np.setdiff1d(lesions, 0):
        own = small == number
        if not own.any():  # too thin to be seen at this size
            result[lesions == number] = number
            continue
        taken ^= own
        own = _snap(own, taken, colours, odds)
        taken |= own
        result[_enlarge(own, (width, height))] = number
    return result


def _snap(
    own: NDArray[np.bool_],
    others: NDArray[np.bool_],
    colours: NDArray[np.float32],
    odds: NDArray[np.float32],
) -> NDArray[np.bool_]:
    """Return the region of one lesion."""
    x, y, width, height = cv2.boundingRect(own.astype(np.uint8))
    margin = BAND_PX + 1
    rows, columns = (
        slice(max(0, at - margin), at + side + margin) for at, side in ((y, height), (x, width))
    )
    distances = signed_distances(own)[rows, columns]
    inside = distances < max(-BAND_PX, distances.min() / 2)
    outside = (distances > BAND_PX) | others[rows, columns]
    if not outside.any():
        return own
    lean = np.float32(NETWORK) * odds[rows, columns] - np.float32(OUTLINE / BAND_PX) * distances
    result = np.zeros_like(own)
    result[rows, columns] = cut(inside, outside, colours[rows, columns], lean)
    return result


def _enlarge(region: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return a region at another size, its border without steps."""
    if region.shape[::-1] == size:
        return region
    return np.asarray(cv2.resize(signed_distances(region), size) < 0)


def cut(
    inside: NDArray[np.bool_],
    outside: NDArray[np.bool_],
    colours: NDArray[np.float32],
    lean: NDArray[np.float32],
) -> NDArray[np.bool_]:
    """Return the side of `inside` of the minimum cut, `(H, W)`.

    Args:
        inside, outside: pixels whose side is known.
        colours: `(H, W, 3)`, CIE-Lab.
        lean: what it costs that a free pixel lies outside, or inside where it is below 0.
    """
    capacities = make_graph(inside, outside, colours, lean)
    source, sink = inside.size, inside.size + 1
    flow = maximum_flow(capacities, source, sink).flow
    left = csr_array(capacities - flow)
    left.eliminate_zeros()
    reached = breadth_first_order(left, source, return_predecessors=False)
    side = np.zeros(inside.size + 2, bool)
    side[reached] = True
    return side[: inside.size].reshape(inside.shape)


def make_graph(
    inside: NDArray[np.bool_],
    outside: NDArray[np.bool_],
    colours: NDArray[np.float32],
    lean: NDArray[np.float32],
) -> csr_array:
    """Return the capacities of a cut, `int32`: a node for each pixel, then source and sink."""
    count = inside.size
    nodes = np.arange(count).reshape(inside.shape)
    links = [_link(nodes, colours, step) for step in STEPS]
    spread = np.mean(np.concatenate([difference for _, _, difference, _ in links])) or 1.0
    parts = []
    for ones, others, difference, length in links:
        weight = np.rint(SCALE * np.exp(-difference / (2 * spread)) / length)
        parts += [(ones, others, weight), (others, ones, weight)]
    costs = np.where(inside, SURE, np.where(outside, -SURE, np.rint(SCALE * lean))).ravel()
    pixels = nodes.ravel()
    parts.append((np.full(count, count), pixels, np.maximum(costs, 0)))
    parts.append((pixels, np.full(count, count + 1), np.maximum(-costs, 0)))
    starts, ends, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
    shape = (count + 2, count + 2)
    return csr_array(coo_array((weights.astype(np.int32), (starts, ends)), shape))


def _link(
    nodes: NDArray[np.int64], colours: NDArray[np.float32], step: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32], float]:
    """Return the pairs of nodes a step apart, their squared colour difference, and its length."""
    down, right = step
    rows, columns = nodes.shape
    left = max(0, -right)
    first = slice(0, rows - down), slice(left, columns - max(0, right))
    second = slice(down, rows), slice(left + right, columns - max(0, right) + right)
    difference = np.square(colours[first] - colours[second]).sum(axis=-1)
    return nodes[first].ravel(), nodes[second].ravel(), difference.ravel(), float(np.hypot(*step))


def to_lab(image: Image) -> NDArray[np.float32]:
    """Convert to CIE-Lab, `(H, W, 3) float32`, L from 0 to 100."""
    return np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_BGR2Lab))

"""Carries outlines from key frames to the frames between them.

Each outline moves along the dense motion, forward from the key before and backward from the key
after. Where motion forward and back does not return to its place, it counts less, and the network
more. Both directions are blended as signed distances (after Ogier et al. 2017
and Decaux et al. 2023, who do so in MR images with registration in place of optical flow).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.realtime.pixels.arrays import Mask
from qlumen.realtime.tracking.motion import CUT_GREY_LEVELS, Flow, Motion, Thumbnail, mismatch

FLOW_PX = 256
"""Longer side of the thumbnails that motion is estimated on."""
LOST_PX = 2.0
"""Error of forward and back motion, in thumbnail pixels, from which a place is lost."""
LEAST_QUALITY = 1e-3
"""A lost place still has this quality, so that times alone decide where all is lost."""
DOUBT_POWER = 2
"""The network counts little where motion is nearly sure."""
LEVEL = 0.5
"""Probability at the network's border."""

Distances = NDArray[np.float32]
"""Signed distance to an outline, `(H, W)`, pixels, negative inside."""
ReadMap = Callable[[int], NDArray[np.float32] | None]
"""Gives the network's map of a frame, or None if there is none."""


@dataclass(frozen=True, slots=True, eq=False)
class Propagated:
    """Holds the outlines of a frame that is no key.

    Attributes:
        lesions: `(H, W) uint8`, numbers of lesions from 1, 0 without one.
        disagreement: area on which the two directions differ over the area of the lesions; None
            if only one direction reaches the frame.
    """

    lesions: Mask
    disagreement: float | None


@dataclass(slots=True, eq=False)
class _Walk:
    """Holds a way from a key frame to the frame where it is now.

    Attributes:
        outlines: distances of the key frame's outlines by number.
        origin: place in the key frame of each thumbnail pixel, `(h, w, 2) float32`, x and y.
        quality: 0 to 1 for each thumbnail pixel.
    """

    key: int
    outlines: Mapping[int, Distances]
    origin: Flow
    quality: NDArray[np.float32]


def propagate(
    thumbnails: Sequence[Thumbnail],
    keys: Mapping[int, Mask],
    read_map: ReadMap = lambda index: None,
) -> Iterator[tuple[int, Propagated]]:
    """Yield the outlines of each frame that a key reaches and that is no key, in their order.

    Nothing is carried over a cut. A lesion that one of the two keys does not show lasts to the
    middle between them.

    Args:
        thumbnails: grey images `(h, w) uint8` of all frames, as `Motion(FLOW_PX)` makes them.
        keys: numbers of lesions `(H, W) uint8` by frame; 0 everywhere says that there is none.
        read_map: gives the network's probabilities of a whole frame, `(rows, columns) float32`.

    Raises:
        ValueError: a key lies beyond the last frame, or the keys differ in size.
    """
    if len({mask.shape for mask in keys.values()}) > 1:
        raise ValueError("key frames differ in size; outline frames of one size")
    if keys and max(keys) >= len(thumbnails):
        raise ValueError(f"key frame {max(keys)} lies beyond the last frame {len(thumbnails) - 1}")
    motion, shape = Motion(FLOW_PX), next((mask.shape for mask in keys.values()), ())
    before: _Walk | None = None
    start, last = 0, -1
    while start < len(thumbnails):
        # A stretch ends at the next key or before a cut. The flows of one stretch are kept.
        next_key = min((key for key in keys if key > start), default=None)
        if start in keys:
            before = _begin(start, keys[start], thumbnails[start])
        if before is None and next_key is None:
            return
        limit = min(start + 1, len(thumbnails) - 1) if next_key is None else next_key
        flows = _measure(motion, thumbnails[start : limit + 1])
        end = start + len(flows)
        arrivals = _walk_back(keys, flows, start, thumbnails[end])
        for index in range(start, end + 1):
            if index > start and before is not None:
                _step(before, *flows[index - 1 - start])
            if index not in keys and index > last and (before or index in arrivals):
                last = index
                yield index, _blend(index, before, arrivals.get(index), shape, read_map(index))
        if end < limit or end == start:
            before, start = None, end + 1
        else:
            start = end


def _measure(motion: Motion, thumbnails: Sequence[Thumbnail]) -> list[tuple[Flow, Flow]]:
    """Return the flows forward and back between neighbours, up to a cut or another size."""
    flows: list[tuple[Flow, Flow]] = []
    for now, later in pairwise(thumbnails):
        if now.shape != later.shape:
            break
        forward = motion.flow(now, later)
        if mismatch(now, later, forward) >= CUT_GREY_LEVELS:
            break
        flows.append((forward, motion.flow(later, now)))
    return flows


def _walk_back(
    keys: Mapping[int, Mask], flows: Sequence[tuple[Flow, Flow]], start: int, last: Thumbnail
) -> dict[int, _Walk]:
    """Return the walks back from the key at the end of a stretch, by frame; none without a key."""
    end = start + len(flows)
    if end not in keys:
        return {}
    walk, found = _begin(end, keys[end], last), {}
    for index in reversed(range(start, end)):
        forward, backward = flows[index - start]
        _step(walk, backward, forward)
        found[index] = replace(walk)
    return found


def _begin(key: int, mask: Mask, thumbnail: Thumbnail) -> _Walk:
    numbers = np.setdiff1d(mask, 0).tolist()
    outlines = {number: signed_distances(mask == number) for number in numbers}
    return _Walk(key, outlines, _places(thumbnail.shape), np.ones(thumbnail.shape, np.float32))


def _step(walk: _Walk, there: Flow, back: Flow) -> None:
    """Move a walk by one frame, by the flow to that frame and the flow back."""
    places = _places(back.shape[:2]) + back
    error = np.linalg.norm(back + _sample(there, places), axis=2)
    kept = np.where(error > LOST_PX, 0, np.exp(-error / 2)).astype(np.float32)
    walk.origin = _sample(walk.origin, places)
    walk.quality = _sample(walk.quality, places) * kept


def _blend(
    index: int,
    before: _Walk | None,
    after: _Walk | None,
    shape: tuple[int, ...],
    probability: NDArray[np.float32] | None,
) -> Propagated:
    walks = [walk for walk in (before, after) if walk is not None]
    regions = None if probability is None else _label(probability, shape)
    lesions, nearest = np.zeros(shape, np.uint8), np.zeros(shape, np.float32)
    differing = 0
    for number in sorted({number for walk in walks for number in walk.outlines}):
        showing = [walk for walk in walks if number in walk.outlines]
        if len(showing) < len(walks) and not _is_nearer(showing[0], walks, index):
            continue
        moved = [_move(walk.outlines[number], walk) for walk in showing]
        if len(moved) == 2:
            differing += int(np.count_nonzero((moved[0] < 0) != (moved[1] < 0)))
        distance = _mix(moved, _weigh(showing, index, shape), regions)
        inside = (distance < 0) & (distance < nearest)
        lesions[inside], nearest[inside] = number, distance[inside]
    area = max(1, int(np.count_nonzero(lesions)))
    return Propagated(lesions, differing / area if len(walks) == 2 else None)


def _is_nearer(walk: _Walk, walks: Sequence[_Walk], index: int) -> bool:
    """Check whether a frame lies nearer to a walk's key than to the other's, or in the middle."""
    return abs(walk.key - index) <= min(abs(other.key - index) for other in walks)


def _weigh(walks: Sequence[_Walk], index: int, shape: tuple[int, ...]) -> list[NDArray[np.float32]]:
    """Return the weight of each walk at each pixel: its quality, more for the nearer key."""
    gaps = [abs(walk.key - index) for walk in walks]
    shares = [1 - gap / sum(gaps) for gap in gaps] if len(gaps) == 2 else [1.0]
    size = shape[1], shape[0]
    return [
        np.asarray((cv2.resize(walk.quality, size) + LEAST_QUALITY) * np.float32(share))
        for walk, share in zip(walks, shares, strict=True)
    ]


def _move(distances: Distances, walk: _Walk) -> Distances:
    """Return a key's outline in the frame where a walk is."""
    height, width = distances.shape
    rows, columns = walk.quality.shape
    shift = walk.origin - _places(walk.quality.shape)
    shift = cv2.resize(shift, (width, height), interpolation=cv2.INTER_LINEAR)
    shift = shift * np.array((width / columns, height / rows), np.float32)
    return _sample(distances, _places(distances.shape) + shift)


def _label(probability: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.int32]:
    """Number the regions that the network finds, from 1, at the size of the frame."""
    whole = cv2.resize(probability, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.connectedComponents((whole >= LEVEL).astype(np.uint8))[1])


def _mix(
    moved: Sequence[Distances],
    weights: Sequence[NDArray[np.float32]],
    regions: NDArray[np.int32] | None,
) -> Distances:
    """Return the weighted mean of moved outlines and, where motion is lost, of the network's.

    Of the network's regions those count that meet the moved outline.
    """
    total = np.sum([w * distance for w, distance in zip(weights, moved, strict=True)], axis=0)
    weight = np.sum(weights, axis=0)
    if regions is not None:
        met = np.setdiff1d(regions[total < 0], 0)
        if met.size:
            doubt = np.clip(1 - weight, 0, 1) ** DOUBT_POWER
            total += doubt * signed_distances(np.isin(regions, met))
            weight += doubt
    return np.asarray(total / weight, np.float32)


def signed_distances(inside: NDArray[np.bool_]) -> Distances:
    """Return the distance of each pixel to the border of a region, negative inside.

    The border lies halfway between pixels, so no distance is 0. An empty region is far from all.
    """
    if not inside.any():
        return np.full(inside.shape, sum(inside.shape), np.float32)
    region = inside.astype(np.uint8)
    within = cv2.distanceTransform(region, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    outside = cv2.distanceTransform(1 - region, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.where(inside, 0.5 - within, outside - 0.5).astype(np.float32)


@lru_cache(maxsize=2)  # of the frame and of the thumbnail
def _places(shape: tuple[int, ...]) -> Flow:
    """Return x and y of each pixel, `(h, w, 2) float32`, which nobody may change."""
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    return np.stack((columns, rows), axis=2)


def _sample(values: NDArray[np.float32], places: Flow) -> NDArray[np.float32]:
    return np.asarray(
        cv2.remap(values, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    )

"""Groups images by prototypes, which may be moved, turned, made larger and made brighter.

    start:   k-means++ on the errors that remain after the best transformation
    assign:  to each image the prototype and transformation with the smallest squared error
    update:  each prototype becomes the least-squares mean of its images, moved back to its frame

The idea is that of Deep Sprites (arXiv 2604.19480): an image is a transformed prototype, and it
belongs to the prototype that reconstructs it best. Kept are prototypes, transformations and the
choice by reconstruction. The Gumbel softmax is left out: for some hundred images all pairs can be
compared, and this hard choice is its limit at temperature 0. Also left out are the layers, because
a crop shows one thing; the networks that draw prototypes; and the term against empty prototypes,
which here start again from the images that are explained worst. With the identity as the only
transformation this is k-means.
"""

from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.float32]
"""Images of one size, `(n, h, w, c)`, 1 to 4 channels; the first channel is the lightness."""
Values = NDArray[np.float32]
Places = NDArray[np.intp]
MOST_ROUNDS = 100
STARTS = 4
"""Random starts, of which the one with the smallest error counts."""


@dataclass(frozen=True, slots=True)
class Family:
    """Lists the transformations of a prototype: all combinations of the values.

    Of transformations that explain an image equally well the first is chosen.

    Attributes:
        shifts: shifts along each axis, as shares of the side
        scales: factors of the size
        turns_deg: rotations, clockwise on screen
        brightness: whether each image has a gain from 0 upwards and an offset of its lightness
    """

    shifts: tuple[float, ...] = (0.0,)
    scales: tuple[float, ...] = (1.0,)
    turns_deg: tuple[float, ...] = (0.0,)
    brightness: bool = False

    def values(self) -> list[tuple[float, float, float, float]]:
        """Return shift in x, shift in y, scale and rotation of each transformation."""
        return list(product(self.shifts, self.shifts, self.scales, self.turns_deg))

    def matrices(self, size: tuple[int, int]) -> NDArray[np.float64]:
        """Return `(t, 2, 3)` from prototype to image of (width, height) in pixels."""
        shift_x, shift_y, scales, turns_deg = np.array(self.values()).T
        turns, middle = np.deg2rad(turns_deg), (np.array(size) - 1) / 2
        cosines, sines = scales * np.cos(turns), scales * np.sin(turns)
        linear = np.stack([cosines, -sines, sines, cosines], axis=1).reshape(-1, 2, 2)
        shifts = np.stack([shift_x, shift_y], axis=1) * size
        return np.concatenate([linear, (middle + shifts - linear @ middle)[..., None]], axis=2)


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Holds k prototypes, and explains each of n images by one of them.

    Attributes:
        prototypes: `(k, h, w, c)`
        labels: prototype of each image
        moves: transformation of each image, a place in `Family.values`
        gains, offsets: brightness of each image against its moved prototype
        errors: sum of the squared differences of each image
    """

    prototypes: Images
    labels: Places
    moves: Places
    gains: Values
    offsets: Values
    errors: Values


def group(images: Images, count: int, family: Family, seed: int = 0) -> Groups:
    """Find `count` prototypes, or as many as there are images if these are fewer.

    Raises:
        ValueError: there is no image, or `count` is below 1
    """
    if not len(images) or count < 1:
        raise ValueError(f"{len(images)} images cannot have {count} prototypes")
    random, count = np.random.default_rng(seed), min(count, len(images))
    starts = [_choose(images, count, family, random) for _ in range(STARTS)]
    found = [refine(images, start, family) for start in starts]
    return min(found, key=lambda groups: float(groups.errors.sum()))


def refine(images: Images, prototypes: Images, family: Family) -> Groups:
    """Assign and update in turn until the error falls no more; return the best groups."""
    best = _fill(images, assign(images, prototypes, family), family)
    for _ in range(MOST_ROUNDS):
        found = assign(images, update(images, best, family), family)
        found = _fill(images, found, family)
        if found.errors.sum() >= best.errors.sum():
            break
        best = found
    return best


def assign(images: Images, prototypes: Images, family: Family) -> Groups:
    """Choose the prototype and transformation with the smallest error for each image.

    Gain and offset are a regression of the image on the moved prototype. So one matrix product
    holds the errors of all pairs.
    """
    moved = move(prototypes, family)
    centred = _remove_lightness(moved) if family.brightness else moved
    shown, seen = (some.reshape(len(some), -1) for some in (centred, images))
    products = shown @ seen.T
    power = np.einsum("ij,ij->i", shown, shown)[:, None]
    if family.brightness:
        power = np.maximum(power, np.finfo(np.float32).tiny)
        best = (np.maximum(products, 0) ** 2 / power).argmax(axis=0)
        gains = np.maximum(products[best, np.arange(len(images))], 0) / power[best, 0]
        offsets = (images - _spread(gains) * moved[best])[..., 0].mean(axis=(1, 2))
    else:
        best = (2 * products - power).argmax(axis=0)
        gains, offsets = np.ones(len(images), np.float32), np.zeros(len(images), np.float32)
    rest = images - _spread(gains) * moved[best]
    rest[..., 0] -= offsets[:, None, None]
    errors = np.square(rest).sum(axis=(1, 2, 3))
    labels, moves = np.divmod(best, len(family.values()))
    return Groups(prototypes, labels, moves, gains, offsets, errors)


def update(images: Images, groups: Groups, family: Family) -> Images:
    """Return the prototypes with the smallest error in their own frame.

    A pixel that no image covers keeps its value.
    """
    result = groups.prototypes.copy()
    gains = _spread(groups.gains)
    darker = images.copy()
    darker[..., 0] -= groups.offsets[:, None, None]
    totals = gains * move_back(darker, groups.moves, family)
    weights = gains**2 * move_back(np.ones_like(images), groups.moves, family)
    for label, prototype in enumerate(result):
        own = groups.labels == label
        weight = weights[own].sum(axis=0)
        np.divide(totals[own].sum(axis=0), weight, out=prototype, where=weight > 0)
    return result


def move(prototypes: Images, family: Family) -> Images:
    """Return each prototype in each transformation, `(k * t, h, w, c)`; edges are repeated."""
    _, height, width, channels = prototypes.shape
    matrices = family.matrices((width, height))
    moved = [
        cv2.warpAffine(one, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
        for one, matrix in product(prototypes, matrices)
    ]
    return np.array(moved).reshape(-1, height, width, channels)


def move_back(images: Images, moves: Places, family: Family) -> Images:
    """Return each image in the frame of its prototype, 0 where the image does not reach."""
    _, height, width, _ = images.shape
    matrices = family.matrices((width, height))[moves]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    back = [
        cv2.warpAffine(one, matrix, (width, height), flags=flags)
        for one, matrix in zip(images, matrices, strict=True)
    ]
    return np.array(back).reshape(images.shape)


def _fill(images: Images, found: Groups, family: Family) -> Groups:
    """Start prototypes without an image again from the images that are explained worst.

    If images are equal, a prototype may still be without one.
    """
    empty = np.setdiff1d(np.arange(len(found.prototypes)), found.labels)
    if not empty.size:
        return found
    prototypes = found.prototypes.copy()
    prototypes[empty] = images[np.argsort(-found.errors, kind="stable")[: empty.size]]
    return assign(images, prototypes, family)


def _choose(images: Images, count: int, family: Family, random: np.random.Generator) -> Images:
    """Choose different images as prototypes, with chances that grow with the error so far."""
    chosen = [int(random.integers(len(images)))]
    errors = np.full(len(images), np.inf)
    while len(chosen) < count:
        errors = np.minimum(errors, assign(images, images[chosen[-1:]], family).errors)
        chance = np.maximum(errors, np.finfo(np.float32).tiny)
        chance[chosen] = 0
        chosen.append(int(random.choice(len(images), p=chance / chance.sum())))
    return images[chosen]


def _remove_lightness(images: Images) -> Images:
    result = images.copy()
    result[..., 0] -= images[..., 0].mean(axis=(1, 2), keepdims=True)
    return result


def _spread(values: Values) -> Images:
    """Give one number for each image the dimensions of the images."""
    return values[:, None, None, None]

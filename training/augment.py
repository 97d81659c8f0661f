"""Changes a training image and its mask at random, and keeps their meaning."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.training import artefacts
from qlumen.training.artefacts import FloatImage

LESION_FREE_TRIES = 12
LESION_FREE_SHIFT = 0.5
"""Largest shift of the centre, as a share of the side. It must leave the image's middle."""


@dataclass(frozen=True, slots=True)
class AugmentRanges:
    """Holds the ranges of the random changes, and the share of images that get each.

    Attributes:
        scale: factor on the size of the scene, drawn log-uniformly
        aspect: largest factor between the two sides' scales
        shift: largest shift of the centre, as a share of the side
        gain: factor on all channels; `white_balance` is one for each channel
        gamma: exponent on intensities in 0 to 1
        saturation: factor on the distance from grey
        lesion_free_share: share of results with a part without lesion, where one is found,
            enlarged by a factor of `lesion_free_scale`
        paste_share: share of images with a piece of another image; see `mixing`
        erase_share: share of images whose lesions are covered with their own mucosa
        smear_share: share with a smear as long as `smear` of the side
    """

    scale: tuple[float, float] = (0.7, 1.45)
    aspect: float = 1.2
    shift: float = 0.1
    gain: tuple[float, float] = (0.7, 1.3)
    white_balance: tuple[float, float] = (0.88, 1.12)
    gamma: tuple[float, float] = (0.75, 1.35)
    saturation: tuple[float, float] = (0.6, 1.4)
    blur_share: float = 0.2
    blur_sigma_px: tuple[float, float] = (0.4, 2.0)
    motion_share: float = 0.15
    motion_px: tuple[int, int] = (3, 11)
    noise_share: float = 0.2
    noise_sigma: float = 6.0
    jpeg_share: float = 0.25
    jpeg_quality: tuple[int, int] = (25, 85)
    lesion_free_share: float = 0.12
    lesion_free_scale: tuple[float, float] = (1.2, 2.4)
    paste_share: float = 0.0
    colour_exchange_share: float = 0.0
    highlight_share: float = 0.0
    bubble_share: float = 0.0
    comb_share: float = 0.0
    surround_share: float = 0.0
    erase_share: float = 0.0
    amplitude_exchange_share: float = 0.0
    fringe_share: float = 0.0
    dye_share: float = 0.0
    narrow_band_share: float = 0.0
    cap_share: float = 0.0
    smear_share: float = 0.0
    smear: tuple[float, float] = (0.02, 0.09)
    h264_share: float = 0.0


PLAIN = AugmentRanges()
ENDOSCOPIC = AugmentRanges(
    scale=(0.6, 1.5),
    lesion_free_share=0.15,
    paste_share=0.25,
    colour_exchange_share=0.25,
    highlight_share=0.2,
    bubble_share=0.1,
    comb_share=0.08,
    surround_share=0.2,
)
TOWER = replace(
    ENDOSCOPIC,
    lesion_free_share=0.12,
    erase_share=0.12,
    amplitude_exchange_share=0.1,
    fringe_share=0.1,
    dye_share=0.04,
    narrow_band_share=0.05,
    cap_share=0.06,
    smear_share=0.06,
    h264_share=0.15,
)
RANGES: Mapping[str, AugmentRanges] = MappingProxyType(
    {"plain": PLAIN, "endoscopic": ENDOSCOPIC, "tower": TOWER}
)


def augment(
    image: NDArray[np.uint8],
    mask: NDArray[np.uint8],
    size: int,
    rng: np.random.Generator,
    ranges: AugmentRanges = PLAIN,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Rotate, scale, flip and shift image and mask together, then change the image's colours.

    Args:
        image: `(S, S, 3) uint8` BGR
        mask: `(S, S) uint8`, 0 or 1
        size: side of the result in pixels

    Returns:
        `(size, size, 3) uint8` and `(size, size) uint8`, black outside the image
    """
    matrix = _random_view(mask, size, rng, ranges)
    moved = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR)
    moved_mask = cv2.warpAffine(mask, matrix, (size, size), flags=cv2.INTER_NEAREST)
    coloured = _random_colour(moved.astype(np.float32), rng, ranges)
    marked, moved_mask = _random_artefacts(coloured, moved_mask.astype(np.uint8), rng, ranges)
    degraded = _random_degradation(marked, rng, ranges)
    return np.clip(np.rint(degraded), 0, 255).astype(np.uint8), moved_mask


def _random_view(
    mask: NDArray[np.uint8], size: int, rng: np.random.Generator, ranges: AugmentRanges
) -> NDArray[np.float64]:
    """Draw a 2x3 matrix from source to destination pixels."""
    if rng.random() < ranges.lesion_free_share:
        for _ in range(LESION_FREE_TRIES):
            view = _random_affine(
                mask.shape[0], size, rng, ranges, ranges.lesion_free_scale, LESION_FREE_SHIFT
            )
            if not cv2.warpAffine(mask, view, (size, size), flags=cv2.INTER_NEAREST).any():
                return view
    return _random_affine(mask.shape[0], size, rng, ranges, ranges.scale, ranges.shift)


def _random_affine(
    from_size: int,
    to_size: int,
    rng: np.random.Generator,
    ranges: AugmentRanges,
    scale: tuple[float, float],
    shift: float,
) -> NDArray[np.float64]:
    zoom = np.exp(rng.uniform(*np.log(scale))) * to_size / from_size
    aspect = np.exp(rng.uniform(-1, 1) * np.log(ranges.aspect) / 2)
    flips = rng.choice([-1.0, 1.0], size=2)
    angle = rng.uniform(-np.pi, np.pi)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = rotation @ np.diag([zoom * aspect * flips[0], zoom / aspect * flips[1]])
    target = to_size * (0.5 + rng.uniform(-shift, shift, size=2)) - 0.5
    centre = np.full(2, from_size / 2 - 0.5)
    return np.column_stack([linear, target - linear @ centre])


def _random_colour(
    image: FloatImage, rng: np.random.Generator, ranges: AugmentRanges
) -> FloatImage:
    gains = rng.uniform(*ranges.gain) * rng.uniform(*ranges.white_balance, size=3)
    saturation = rng.uniform(*ranges.saturation)
    grey = image.mean(axis=2, keepdims=True)
    image = (grey + saturation * (image - grey)) * gains.astype(np.float32)
    gamma = rng.uniform(*ranges.gamma)
    unit = np.clip(image, 0, 255) / np.float32(255)
    return np.asarray(np.float32(255) * unit ** np.float32(gamma), dtype=np.float32)


def _random_artefacts(
    image: FloatImage, mask: NDArray[np.uint8], rng: np.random.Generator, ranges: AugmentRanges
) -> tuple[FloatImage, NDArray[np.uint8]]:
    for share, add in (
        (ranges.highlight_share, artefacts.add_highlights),
        (ranges.bubble_share, artefacts.add_bubbles),
        (ranges.dye_share, artefacts.add_dye),
        (ranges.narrow_band_share, artefacts.show_narrow_band),
        (ranges.fringe_share, artefacts.add_fringes),
        (ranges.comb_share, artefacts.add_comb),
    ):
        if _happens(share, rng):
            image = add(image, rng)
    if _happens(ranges.cap_share, rng):
        image, mask = artefacts.add_cap(image, mask, rng)
    if _happens(ranges.surround_share, rng):
        image, mask = artefacts.add_surround(image, mask, rng)
    return image, mask


def _happens(share: float, rng: np.random.Generator) -> bool:
    """Decide by chance; a share of 0 draws no number, so earlier runs stay reproducible."""
    return share > 0 and rng.random() < share


def _random_degradation(
    image: FloatImage, rng: np.random.Generator, ranges: AugmentRanges
) -> FloatImage:
    if rng.random() < ranges.blur_share:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(*ranges.blur_sigma_px))
    if rng.random() < ranges.motion_share:
        image = cv2.filter2D(image, -1, _motion_kernel(rng, int(rng.integers(*ranges.motion_px))))
    if _happens(ranges.smear_share, rng):
        length = max(2, round(rng.uniform(*ranges.smear) * image.shape[0]))
        image = cv2.filter2D(image, -1, _motion_kernel(rng, length))
    if rng.random() < ranges.noise_share:
        sigma = rng.uniform(0, ranges.noise_sigma)
        image = image + sigma * rng.standard_normal(image.shape, dtype=np.float32)
    if rng.random() < ranges.jpeg_share:
        quality = int(rng.integers(*ranges.jpeg_quality))
        pixels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
        _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.float32)
    if _happens(ranges.h264_share, rng):
        image = artefacts.compress_h264(image, rng)
    return np.asarray(image, dtype=np.float32)


def _motion_kernel(rng: np.random.Generator, length: int) -> FloatImage:
    """Make a kernel that averages along a line of a length in pixels and a random direction."""
    angle = rng.uniform(0, np.pi)
    steps = np.linspace(-0.5, 0.5, 4 * length) * (length - 1)
    kernel = np.zeros((length | 1, length | 1), np.float32)
    centre = kernel.shape[0] // 2
    rows = np.rint(centre + steps * np.sin(angle)).astype(int)
    columns = np.rint(centre + steps * np.cos(angle)).astype(int)
    np.add.at(kernel, (rows, columns), 1)
    return kernel / kernel.sum()

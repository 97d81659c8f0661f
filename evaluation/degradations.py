"""Degrades images in ways that are common in endoscopy.

Severity 1 is common. Severity 3 is barely acceptable for a doctor. The scale was set by eye and is
qlumen's own. The idea is from ImageNet-C (Hendrycks and Dietterich 2019, arXiv 1903.12261).
Lengths are shares of an image's shorter side, so the effect is equal on small and large images.
`resolution`, `contrast` and `gamma` hold the shifts of an audit of SAM (arXiv 2604.25685): half and
a quarter of the size, factors and powers of 0.8 and 1.2.
"""

import hashlib
import math
import os
from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.realtime.endoscope.field import find_field
from qlumen.realtime.pixels.arrays import Image, Mask

FloatImage = NDArray[np.float32]
Kernel = NDArray[np.float32]
Rng = np.random.Generator

SEVERITIES = (1, 2, 3)
DEFOCUS_RADIUS = (0.006, 0.012, 0.022)
MOTION_LENGTH = (0.02, 0.045, 0.09)
GRAIN_SIGMA = 1 / 600
"""Share of the side: noise of a sensor, after the processor has enlarged its image."""
SHOT_LEVELS = (8.0, 15.0, 25.0)
"""Standard deviation on white, 0 to 255, from the light."""
READ_LEVELS = (3.0, 6.0, 10.0)
"""Standard deviation on black, 0 to 255, from the sensor."""
CODED_SIDE_PX = 352
"""Images are coded at this size, so that a block of 8 px is the same share of each image."""
JPEG_QUALITY = (30, 16, 10)
UNDER_STOPS = (1.0, 2.0, 3.5)
OVER_STOPS = (0.6, 1.2, 1.8)
DISPLAY_GAMMA = 2.2
CAST_STRENGTH = (0.08, 0.16, 0.26)
"""Natural logarithm of the gain of the channel that changes most."""
HAZE_SHARE = (0.25, 0.45, 0.7)
"""Share of the light from the veil at its thickest place."""
HAZE_THINNEST = 0.5
"""Thinnest haze as a share of the thickest."""
HAZE_CLOUDS = (4, 4)
VEIL_LEVEL = np.float32(200)
BLACK_LEVEL = 12
"""Level of the brightest channel. A wide area below it is a black surface and not the scene."""
BLACK_WIDTH = 1 / 24
"""Smallest width of such an area, as a share of the side."""
LINES_LEFT = (160, 104, 64)
"""Lines of the shorter side. An image without more lines does not change."""
RESOLUTION_LEFT = (0.5, 0.35, 0.25)
"""Share of the image's own lines and columns."""
CONTRAST_FACTORS = ((0.8, 1.2), (0.6, 1.4), (0.4, 1.6))
GAMMAS = ((0.8, 1.2), (0.65, 1.5), (0.5, 2.0))


def degrade(image: Image, name: str, *, kind: str, severity: int) -> Image:
    """Return a degraded copy, always the same for a name, kind and severity.

    Direction, hue, grain and clouds are random, but equal for all severities of a kind.

    Args:
        image: `(H, W, 3) uint8` BGR
        kind: key of `KINDS`
        severity: 1 to 3
    """
    seed = hashlib.sha256(os.fsencode(f"{kind}/{name}")).digest()
    return KINDS[kind](image, severity, np.random.default_rng(list(seed)))


def defocus(image: Image, severity: int, rng: Rng) -> Image:
    """Blur the image by the mean over a disc: the lens is out of focus."""
    return _filter(image, disc(DEFOCUS_RADIUS[severity - 1] * _side(image)))


def motion(image: Image, severity: int, rng: Rng) -> Image:
    """Blur the image by the mean along a line: the endoscope moves during the exposure."""
    length_px = MOTION_LENGTH[severity - 1] * _side(image)
    return _filter(image, line(length_px, rng.uniform(0, 180)))


def noise(image: Image, severity: int, rng: Rng) -> Image:
    """Add the noise of low light: one variance grows with the light, and one is constant.

    This is the normal approximation of Poisson and Gaussian noise (Foi et al. 2008, IEEE TIP 17).
    """
    levels = image.astype(np.float32)
    shot, read = SHOT_LEVELS[severity - 1], READ_LEVELS[severity - 1]
    sigma = np.sqrt(np.float32(shot**2 / 255) * levels + np.float32(read**2))
    return _to_image(levels + sigma * _grain(image, rng))


def compression(image: Image, severity: int, rng: Rng) -> Image:
    """Compress the image as JPEG of low quality: a recorder or a network saves space."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY[severity - 1]]
    _, data = cv2.imencode(".jpg", _set_lines(image, CODED_SIDE_PX), quality)
    coded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)
    return _resize_like(image, coded)


def underexposure(image: Image, severity: int, rng: Rng) -> Image:
    """Darken the image: the lamp is too weak for the distance."""
    return _expose(image, -UNDER_STOPS[severity - 1])


def overexposure(image: Image, severity: int, rng: Rng) -> Image:
    """Brighten the image: the lamp is too strong, and levels above white are lost."""
    return _expose(image, OVER_STOPS[severity - 1])


def colour_cast(image: Image, severity: int, rng: Rng) -> Image:
    """Shift the white balance in a random direction; the product of the gains is 1."""
    hue = rng.standard_normal(3)
    hue -= hue.mean()
    gains = np.exp(CAST_STRENGTH[severity - 1] * hue / np.abs(hue).max())
    return _to_image(image * gains.astype(np.float32))


def haze(image: Image, severity: int, rng: Rng) -> Image:
    """Add an uneven grey veil to the visible field: smoke of a snare, or a fogged lens."""
    height, width = image.shape[:2]
    random = rng.random(HAZE_CLOUDS, dtype=np.float32)
    clouds = cv2.resize(random, (width, height), interpolation=cv2.INTER_LINEAR)
    thickness = HAZE_THINNEST + (1 - HAZE_THINNEST) * clouds
    share = np.float32(HAZE_SHARE[severity - 1]) * thickness * _visible(image)
    return _to_image(image + share[..., None] * (VEIL_LEVEL - image))


def low_resolution(image: Image, severity: int, rng: Rng) -> Image:
    """Reduce the lines and enlarge: an old endoscope, or a converter of analogue video."""
    lines = LINES_LEFT[severity - 1]
    if _side(image) <= lines:
        return image.copy()
    return _resize_like(image, _set_lines(image, lines))


def resolution(image: Image, severity: int, rng: Rng) -> Image:
    """Reduce the image to a share of its own size and enlarge: large images keep more lines."""
    lines = max(1, round(RESOLUTION_LEFT[severity - 1] * _side(image)))
    return _resize_like(image, _set_lines(image, lines))


def contrast(image: Image, severity: int, rng: Rng) -> Image:
    """Multiply the distance of all levels from black, down or up; the levels are clipped."""
    return _to_image(image * np.float32(rng.choice(CONTRAST_FACTORS[severity - 1])))


def gamma(image: Image, severity: int, rng: Rng) -> Image:
    """Raise the levels, 0 to 1, to a power below or above 1; black and white stay."""
    levels = 255 * (image / 255) ** rng.choice(GAMMAS[severity - 1])
    return _to_image(levels.astype(np.float32))


KINDS: Mapping[str, Callable[[Image, int, Rng], Image]] = MappingProxyType(
    {
        kind.__name__: kind
        for kind in (
            defocus, motion, noise, compression, underexposure, overexposure, colour_cast, haze,
            low_resolution, resolution, contrast, gamma,
        )
    }
)  # fmt: skip
"""Functions by name, from an image, a severity and a random generator to a new image."""


def disc(radius_px: float) -> Kernel:
    """Return an `(S, S)` disc with sum 1; pixels on the rim count by their part inside."""
    reach = math.ceil(radius_px)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    weights = np.clip(radius_px + 0.5 - np.hypot(x, y), 0, 1)
    return np.asarray(weights / weights.sum(), dtype=np.float32)


def line(length_px: float, angle: float) -> Kernel:
    """Return an `(S, S)` line with sum 1, S odd, turned `angle` degrees anticlockwise."""
    side = 2 * int(length_px / 2) + 1
    row = np.zeros((side, side), np.float32)
    row[side // 2] = 1
    turn = cv2.getRotationMatrix2D((side // 2, side // 2), angle, 1)
    turned = cv2.warpAffine(row, turn, (side, side))
    return np.asarray(turned / turned.sum(), dtype=np.float32)


def _side(image: Image) -> int:
    return min(image.shape[:2])


def _filter(image: Image, kernel: Kernel) -> Image:
    filtered = cv2.filter2D(image, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(filtered, dtype=np.uint8)


def _grain(image: Image, rng: Rng) -> FloatImage:
    """Return noise of variance 1; its grains are the same share of each image."""
    sigma_px = GRAIN_SIGMA * _side(image)
    kernel = cv2.getGaussianKernel(2 * math.ceil(3 * sigma_px) + 1, sigma_px)
    white = rng.standard_normal(image.shape, dtype=np.float32)
    soft = cv2.sepFilter2D(white, -1, kernel, kernel)
    return np.asarray(soft / np.float32((kernel**2).sum()), dtype=np.float32)


def _expose(image: Image, stops: float) -> Image:
    """Multiply the light by `2 ** stops`."""
    return _to_image(image * np.float32(2 ** (stops / DISPLAY_GAMMA)))


def _visible(image: Image) -> Mask:
    """Return `(H, W)`, 1 on the endoscope's field, except black areas that cover a part of it."""
    field = find_field(image)
    x0, y0, x1, y1 = field.box
    mask = np.zeros(image.shape[:2], np.uint8)
    mask[y0:y1, x0:x1] = 1 if field.mask is None else field.mask[y0:y1, x0:x1]
    return np.asarray(mask & ~_black(image))


def _black(image: Image) -> Mask:
    """Return `(H, W)`, 1 on wide black areas."""
    dark = (image.max(axis=2) < BLACK_LEVEL).astype(np.uint8)
    side = 2 * round(BLACK_WIDTH / 2 * _side(image)) + 1
    element = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return np.asarray(cv2.morphologyEx(dark, cv2.MORPH_OPEN, element), dtype=np.uint8)


def _set_lines(image: Image, lines: int) -> Image:
    """Resize to `lines` pixels on the shorter side."""
    factor = lines / _side(image)
    height, width = (round(factor * side) for side in image.shape[:2])
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), dtype=np.uint8)


def _resize_like(image: Image, other: Image) -> Image:
    height, width = image.shape[:2]
    resized = cv2.resize(other, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, dtype=np.uint8)


def _to_image(levels: FloatImage) -> Image:
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)

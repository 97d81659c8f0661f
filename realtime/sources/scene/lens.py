"""Puts things in front of the lens: a cap's rim, a jet of water, water, drops and bubbles.

Positions and sizes are shares of the field's rendered height, from its middle; right and down
are positive. Each function changes or replaces an image, `(h, w, 3) uint8`, and the covers of
polyps, `(h, w) uint8` each, 255 where a polyp is visible.
"""

from dataclasses import dataclass
from math import cos, pi, sin, tau

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.kernels.scene_obstacles import draw_bubble
from qlumen.realtime.pixels.arrays import Image, Mask
from qlumen.realtime.sources.scene.field import Optics
from qlumen.realtime.sources.scene.tube import Floats

RADIUS_STEPS = 255 / 0.9
"""Steps of a cap's table for a radius of half the field's height."""
INNER_RADIUS = 0.7
"""Radius at which the table begins, over half the height."""
CAP_HAZE, CAP_OPACITY = (186.0, 196.0, 200.0), 0.62
STREAKS, SPRAY = 130, 70
JET_START = np.array([1.5, 5.0, 1.5])
JET_MM = 30.0
"""Distance of the wall that a jet hits."""
WATER_LEVEL = 120
WATER_HIDES = 2
"""Levels of 255 that stay hidden for each level that water adds to the image."""
BEND, WATER_SIGMA = 0.022, 0.007
"""Largest shift of the image by water on the lens, and the sigma of its blur."""
DROP_SIGMA = 0.019
MAGNIFIED = 0.6
"""Share of the distance from its middle by which a drop moves what it shows."""
COARSER = 4
"""Rows of the image for each row of the blurred one that drops show."""
RIM_LEVEL = 38


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """Holds an image and the covers that belong to it."""

    image: Image
    covers: list[Mask]

    def hide(self, seen: Mask) -> None:
        """Multiply the covers by the share of 255 that is still seen."""
        for cover in self.covers:
            cv2.multiply(cover, seen, cover, scale=1 / 255)


def draw_cap(picture: Picture, optics: Optics, reach: float, lit: float) -> None:
    """Draw the rim of a transparent cap, hazy plastic with a bright edge.

    Args:
        reach: radius of the opening over half the field's height.
        lit: angle of the brightest part of its edge, in radians.
    """
    rows, columns = picture.image.shape[:2]
    y = ((np.arange(rows) - optics.middle[1]) * (2 / rows)).astype(np.float32)[:, None]
    x = ((np.arange(columns) - optics.middle[0]) * (2 / rows)).astype(np.float32)
    radius = np.sqrt(x * x + y * y)
    index = np.clip((radius - INNER_RADIUS) * RADIUS_STEPS, 0, 255).astype(np.uint8)
    steps = INNER_RADIUS + np.arange(256) / RADIUS_STEPS - reach
    # hazy plastic that clears outwards, two bright rims, and a dark line between them
    opaque = CAP_OPACITY * np.clip(steps / 0.03, 0, 1) * (1 - 0.25 * np.clip(steps / 0.2, 0, 1))
    rims = np.exp(-((steps / 0.014) ** 2)) + 0.5 * np.exp(-(((steps - 0.09) / 0.024) ** 2))
    dark = 0.22 * np.exp(-(((steps - 0.040) / 0.020) ** 2))
    hidden = cv2.LUT(index, np.rint(255 * np.clip(opaque + dark, 0, 0.95)).astype(np.uint8))
    seen = cv2.bitwise_not(hidden)
    haze = cv2.LUT(index, np.rint(255 * np.clip(opaque * (1 - dark), 0, 1)).astype(np.uint8))
    towards = (x * np.float32(cos(lit)) + y * np.float32(sin(lit))) / (radius + np.float32(1e-6))
    rim = cv2.LUT(index, np.rint(255 * np.clip(rims, 0, 1)).astype(np.uint8))
    glow = cv2.multiply(rim, (70 + 185 * np.square(np.square(towards))).astype(np.uint8),
                        scale=0.75 / 255)  # fmt: skip
    planes = []
    for plane, level in zip(cv2.split(picture.image), CAP_HAZE, strict=True):
        plane = cv2.multiply(plane, seen, scale=1 / 255)
        plane = cv2.addWeighted(plane, 1.0, haze, 0.62 * level / 255, 0)
        planes.append(cv2.add(plane, glow))
    cv2.merge(planes, picture.image)
    picture.hide(seen)


def draw_jet(picture: Picture, optics: Optics, rng: np.random.Generator, age_s: float) -> None:
    """Draw a jet of water: streaks from the lower rim to the wall, and spray where it hits."""
    target = np.array([*rng.uniform(-7, 7, 2), JET_MM])
    light = np.zeros(picture.image.shape[:2], np.uint8)
    ends = target + rng.normal(0, 1.9, (STREAKS, 3))
    shares = (rng.random(STREAKS) + age_s * rng.uniform(6, 9, STREAKS)) % 1.0
    lengths = rng.uniform(0.12, 0.4, STREAKS)
    for end, share, length in zip(ends, shares, lengths, strict=True):
        a = JET_START + share * (end - JET_START)
        b = JET_START + min(1.0, share + length) * (end - JET_START)
        (from_, _), (to, scale) = _project(optics, a), _project(optics, b)
        cv2.line(light, from_, to, WATER_LEVEL, max(1, round(0.15 * scale)), cv2.LINE_AA)
    shares = (rng.random(SPRAY) + age_s * rng.uniform(2, 4, SPRAY)) % 1.0
    angles, reaches = rng.uniform(0, tau, SPRAY), rng.uniform(3, 12, SPRAY)
    for share, angle, reach in zip(shares, angles, reaches, strict=True):
        across = share * reach * np.array([cos(angle), sin(angle), -0.5])
        at, scale = _project(optics, target + across)
        size = max(1, round(scale * (0.25 + 1.1 * (1 - share) ** 2)))
        cv2.circle(light, at, size, round(WATER_LEVEL * (1 - share)), cv2.FILLED, cv2.LINE_AA)
    light = cv2.GaussianBlur(light, (0, 0), max(0.5, len(light) / 300))
    cv2.add(picture.image, cv2.merge([light] * 3), picture.image)
    picture.hide(cv2.addWeighted(light, -WATER_HIDES, light, 0, 255))


def pour_water(picture: Picture, rng: np.random.Generator, age_s: float, amount: float) -> Picture:
    """Bend and blur everything, as water does that runs over the lens.

    Args:
        amount: 0 to 1.
    """
    rows, columns = picture.image.shape[:2]
    waves = rng.normal(0, 1, (2, 7, 8, 2)).astype(np.float32)
    turn = 9.0 * age_s
    wave = np.float32(cos(turn)) * waves[0] + np.float32(sin(turn)) * waves[1]
    shift = cv2.resize(wave, (columns, rows), interpolation=cv2.INTER_CUBIC)
    shift *= np.float32(0.5 * BEND * rows * amount)
    shift[..., 0] += np.arange(columns, dtype=np.float32)
    shift[..., 1] += np.arange(rows, dtype=np.float32)[:, None]
    sigma = max(0.1, WATER_SIGMA * rows * amount)

    def bend(plane: Image) -> Image:
        bent = cv2.remap(plane, shift, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        blurred: Image = cv2.GaussianBlur(bent, (0, 0), sigma)
        return blurred

    return Picture(bend(picture.image), [bend(cover) for cover in picture.covers])


def draw_drops(picture: Picture, drops: Floats) -> None:
    """Blur and magnify the scene in drops that stick to the lens, with a bright and a dark rim.

    Args:
        drops: `(n, 5)`: x, y, radius, strength 0 to 1, and an angle that shapes the outline.
    """
    rows, columns = picture.image.shape[:2]
    planes = [picture.image, *picture.covers]
    size = max(1, columns // COARSER), max(1, rows // COARSER)
    scale_x, scale_y = size[0] / columns, size[1] / rows
    sigma = max(0.1, DROP_SIGMA * size[1])
    small = [cv2.resize(plane, size, interpolation=cv2.INTER_AREA) for plane in planes]
    soft = [cv2.GaussianBlur(plane, (0, 0), sigma) for plane in small]
    for x, y, radius, strength, angle in drops * [rows, rows, rows, 1, 1]:
        x, y = x + columns / 2, y + rows / 2
        left, right = max(0, int(x - radius)), min(columns, int(x + radius) + 2)
        top, bottom = max(0, int(y - radius)), min(rows, int(y + radius) + 2)
        if left >= right or top >= bottom or radius < 1:
            continue
        down, across = (
            np.mgrid[top:bottom, left:right].astype(np.float32) - [[[y]], [[x]]]
        ) / radius
        turn = np.arctan2(down, across)
        outline = 0.86 + 0.09 * np.sin(2 * turn + angle) + 0.05 * np.sin(3 * turn - 2 * angle)
        square = (across * across + down * down) / (outline * outline)
        deep = np.clip(1 - square, 0, 1)
        bend = 1 - MAGNIFIED * deep
        map_x = ((x + radius * across * bend + 0.5) * scale_x - 0.5).astype(np.float32)
        map_y = ((y + radius * down * bend + 0.5) * scale_y - 0.5).astype(np.float32)
        alpha = (np.sin(np.clip(1.5 * deep, 0, 1) * pi / 2) ** 2 * strength).astype(np.float32)
        rim = np.exp(-(((square - 0.72) / 0.2) ** 2)) * strength
        light = (RIM_LEVEL * rim * (-0.75 * down - 0.35 * across)).astype(np.float32)
        box = slice(top, bottom), slice(left, right)
        for plane, blurred in zip(planes, soft, strict=True):
            bent = cv2.remap(blurred, map_x, map_y, cv2.INTER_LINEAR,
                             borderMode=cv2.BORDER_REFLECT_101).astype(np.float32)  # fmt: skip
            share, glow = (alpha[..., None], light[..., None]) if plane.ndim == 3 else (alpha, 0)
            plane[box] = np.clip(plane[box] + share * (bent - plane[box]) + glow, 0, 255)


def draw_lens_bubbles(picture: Picture, surface: NDArray[np.float32], bubbles: Floats) -> None:
    """Draw bubbles on the lens.

    Args:
        surface: the frame's surface buffer.
        bubbles: `(n, 4)`: x, y, radius, opacity of the film.
    """
    rows, columns = picture.image.shape[:2]
    seen = np.full((rows, columns), 255, np.uint8)
    for x, y, radius, film in bubbles * [rows, rows, rows, 1] + [columns / 2, rows / 2, 0, 0]:
        draw_bubble(x, y, radius, film, 215.0, 0.0, surface, picture.image, seen)
    picture.hide(seen)


def _project(optics: Optics, place: Floats) -> tuple[tuple[int, int], float]:
    """Return the pixel of a place in camera axes, and the pixels of a millimetre there."""
    scale = 2 * optics.focal / (float(np.linalg.norm(place)) + float(place[2]))
    x, y = optics.middle + scale * place[:2]
    return (round(x), round(y)), scale

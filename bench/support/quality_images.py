"""Makes degraded copies of real images, and draws images from out of the body."""

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np

from qlumen.realtime.frames import Field
from qlumen.realtime.pixels.arrays import Image

NOISE_LEVEL = 1.5
"""Noise of the sensor in grey levels, added after the blur of the optics."""
WALL_BGR = (45, 50, 215)
WIDTH, HEIGHT = 960, 720
SKINS_BGR = ((150, 175, 220), (110, 140, 200), (70, 95, 150), (45, 60, 95))


def degrade_field(image: Image, field: Field, degrade: Callable[[Image], Image]) -> Image:
    """Degrade an image inside its field; the border stays black."""
    x0, y0, x1, y1 = field.box
    result = image.copy()
    inside = result[y0:y1, x0:x1]
    inside[:] = add_noise(degrade(inside), np.random.default_rng(0))
    return result if field.mask is None else cv2.copyTo(result, field.mask)


def add_noise(image: Image, rng: np.random.Generator) -> Image:
    noise = rng.normal(0, NOISE_LEVEL, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def blur(share: float, image: Image) -> Image:
    return cv2.GaussianBlur(image, (0, 0), share * image.shape[0])


def motion(share: float, image: Image) -> Image:
    return cv2.blur(image, (max(2, round(share * image.shape[0])), 1))


def gain(factor: float, image: Image) -> Image:
    return cv2.convertScaleAbs(image, alpha=factor)


def red_wash(weight: float, image: Image) -> Image:
    wall = np.full_like(image, WALL_BGR)
    return cv2.addWeighted(blur(0.03, image), 1 - weight, wall, weight, 0)


DEGRADATIONS: tuple[tuple[str, float, Callable[[Image], Image]], ...] = (
    *(("blur", share, partial(blur, share)) for share in (0.005, 0.01, 0.015, 0.02)),
    *(("motion", share, partial(motion, share)) for share in (0.03, 0.06, 0.12)),
    *(("gain", factor, partial(gain, factor)) for factor in (0.1, 0.2, 0.3, 0.5, 2.0, 3.0, 5.0)),
    *(("red", weight, partial(red_wash, weight)) for weight in (0.4, 0.6, 0.8)),
)
"""Names, strengths and functions. Blur: sigma, motion: length, both as a share of the field's
height; gain: factor; red: weight."""


def room(rng: np.random.Generator) -> Image:
    """Draw grey walls, furniture as rectangles of muted colours, and a lamp."""
    image = np.full((HEIGHT, WIDTH, 3), rng.integers(90, 200), np.uint8)
    for _ in range(12):
        grey, tint = rng.integers(30, 220), rng.integers(-12, 13, 3)
        x, y = rng.integers(0, WIDTH), rng.integers(0, HEIGHT)
        w, h = rng.integers(60, 400), rng.integers(60, 400)
        colour = np.clip(grey + tint, 0, 255).tolist()
        cv2.rectangle(image, (int(x), int(y)), (int(x + w), int(y + h)), colour, cv2.FILLED)
    lamp = int(rng.integers(0, WIDTH)), int(rng.integers(0, HEIGHT // 3))
    cv2.circle(image, lamp, int(rng.integers(20, 90)), (255, 255, 255), cv2.FILLED)
    return through_endoscope(image, rng)


def towel(rng: np.random.Generator) -> Image:
    """Draw an evenly lit white cloth with folds."""
    folds = cv2.GaussianBlur(rng.normal(0, 1, (HEIGHT, WIDTH)), (0, 0), 25)
    level = np.clip(rng.integers(170, 235) + 400 * folds, 0, 255)
    return through_endoscope(np.repeat(level.astype(np.uint8)[..., None], 3, axis=2), rng)


def face(height_share: float, rng: np.random.Generator) -> Image:
    """Draw a head with eyes and mouth before a grey wall, with one of four skin colours."""
    image = np.full((HEIGHT, WIDTH, 3), rng.integers(90, 200), np.uint8)
    skin = SKINS_BGR[rng.integers(len(SKINS_BGR))]
    x, y = WIDTH // 2 + int(rng.integers(-150, 150)), HEIGHT // 2 + int(rng.integers(-80, 80))
    tall = round(height_share * HEIGHT / 2)
    cv2.ellipse(image, (x, y), (round(0.75 * tall), tall), 0, 0, 360, skin, cv2.FILLED)
    for side in (-1, 1):
        eye = x + side * tall // 3, y - tall // 5
        cv2.circle(image, eye, max(2, tall // 10), (40, 40, 40), cv2.FILLED)
    mouth = (tall // 3, tall // 10)
    cv2.ellipse(image, (x, y + tall // 2), mouth, 0, 0, 360, (70, 70, 150), cv2.FILLED)
    return through_endoscope(image, rng)


def colour_bars(rng: np.random.Generator) -> Image:
    level = int(rng.integers(150, 256))
    colours = [[level * (i >> bit & 1) for bit in (0, 2, 1)] for i in range(7, -1, -1)]
    image = np.array(colours, np.uint8)[np.arange(WIDTH) * 8 // WIDTH]
    return through_endoscope(np.repeat(image[None], HEIGHT, axis=0), rng)


def text(rng: np.random.Generator) -> Image:
    """Draw a page with names."""
    image = np.full((HEIGHT, WIDTH, 3), rng.integers(180, 245), np.uint8)
    for y in range(80, HEIGHT, 60):
        word = "".join(chr(letter) for letter in rng.integers(65, 91, 14))
        cv2.putText(image, word, (60, y), cv2.FONT_HERSHEY_SIMPLEX, 1.6, (30, 30, 30), 3)
    return through_endoscope(image, rng)


def through_endoscope(image: Image, rng: np.random.Generator) -> Image:
    """Show an image through an endoscope: an octagonal field, less light outside, noise."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    away = np.hypot((columns - WIDTH / 2) / WIDTH, (rows - HEIGHT / 2) / HEIGHT)
    lit = image * (1.1 - 0.7 * away)[..., None]
    octagon = np.abs(columns - WIDTH / 2) + np.abs(rows - HEIGHT / 2) < 0.6 * WIDTH
    seen = add_noise(np.clip(lit, 0, 255).astype(np.uint8), rng)
    return seen * octagon[..., None].astype(np.uint8)


OUTSIDE: dict[str, Callable[[np.random.Generator], Image]] = {
    "room": room,
    "towel": towel,
    "face_half_height": partial(face, 0.5),
    "face_full_height": partial(face, 1.0),
    "bars": colour_bars,
    "text": text,
}

"""Draws artefacts of endoscopes and recorders: highlights, bubbles, combs and surrounds."""

from fractions import Fraction

import av
import cv2
import numpy as np
from numpy.typing import NDArray

FloatImage = NDArray[np.float32]
MAX_HIGHLIGHTS = 24
MAX_BUBBLES = 12
MAX_COMB_SHIFT = 0.02
"""Largest motion of the scene between the two fields of a frame, as a share of the side."""
OCTAGON_CORNER = (0.12, 0.3)
"""Size of a cut corner, as a share of the side."""
MAX_FRINGE_SHIFT = 0.02
"""Largest motion of the scene between the red and the blue instant, as a share of the side."""
H264_CRF = (24, 42)
"""Constant rate factors of x264: 23 is its default, 51 its worst."""
LIT = 40.0
"""Brightness, 0 to 255, at and above which a pixel shows the scene."""
MARKS = "0123456789:/. CVPADNiseMxagel"


def add_highlights(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Draw reflections of the lamp: small bright ellipses in a group, with soft edges."""
    side = image.shape[0]
    light = np.zeros(image.shape[:2], np.float32)
    middle = rng.uniform(0.1, 0.9, 2) * side
    for _ in range(rng.integers(2, MAX_HIGHLIGHTS)):
        centre = middle + rng.normal(0, 0.12 * side, 2)
        logs = rng.uniform(np.log(0.002), np.log(0.025), size=2)
        axes = np.maximum(1, np.exp(logs) * side)
        angle = rng.uniform(0, 180)
        cv2.ellipse(light, _point(centre), _point(axes), angle, 0, 360, 1.0, cv2.FILLED)
    light = _limit_to_scene(cv2.GaussianBlur(light, (0, 0), rng.uniform(0.4, 1.5)), image)
    white = rng.uniform(225, 255, 3).astype(np.float32)
    return image + light * (white - image)


def add_bubbles(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Draw transparent bubbles of rinsing water, each with a bright rim and a reflection."""
    side = image.shape[0]
    light = np.zeros(image.shape[:2], np.float32)
    middle = rng.uniform(0.1, 0.9, 2) * side
    for _ in range(rng.integers(2, MAX_BUBBLES)):
        centre = middle + rng.normal(0, 0.15 * side, 2)
        radius = max(2, np.exp(rng.uniform(*np.log((0.006, 0.05)))) * side)
        cv2.circle(light, _point(centre), round(radius), rng.uniform(0.3, 0.8), 1, cv2.LINE_AA)
        spot = centre + rng.uniform(-0.4, 0.4, 2) * radius
        cv2.circle(light, _point(spot), max(1, round(radius / 6)), 1.0, cv2.FILLED, cv2.LINE_AA)
    light = _limit_to_scene(cv2.GaussianBlur(light, (0, 0), 0.6), image)
    return image + light * (np.float32(245) - image)


def add_comb(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Shift every second row, as in interlaced video of a moving scene."""
    most = max(1, round(MAX_COMB_SHIFT * image.shape[0]))
    shift = int(rng.integers(1, most + 1)) * int(rng.choice((-1, 1)))
    combed = image.copy()
    combed[1::2] = np.roll(image[1::2], shift, axis=1)
    return combed


def add_fringes(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Move red and blue apart, as a sensor does that takes colours one after another."""
    side = image.shape[0]
    x, y = rng.uniform(-0.5, 0.5, 2) * MAX_FRINGE_SHIFT * side
    planes = []
    for plane, sign in zip(cv2.split(image), (-1.0, 0.0, 1.0), strict=True):
        matrix = np.array([[1.0, 0.0, sign * x], [0.0, 1.0, sign * y]])
        planes.append(cv2.warpAffine(plane, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE))
    return np.asarray(cv2.merge(planes), dtype=np.float32)


def add_dye(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Draw pools of indigo carmine: a smooth random field that takes red and some green away."""
    side = image.shape[0]
    field = cv2.resize(rng.random((5, 5), np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    depth = np.clip((field - rng.uniform(0.2, 0.6)) * 2, 0, 1)[..., None]
    kept = 1 - depth * rng.uniform(0.3, 0.8) * np.array([0.05, 0.45, 1.0], np.float32)
    return np.asarray(image * kept, dtype=np.float32)


def show_narrow_band(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Show the image as narrow-band light does: green becomes red, blue becomes blue and green."""
    blue, green, _ = cv2.split(image)
    gain = rng.uniform((0.7, 0.8, 0.8), (1.1, 1.2, 1.3)).astype(np.float32)
    deep = 0.75 * blue + 0.25 * green
    full = np.float32(rng.uniform(0.6, 1.0))
    narrow = cv2.merge([deep, 0.6 * deep + 0.4 * green, green]) * gain
    return np.asarray(image + full * (narrow - image), dtype=np.float32)


def add_cap(
    image: FloatImage, mask: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[FloatImage, NDArray[np.uint8]]:
    """Draw the rim of a transparent cap: a grey ring at the edge with bright reflections.

    Returns:
        the image, and the mask without the covered pixels
    """
    side = image.shape[0]
    ring = np.zeros((side, side), np.float32)
    centre = side / 2 + rng.normal(0, 0.04 * side, 2)
    radius = rng.uniform(0.42, 0.6) * side
    cv2.circle(ring, _point(centre), round(radius + side), 1.0, round(2 * side), cv2.LINE_AA)
    ring = cv2.GaussianBlur(ring, (0, 0), rng.uniform(0.5, 3))[..., None]
    tint = np.float32(rng.uniform(10, 120)) * rng.uniform(0.85, 1.15, 3).astype(np.float32)
    clear = np.float32(rng.uniform(0.0, 0.5))
    covered = image + ring * (tint + clear * image - image)
    angle = rng.uniform(0, 360)
    light = np.zeros((side, side), np.float32)
    axes = (round(radius * 1.03), round(radius * 1.03))
    cv2.ellipse(
        light, _point(centre), axes, angle, 0, rng.uniform(10, 90), 1.0,
        max(1, round(rng.uniform(0.004, 0.015) * side)), cv2.LINE_AA,
    )  # fmt: skip
    covered += light[..., None] * (np.float32(235) - covered)
    return covered, np.where(ring[..., 0] > 0.5, np.uint8(0), mask)


def compress_h264(image: FloatImage, rng: np.random.Generator) -> FloatImage:
    """Encode and decode an image as a key frame of H.264 at a low rate.

    The sides are multiples of 2.
    """
    side = image.shape[0]
    pixels = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width = encoder.height = side
    encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, 25)
    encoder.thread_count = 1
    encoder.options = {
        "preset": "ultrafast", "tune": "zerolatency", "crf": str(int(rng.integers(*H264_CRF))),
    }  # fmt: skip
    packets = encoder.encode(av.VideoFrame.from_ndarray(pixels, format="bgr24"))
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    decoded = [f for p in [*packets, *encoder.encode(None), None] for f in decoder.decode(p)]
    return decoded[0].to_ndarray(format="bgr24").astype(np.float32)


def add_surround(
    image: FloatImage, mask: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[FloatImage, NDArray[np.uint8]]:
    """Draw a dark surround with a hole of a usual shape, and by chance an inset and marks.

    Returns:
        the image, and the mask without the covered pixels
    """
    visible = _draw_hole(image.shape[0], rng)
    dark = np.full(3, rng.uniform(0, 16), np.float32)
    surrounded = np.where(visible[..., None], image, dark)
    if rng.random() < 0.3:
        _draw_inset(surrounded, visible, rng)
    if rng.random() < 0.7:
        _draw_marks(surrounded, rng)
    return surrounded, np.where(visible, mask, np.uint8(0))


def _draw_hole(side: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    hole = np.zeros((side, side), np.uint8)
    low = np.rint(rng.uniform(0, 0.15, 2) * side).astype(int)
    high = np.rint((1 - rng.uniform(0, 0.08, 2)) * side).astype(int)
    kind = rng.choice(("octagon", "circle", "square"))
    if kind == "circle":
        centre, axes = (low + high) / 2, (high - low) / 2 * rng.uniform(1, 1.15)
        cv2.ellipse(hole, _point(centre), _point(axes), 0, 0, 360, 1, cv2.FILLED)
    elif kind == "square":
        hole[low[1] : high[1], low[0] : high[0]] = 1
    else:
        cut = rng.uniform(*OCTAGON_CORNER) * (high - low)
        cv2.fillPoly(hole, [_octagon(low, high, cut)], 1)
    return hole.astype(bool)


def _octagon(
    low: NDArray[np.int64], high: NDArray[np.int64], cut: NDArray[np.float64]
) -> NDArray[np.int32]:
    (x0, y0), (x1, y1), (dx, dy) = low, high, cut
    corners = [
        (x0 + dx, y0), (x1 - dx, y0), (x1, y0 + dy), (x1, y1 - dy),
        (x1 - dx, y1), (x0 + dx, y1), (x0, y1 - dy), (x0, y0 + dy),
    ]  # fmt: skip
    return np.rint(corners).astype(np.int32)


def _draw_inset(image: FloatImage, visible: NDArray[np.bool_], rng: np.random.Generator) -> None:
    """Draw the endoscope's position as a line on a plain rectangle in a lower corner."""
    side = image.shape[0]
    width, height = np.rint(rng.uniform(0.2, 0.36, 2) * side).astype(int)
    x0 = 0 if rng.random() < 0.8 else side - width
    colour = (
        (0.0, 0.0, 0.0) if rng.random() < 0.5 else tuple(rng.uniform((90, 110, 0), (160, 190, 60)))
    )
    cv2.rectangle(image, (x0, side - height), (x0 + width, side), colour, cv2.FILLED)
    middle = np.array([x0 + width / 2, side - height / 2])
    steps = middle + rng.normal(0, 0.03 * side, (8, 2)).cumsum(0)
    inside = np.clip(steps, (x0 + 2, side - height + 2), (x0 + width - 3, side - 3))
    cv2.polylines(image, [np.rint(inside).astype(np.int32)], False, (20.0, 20.0, 20.0), 1)
    visible[side - height :, x0 : x0 + width] = False


def _draw_marks(image: FloatImage, rng: np.random.Generator) -> None:
    side = image.shape[0]
    scale = rng.uniform(0.0007, 0.0013) * side
    light = np.zeros(image.shape[:2], np.uint8)
    x, y = int(rng.integers(0, max(1, side // 20))), int(rng.uniform(0.05, 0.4) * side)
    for _ in range(rng.integers(2, 7)):
        text = "".join(rng.choice(list(MARKS), size=rng.integers(3, 12)))
        cv2.putText(light, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, scale, 255, 1)
        y += round(scale * 36)
    alpha = light[..., None] / np.float32(255)
    image += alpha * (np.float32(rng.uniform(170, 255)) - image)


def _limit_to_scene(light: FloatImage, image: FloatImage) -> FloatImage:
    """Return light `(S, S, 1)` without the dark surround, because that reflects nothing."""
    return light[..., None] * np.clip(image.max(axis=2, keepdims=True) / LIT, 0, 1)


def _point(xy: NDArray[np.float64]) -> tuple[int, int]:
    return round(float(xy[0])), round(float(xy[1]))

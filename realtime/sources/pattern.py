"""Draws a test pattern: colour bars, a moving part, and the frame's number for machines.

The number is a row of black and white blocks at the lower edge: two for the levels
(white, black), 32 bits of the number, 8 of a check sum, highest bit first.
"""

import time
import zlib
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction

import cv2
import numpy as np

from qlumen.realtime.frames import Frame
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.sources.base import Source, SourceInfo

NUMBER_BITS = 32
CHECK_BITS = 8
BLOCKS = 2 + NUMBER_BITS + CHECK_BITS
CODE_TOP, CODE_BOTTOM = 0.875, 1.0
"""Upper and lower edge of the blocks, as shares of the height."""
LEVEL = 191
"""Brightness of the usual colour bars: 75% of white (ITU-R BT.471)."""
BARS_BGR = [(b * LEVEL, g * LEVEL, r * LEVEL) for g in (1, 0) for r in (1, 0) for b in (1, 0)]
"""Colours of the bars: white, yellow, cyan, green, magenta, red, blue, black."""
MIN_CONTRAST = 64
ROUND_FRAMES = 100
"""Number of frames in one round of the moving part."""


class PatternSource(Source):
    """Delivers endless frames of the pattern; frame i shows the number i modulo 2**32."""

    def __init__(self, width: int, height: int, fps: Fraction) -> None:
        self.info = SourceInfo("pattern", width, height, fps, None)
        self.drops = Counter()
        self._bars = _bars(width, height)
        self._fps = fps

    def frames(self) -> Iterator[Frame]:
        index = 0
        while True:
            image = self.picture(index)
            yield Frame(index, index, 1 / self._fps, BgrImage(image), time.monotonic_ns())
            index += 1

    def picture(self, index: int) -> Image:
        """Draw the pattern's frame `index`, `(H, W, 3) uint8` BGR."""
        image = self._bars.copy()
        _draw_mover(image, index)
        _draw_time(image, float(index / self._fps))
        draw_number(image, index)
        image.flags.writeable = False
        return image


def draw_number(image: Image, number: int) -> None:
    """Draw the blocks of `number` modulo 2**32 into `(H, W, 3) uint8`, in place."""
    number %= 1 << NUMBER_BITS
    word = number << CHECK_BITS | _check_sum(number)
    levels = [255, 0, *(255 * (word >> bit & 1) for bit in reversed(range(BLOCKS - 2)))]
    height, width = image.shape[:2]
    row = np.repeat(np.array(levels, np.uint8), np.diff(_edges(width)))
    image[round(CODE_TOP * height) : round(CODE_BOTTOM * height)] = row[None, :, None]


def read_number(image: Image) -> int | None:
    """Read the number in `(H, W, 3) uint8` of any scale; None if it is unreadable."""
    height, width = image.shape[:2]
    middle = round((CODE_TOP + CODE_BOTTOM) / 2 * height)
    reach = max(1, round((CODE_BOTTOM - CODE_TOP) / 4 * height))
    row = image[middle - reach : middle + reach].mean(axis=(0, 2))
    edges = _edges(width)
    centres = (edges[:-1] + edges[1:]) // 2
    white, black, *bits = row[centres]
    if white - black < MIN_CONTRAST:
        return None
    word = sum(1 << place for place, bit in enumerate(reversed(bits)) if 2 * bit > white + black)
    number, check = divmod(word, 1 << CHECK_BITS)
    return number if check == _check_sum(number) else None


def _edges(width: int) -> np.ndarray:
    return np.linspace(0, width, BLOCKS + 1).round().astype(np.intp)


def _check_sum(number: int) -> int:
    return zlib.crc32(number.to_bytes(NUMBER_BITS // 8, "big")) % (1 << CHECK_BITS)


def _bars(width: int, height: int) -> Image:
    column = np.arange(width) * len(BARS_BGR) // width
    row = np.array(BARS_BGR, np.uint8)[column]
    return np.ascontiguousarray(np.broadcast_to(row, (height, width, 3)))


def _draw_mover(image: Image, index: int) -> None:
    """Draw a disc that moves on a circle around the middle."""
    height, width = image.shape[:2]
    angle = 2 * np.pi * index / ROUND_FRAMES
    radius = min(height, width) // 4
    x = round(width / 2 + radius * np.sin(angle))
    y = round(CODE_TOP * height / 2 - radius * np.cos(angle))
    cv2.circle(image, (x, y), max(3, radius // 4), (255, 255, 255), cv2.FILLED, cv2.LINE_AA)


def _draw_time(image: Image, seconds: float) -> None:
    """Draw minutes, seconds and thousandths, for people."""
    text = f"{int(seconds // 60):02d}:{seconds % 60:06.3f}"
    scale = image.shape[0] / 500
    place = (round(10 * scale), round(40 * scale))
    for colour, line in (((0, 0, 0), 5), ((255, 255, 255), 2)):
        width = max(1, round(line * scale))
        cv2.putText(image, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, width)

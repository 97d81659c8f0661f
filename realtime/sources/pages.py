"""Reads files that hold several images: TIFF stacks, animated WebP and PNG."""

import struct
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageSequence

from qlumen.errors import NoFramesError
from qlumen.realtime.frames import Frame
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.sources.base import Source, SourceInfo
from qlumen.system.locations import printable, show_location

TIFF = "TIFF"
ANIMATED = ("PNG", "WEBP")
MILLISECOND = Fraction(1, 1000)
ASSUMED_MS = 40
"""Length of a frame of an animation that gives it none."""
DAMAGES = (
    OSError, SyntaxError, ValueError, OverflowError, KeyError, TypeError, struct.error,
    Pillow.DecompressionBombError,
)  # fmt: skip
"""Errors of Pillow on damaged files, and on images that it holds for too large."""
STACK_SUFFIXES = frozenset({".tif", ".tiff"})
SUFFIXES = STACK_SUFFIXES | {".png", ".webp"}
SIXTEEN_TO_EIGHT_BITS = 1 / 257  # 65535 -> 255
SUBFILE_TYPE, IS_REDUCED = 254, 1
"""TIFF 6.0, NewSubfileType: bit 0 marks a smaller version of another page."""


def has_pages(file: Path, stored: NDArray[np.uint8] | None = None) -> bool:
    """Check whether a file holds more than one image that can be shown.

    Args:
        stored: bytes of the file, if they were read already.
    """
    return _count_pages(file, stored) > 1


def is_for_pages(file: Path) -> bool:
    """Check whether `PagesSource` reads the file: one of several images, or any TIFF.

    FFmpeg shows other colours for TIFF with JPEG inside.
    """
    return _count_pages(file) > (0 if file.suffix.lower() in STACK_SUFFIXES else 1)


def list_pages(file: Path | BytesIO) -> tuple[list[int], str]:
    """List the images in a file or its bytes, without smaller versions of others.

    Returns:
        The numbers of the images, from 0, none for a file that is neither TIFF, PNG nor WebP; and
        the reason why there may be more, empty for a whole file.
    """
    numbers: list[int] = []
    try:
        with warnings.catch_warnings(), _open(file) as pages:
            warnings.simplefilter("ignore")
            for number, page in enumerate(ImageSequence.Iterator(pages)):
                if not _is_reduced(page):
                    numbers.append(number)
    except DAMAGES as error:
        return numbers, str(error)
    return numbers, ""


class PagesSource(Source):
    """Reads each page of a TIFF stack, or each frame of an animated WebP or PNG.

    The pages of a stack are read one at a time, as `images.read_image` reads a file. `Frame.name`
    is the file's name, with the number of the page, from 1, if there are more. `pts` is the place
    among the readable pages in units of 1 / `fps`. A page that cannot be read is skipped, counted
    in `drops["unreadable_image"]` and named in `info.notes`. The frames of an animation are those
    of a video, with the times of the file; transparency is dropped.

    Args:
        sequence: whether the pages of a stack are frames of one recording.
        fps: pages of a stack per second.

    Raises:
        NoFramesError: no page can be read.
    """

    def __init__(self, file: Path, *, sequence: bool, fps: Fraction) -> None:
        self.drops = Counter()
        self._file = file
        self._numbers, damage = list_pages(file)
        with _open(file) as pages:
            stack = pages.format == TIFF
        self._rest = self._stack(1 / fps) if stack else self._animation()
        rate = fps if stack else None
        count = len(self._numbers)
        self.info = SourceInfo(
            show_location(str(file)), None, None, rate, count, sequence or not stack
        )
        if damage:
            self._note(f"the rest of {printable(file.name)} cannot be read ({damage})")
        first = next(self._rest, None)
        if first is None:
            raise NoFramesError(
                f"none of the {count} images in {self.info.name} can be read; export it again"
            )
        self._frames = chain([first], self._rest)
        self.info = replace(self.info, width=first.size[0], height=first.size[1])

    def frames(self) -> Iterator[Frame]:
        yield from self._frames

    def _stack(self, time_base: Fraction) -> Iterator[Frame]:
        stored = np.fromfile(self._file, np.uint8)
        digits = len(str(len(self._numbers)))
        index = 0
        for place, number in enumerate(self._numbers, 1):
            image = decode_page(stored, number)
            if image is None:
                self.drops["unreadable_image"] += 1
                self._note(
                    f"page {place} of {printable(self._file.name)} cannot be read and was skipped"
                )
                continue
            name = self._file.name
            if len(self._numbers) > 1:
                name = f"{self._file.stem}_{place:0{digits}}{self._file.suffix}"
            yield Frame(index, index, time_base, BgrImage(image), time.monotonic_ns(), name=name)
            index += 1

    def _animation(self) -> Iterator[Frame]:
        pts = 0
        try:
            with _open(self._file) as pages:
                for index, page in enumerate(ImageSequence.Iterator(pages)):
                    image = _bgr(page)
                    now_ns = time.monotonic_ns()
                    yield Frame(index, pts, MILLISECOND, BgrImage(image), now_ns)
                    pts += max(1, round(page.info.get("duration") or ASSUMED_MS))
        except DAMAGES as error:
            self._note(f"the rest of {printable(self._file.name)} cannot be read ({error})")

    def _note(self, text: str) -> None:
        self.info = replace(self.info, notes=(*self.info.notes, text))


def decode_page(stored: NDArray[np.uint8], number: int) -> Image | None:
    """Decode one image of a TIFF file; None when it cannot be read.

    Args:
        stored: bytes of the file.
        number: number of the image, from 0.
    """
    options = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    try:
        decoded, pages = cv2.imdecodemulti(stored, options, range=(number, number + 1))
    except cv2.error:
        return None
    return reduce_depth(pages[0]) if decoded and pages else None


def reduce_depth(image: NDArray[Any]) -> Image | None:
    """Return an image of OpenCV with 8 bits: 16 become `round(v / 257)`; None for others."""
    if image.dtype == np.uint16:
        return cv2.convertScaleAbs(image, alpha=SIXTEEN_TO_EIGHT_BITS)
    return image if image.dtype == np.uint8 else None


def _count_pages(file: Path, stored: NDArray[np.uint8] | None = None) -> int:
    if file.suffix.lower() not in SUFFIXES or not file.is_file():
        return 0
    return len(list_pages(file if stored is None else BytesIO(stored.data))[0])


def _open(file: Path | BytesIO) -> Pillow.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Pillow.open(file, formats=(TIFF, *ANIMATED))


def _is_reduced(page: Pillow.Image) -> bool:
    tags = getattr(page, "tag_v2", {})
    return bool(tags.get(SUBFILE_TYPE, 0) & IS_REDUCED)


def _bgr(page: Pillow.Image) -> Image:
    return cv2.cvtColor(np.asarray(page.convert("RGB")), cv2.COLOR_RGB2BGR)

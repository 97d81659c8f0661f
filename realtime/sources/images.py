"""Reads images from disk: a folder in natural order, or a single image."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
from natsort import natsort_keygen, ns
from numpy.typing import NDArray

from qlumen.errors import NoFramesError, SourceError, SourceNotFoundError
from qlumen.realtime.frames import Frame
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.sources.base import Source, SourceInfo
from qlumen.realtime.sources.pages import has_pages, reduce_depth
from qlumen.system.locations import printable, show_location

IMAGE_SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
DEFAULT_RATE = Fraction(25)


class FolderSource(Source):
    """Reads the images of a folder (`IMAGE_SUFFIXES`) in natural order: `img2` before `img10`.

    Other files, hidden files and subfolders are left out. `Frame.name` is the file's name.
    `pts` is its place among the readable images, in units of 1 / `fps`. An image that cannot be
    read is skipped, counted in `drops["unreadable_image"]` and named in `info.notes`, which
    grows while frames are read. `read_image` reads the pixels.

    Args:
        folder: path of the folder.
        sequence: whether the images are frames of one recording and not unrelated stills.
        fps: images per second.

    Raises:
        SourceNotFoundError: there is no such folder.
        SourceError: the path is not a folder.
        NoFramesError: the folder has no image, or none that can be read.
    """

    def __init__(
        self, folder: str, *, sequence: bool = False, fps: Fraction = DEFAULT_RATE
    ) -> None:
        self.drops = Counter()
        self._time_base = 1 / Fraction(fps)
        files = _list_images(folder)
        self.info = SourceInfo(
            show_location(folder), None, None, Fraction(fps), len(files), sequence
        )
        self._rest = self._read(files)
        first = next(self._rest, None)
        if first is None:
            raise NoFramesError(
                f"none of the {len(files)} images in {self.info.name} can be read "
                f"({printable(files[0].name)} is the first); export them again"
            )
        self._frames = chain([first], self._rest)
        if sequence:
            self.info = replace(self.info, width=first.size[0], height=first.size[1])

    def frames(self) -> Iterator[Frame]:
        yield from self._frames

    def _read(self, files: list[Path]) -> Iterator[Frame]:
        index = 0
        for file in files:
            stored = _read_bytes(file)
            image = None if stored is None else _decode(stored)
            if image is None:
                self.drops["unreadable_image"] += 1
                note = f"{printable(file.name)} cannot be read and was skipped"
                self.info = replace(self.info, notes=(*self.info.notes, note))
                continue
            if has_pages(file, stored):
                note = f"{printable(file.name)} holds several images, the first is read"
                self.info = replace(self.info, notes=(*self.info.notes, note))
            now_ns = time.monotonic_ns()
            yield Frame(index, index, self._time_base, BgrImage(image), now_ns, name=file.name)
            index += 1


def read_image(file: Path) -> Image | None:
    """Read the file's pixels as `(H, W, 3) uint8` BGR; None when they cannot be read.

    Grey becomes three equal channels. Transparency is dropped. The EXIF orientation is applied.
    16 bits become `round(v / 257)`. Of several pages the first is taken. Damaged files,
    floating-point pixels and images above OpenCV's limit of 2**30 pixels
    (`OPENCV_IO_MAX_IMAGE_PIXELS`) cannot be read.
    """
    stored = _read_bytes(file)
    return None if stored is None else _decode(stored)


def _read_bytes(file: Path) -> NDArray[np.uint8] | None:
    try:
        # Not cv2.imread: on Windows it cannot open names outside the code page.
        return np.fromfile(file, np.uint8)
    except OSError:
        return None


def _decode(stored: NDArray[np.uint8]) -> Image | None:
    try:
        image = cv2.imdecode(stored, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    except cv2.error:
        return None
    return None if image is None else reduce_depth(image)


def image_files(folder: Path) -> list[Path]:
    """Return the visible image files of an existing folder, by suffix, in natural order."""
    natural = natsort_keygen(alg=ns.IGNORECASE)
    shown = (file for file in folder.iterdir() if not file.name.startswith("."))
    files = [file for file in shown if is_still(file)]
    return sorted(files, key=lambda file: (natural(file.name), file.name))


def _list_images(folder: str) -> list[Path]:
    path = Path(folder)
    if not path.exists():
        raise SourceNotFoundError(f"no such folder: {folder}; check the path")
    if not path.is_dir():
        raise SourceError(f"{folder} is not a folder; give a folder of images")
    files = image_files(path)
    if not files:
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        raise NoFramesError(f"{folder} holds no images; their names must end in {suffixes}")
    return files


class StillSource(Source):
    """Reads one image file with `read_image`; raises NoFramesError if that fails."""

    def __init__(self, file: Path) -> None:
        image = read_image(file)
        if image is None:
            raise NoFramesError(
                f"{printable(file.name)} is not an image that can be read; export it again"
            )
        self.drops = Counter()
        self.info = SourceInfo(
            show_location(str(file)), image.shape[1], image.shape[0], None, 1, sequence=False
        )
        self._frame = Frame(0, 0, Fraction(1), BgrImage(image), time.monotonic_ns(), name=file.name)

    def frames(self) -> Iterator[Frame]:
        yield self._frame


def is_still(location: str | Path) -> bool:
    """Check whether a path is a file with the suffix of an image."""
    path = Path(location)
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()

"""A single image as a source."""

import time
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

from qlumen.errors import NoFramesError
from qlumen.realtime.frames import Frame
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.sources.base import Source, SourceInfo
from qlumen.realtime.sources.folder import IMAGE_SUFFIXES, read_image


class StillSource(Source):
    """One image file, read as `read_image` does. Raises NoFramesError if it cannot be."""

    def __init__(self, file: Path) -> None:
        image = read_image(file)
        if image is None:
            raise NoFramesError(f"{file.name} is not an image that can be read; export it again")
        self.drops = Counter()
        self.info = SourceInfo(str(file), image.shape[1], image.shape[0], None, 1, sequence=False)
        self._frame = Frame(0, 0, Fraction(1), BgrImage(image), time.monotonic_ns(), name=file.name)

    def frames(self) -> Iterator[Frame]:
        yield self._frame

    def close(self) -> None:
        pass


def is_still(location: str) -> bool:
    """Whether it is a file with the ending of an image."""
    path = Path(location)
    return path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()

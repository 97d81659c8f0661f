"""A finished review, read back."""

import json
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from qlumen.errors import ReviewError
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.review.blobs import BlobFile
from qlumen.realtime.review.maps import unpack_flow, unpack_map
from qlumen.realtime.review.records import (
    FLOWS,
    FORMAT,
    FRAMES,
    MANIFEST,
    MAPS,
    PICTURES,
    Manifest,
    StoredFrame,
)
from qlumen.realtime.segmentation.geometry import Geometry
from qlumen.realtime.tracking.motion import Flow
from qlumen.system.closing import Closing


class Review(Closing):
    """Maps, motion and pictures of a recording's frames, by their place from 0. Belongs to
    one thread at a time.

    Raises:
        ReviewError: no review there, one of another format, or it is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = _manifest(folder / MANIFEST)
        self.frames = _frames(folder / FRAMES)
        self._maps = BlobFile(folder / MAPS)
        self._flows = BlobFile(folder / FLOWS)
        self._pictures = BlobFile(folder / PICTURES)

    @cached_property
    def settings(self) -> Settings:
        """That the review was made with."""
        try:
            return Settings.model_validate(self.manifest.settings)
        except ValidationError as error:
            raise ReviewError(
                f"{self.folder} was made by another version ({_first(error)}); make it again"
            ) from None

    def probability(self, place: int) -> NDArray[np.float32]:
        """`(h, w) float32`, 0 to 1."""
        return unpack_map(self._maps.read(self.frames[place].map), self.manifest.map_size)

    def geometry(self, place: int) -> Geometry:
        """How the frame lies in its map."""
        return Geometry.of(self.frames[place].size, self.manifest.map_size, self.manifest.fit)

    def flow(self, place: int) -> Flow | None:
        """The motion from the frame before; None where nothing can be carried over."""
        record = self.frames[place]
        if record.flow is None or record.flow_size is None:
            return None
        return unpack_flow(self._flows.read(record.flow), record.flow_size)

    def picture(self, place: int) -> Image:
        """The frame as it was kept for looking at: reduced, `(h, w, 3) uint8` BGR."""
        data = np.frombuffer(self._pictures.read(self.frames[place].picture), np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
        if image is None:
            raise ReviewError(f"{self.folder}: picture {place} is damaged; make the review again")
        return image.astype(np.uint8, copy=False)

    def close(self) -> None:
        for file in (self._maps, self._flows, self._pictures):
            file.close()


def is_review(path: Path) -> bool:
    """Whether a folder claims to be a review."""
    return (path / MANIFEST).is_file()


def _manifest(path: Path) -> Manifest:
    try:
        values = json.loads(path.read_bytes())
        found = values["format"]
    except OSError as error:
        raise ReviewError(
            f"no review in {path.parent}: {path.name}: {error.strerror}; it is made by "
            "qlumen report RECORDING --review FOLDER, and was cut short if other files are there"
        ) from None
    except (ValueError, TypeError, KeyError):
        raise ReviewError(f"{path} is not a review's; make the review again") from None
    if found != FORMAT:
        raise ReviewError(f"{path} has format {found}; this qlumen reads format {FORMAT}")
    try:
        return Manifest.model_validate(values)
    except ValidationError as error:
        raise ReviewError(f"{path}: {_first(error)}; make the review again") from None


def _frames(path: Path) -> tuple[StoredFrame, ...]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ReviewError(f"{path}: {error.strerror}; make the review again") from None
    try:
        frames = tuple(StoredFrame.model_validate_json(line) for line in lines)
    except ValidationError as error:
        raise ReviewError(f"{path}: {_first(error)}; make the review again") from None
    if not frames:
        raise ReviewError(f"{path} has no frame; make the review again")
    return frames


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    return f"{key}: {first['msg']}" if key else str(first["msg"])

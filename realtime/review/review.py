"""A finished review, read back."""

import json
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from qlumen.errors import ReviewError
from qlumen.realtime.analysis.packing import unpack_flow, unpack_map, unpack_mask
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.endoscope.field import whole_field
from qlumen.realtime.frames import Field, Observation
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.review.blobs import BlobFile
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
        self._field = whole_field((0, 0))
        self._field_key: tuple[object, ...] = ()

    @cached_property
    def settings(self) -> Settings:
        """That the review was made with."""
        try:
            return Settings.model_validate(self.manifest.settings)
        except ValidationError as error:
            raise ReviewError(
                f"{self.folder} was made by another version ({_first(error)}); make it again"
            ) from None

    @property
    def related(self) -> bool:
        """Whether the frames follow each other in time."""
        return self.manifest.source.sequence

    def probability(self, place: int) -> NDArray[np.float32] | None:
        """Read the map of the frame's field, `(h, w) float32`, 0 to 1; None: not judged."""
        stored = self.frames[place].map
        if stored is None:
            return None
        return unpack_map(self._maps.read(stored), self.manifest.map_size)

    def observation(self, place: int) -> Observation:
        """Read what the frame showed before the network judged it, without the thumbnail."""
        record = self.frames[place]
        key = (record.size, record.field_box, record.field_mask)
        if key != self._field_key:
            mask = None
            if record.field_mask is not None:
                mask = unpack_mask(self._maps.read(record.field_mask), record.size)
            self._field, self._field_key = Field(record.field_box, mask), key
        flow = None
        if record.flow is not None and record.flow_size is not None:
            flow = unpack_flow(self._flows.read(record.flow), record.flow_size)
        return Observation(
            record.size,
            record.time_s,
            self._field,
            record.condition,
            record.judged,
            flow,
            record.elapsed_s,
        )

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

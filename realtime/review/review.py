"""Reads a finished review."""

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
from qlumen.realtime.review.recording import read_location
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
    """Reads maps, motion and images of frames by their place from 0, in one thread at a time.

    Args:
        folder: folder of the review.
        location: location of the recording, where the review does not keep it.

    Raises:
        ReviewError: there is no review, it has another format, or it is damaged.
    """

    def __init__(self, folder: Path, location: str | None = None) -> None:
        self.folder = folder
        self.manifest = _read_manifest(folder / MANIFEST)
        self.location = location or read_location(self.manifest.source.location)
        self.frames = _read_frames(folder / FRAMES)
        self._maps = BlobFile(folder / MAPS)
        self._flows = BlobFile(folder / FLOWS)
        self._images = BlobFile(folder / PICTURES)
        self._field = whole_field((0, 0))
        self._field_key: tuple[object, ...] = ()

    @cached_property
    def settings(self) -> Settings:
        """Return the settings that the review was made with."""
        try:
            return Settings.model_validate(self.manifest.settings)
        except ValidationError as error:
            raise ReviewError(
                f"{self.folder} was made by another version ({_describe(error)}); make it again"
            ) from None

    @property
    def is_sequence(self) -> bool:
        """Check whether the frames follow each other in time."""
        return self.manifest.source.sequence

    def probability(self, place: int) -> NDArray[np.float32] | None:
        """Read the map of a frame's field, `(h, w) float32`, 0 to 1; None if not judged."""
        stored = self.frames[place].map
        if stored is None:
            return None
        return unpack_map(self._maps.read(stored), self.manifest.map_size)

    def observation(self, place: int) -> Observation:
        """Read what a frame showed before the network judged it, without the thumbnail."""
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

    def image(self, place: int) -> Image:
        """Read the image of a frame as stored for viewing: reduced, `(h, w, 3) uint8` BGR."""
        data = np.frombuffer(self._images.read(self.frames[place].picture), np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
        if image is None:
            raise ReviewError(f"{self.folder}: image {place} is damaged; make the review again")
        return image.astype(np.uint8, copy=False)

    def close(self) -> None:
        for file in (self._maps, self._flows, self._images):
            file.close()


def is_review(path: Path) -> bool:
    """Check whether a folder has the file that makes it a review."""
    return (path / MANIFEST).is_file()


def _read_manifest(path: Path) -> Manifest:
    try:
        values = json.loads(path.read_bytes())
        found = values["format"]
    except OSError as error:
        raise ReviewError(
            f"no complete review in {path.parent} ({path.name}: {error.strerror}); make one with "
            "qlumen report RECORDING --review FOLDER"
        ) from None
    except (ValueError, TypeError, KeyError):
        raise ReviewError(f"{path} is not a review file; make the review again") from None
    if found != FORMAT:
        raise ReviewError(f"{path} has format {found}, want {FORMAT}; make the review again")
    try:
        return Manifest.model_validate(values)
    except ValidationError as error:
        raise ReviewError(f"{path}: {_describe(error)}; make the review again") from None


def _read_frames(path: Path) -> tuple[StoredFrame, ...]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise ReviewError(f"{path}: {error.strerror}; make the review again") from None
    try:
        frames = tuple(StoredFrame.model_validate_json(line) for line in lines)
    except ValidationError as error:
        raise ReviewError(f"{path}: {_describe(error)}; make the review again") from None
    if not frames:
        raise ReviewError(f"{path} has no frame; make the review again")
    return frames


def _describe(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    return f"{key}: {first['msg']}" if key else str(first["msg"])

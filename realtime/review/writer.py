"""Stores a review frame by frame while the pipeline runs."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from qlumen.errors import SinkError
from qlumen.realtime.analysis.packing import pack_flow, pack_map, pack_mask
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.frames import Field, FrameResult
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.pixels.jpeg import jpeg_bytes
from qlumen.realtime.review.blobs import BlobWriter
from qlumen.realtime.review.drawing import JPEG_QUALITY
from qlumen.realtime.review.records import (
    FLOWS,
    FRAMES,
    MANIFEST,
    MAPS,
    PICTURES,
    Manifest,
    Place,
    StoredFrame,
)
from qlumen.realtime.sinks.base import Sink
from qlumen.realtime.sinks.images import square_size
from qlumen.system.files import write_bytes
from qlumen.system.locations import printable


class ReviewWriter(Sink):
    """Writes maps, motion, quality and images of each frame into a folder.

    Args:
        folder: new or empty folder.
        pixel_aspect: see `SourceInfo`; the images are stored with square pixels.

    Raises:
        SinkError: the folder cannot be created or written to, or is not empty.
    """

    def __init__(
        self, folder: Path, settings: Settings, pixel_aspect: Fraction = Fraction(1)
    ) -> None:
        self._folder, self._settings, self._pixel_aspect = folder, settings, pixel_aspect
        _claim(folder)
        self._maps = BlobWriter(folder / MAPS)
        self._flows = BlobWriter(folder / FLOWS)
        self._images = BlobWriter(folder / PICTURES)
        self._frames = BlobWriter(folder / FRAMES)
        self._field: Field | None = None
        self._field_mask: Place | None = None
        self._field_px = 0

    def write(self, result: FrameResult) -> None:
        frame, judgement = result.frame, result.judgement
        assert judgement is not None, "live frames have no judgement of their own"
        seen, probability = judgement.seen, judgement.probability
        if seen.field is not self._field:
            self._keep_field(seen.field)
        flow = seen.flow
        record = StoredFrame(
            index=frame.index,
            pts=frame.pts,
            time_base=f"{frame.time_base.numerator}/{frame.time_base.denominator}",
            width=frame.size[0],
            height=frame.size[1],
            name=printable(frame.name),
            condition=seen.condition,
            field_px=self._field_px,
            field_box=seen.field.box,
            field_mask=self._field_mask,
            judged=seen.judged,
            map=None if probability is None else self._maps.add(pack_map(probability)),
            flow=None if flow is None else self._flows.add(pack_flow(flow)),
            flow_size=None if flow is None else (flow.shape[1], flow.shape[0]),
            elapsed_s=seen.elapsed_s,
            picture=self._images.add(self._picture(frame.image)),
        )
        self._frames.add(record.model_dump_json().encode() + b"\n")

    def close(self) -> None:
        for file in (self._maps, self._flows, self._images, self._frames):
            file.close()

    def finish(self, manifest: Manifest) -> None:
        """Complete the review after `close`."""
        write_bytes(self._folder / MANIFEST, manifest.model_dump_json(indent=2).encode() + b"\n")

    def _picture(self, image: Image) -> bytes:
        height, width = image.shape[:2]
        square = square_size((width, height), self._pixel_aspect)
        return _reduce(image, display_size(square, self._settings.review.picture_px))

    def _keep_field(self, field: Field) -> None:
        """Store a field; most frames share the field of the frame before."""
        x0, y0, x1, y1 = field.box
        self._field, self._field_mask = field, None
        self._field_px = (x1 - x0) * (y1 - y0)
        if field.mask is not None:
            self._field_px = cv2.countNonZero(field.mask)
            self._field_mask = self._maps.add(pack_mask(field.mask))


def display_size(size: tuple[int, int], longest_px: int) -> tuple[int, int]:
    """Scale (width, height) down so that the longer side is at most `longest_px`."""
    scale = min(1.0, longest_px / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _claim(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
        found = next(folder.iterdir(), None)
    except OSError as error:
        raise SinkError(f"{folder} cannot hold a review: {error.strerror}") from None
    if found is not None:
        raise SinkError(f"{folder} holds {found.name}; name a new or empty folder for the review")


def _reduce(image: Image, size: tuple[int, int]) -> bytes:
    if size != image.shape[1::-1]:
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    return jpeg_bytes(image, JPEG_QUALITY)

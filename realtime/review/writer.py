"""Stores a recording frame by frame while the pipeline works through it."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.errors import SinkError
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.endoscope.field import Field, FieldFinder
from qlumen.realtime.endoscope.quality import QualityJudge
from qlumen.realtime.frames import Frame, FrameResult
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.pixels.jpeg import jpeg_bytes
from qlumen.realtime.review.blobs import BlobWriter
from qlumen.realtime.review.drawing import JPEG_QUALITY
from qlumen.realtime.review.maps import flow_size, pack_flow, pack_map
from qlumen.realtime.review.records import (
    FLOWS,
    FRAMES,
    MANIFEST,
    MAPS,
    PICTURES,
    FrameRecord,
    Manifest,
)
from qlumen.realtime.sinks.base import Sink
from qlumen.realtime.tracking.motion import CUT_GREY_LEVELS, Motion, Thumbnail, mismatch
from qlumen.system.files import write_bytes

FORGET_S = 0.5
"""Without a frame for so long, nothing is carried over."""


class ReviewWriter(Sink):
    """Writes maps, motion, quality and pictures of each frame into a new folder.

    Args:
        folder: must not exist, or be empty.
        sequence: the frames follow each other in time.

    Raises:
        SinkError: the folder cannot be made or written to, or holds something.
    """

    def __init__(self, folder: Path, settings: Settings, *, sequence: bool) -> None:
        self._folder, self._settings, self._sequence = folder, settings, sequence
        self._start()
        self._motion = Motion()
        self._last: tuple[float, Thumbnail] | None = None
        _claim(folder)
        self._maps = BlobWriter(folder / MAPS)
        self._flows = BlobWriter(folder / FLOWS)
        self._pictures = BlobWriter(folder / PICTURES)
        self._frames = BlobWriter(folder / FRAMES)

    def write(self, result: FrameResult) -> None:
        frame = result.frame
        if not self._sequence:
            self._start()
        field = self._field(frame)
        flow = self._flow(frame)
        record = FrameRecord(
            index=frame.index,
            pts=frame.pts,
            time_base=f"{frame.time_base.numerator}/{frame.time_base.denominator}",
            width=frame.size[0],
            height=frame.size[1],
            name=frame.name,
            condition=self._judge(frame.image, field),
            field_px=_field_px(field),
            map=self._maps.add(pack_map(result.segmentation.probability)),
            flow=None if flow is None else self._flows.add(pack_flow(flow)),
            flow_size=None if flow is None else flow_size((flow.shape[1], flow.shape[0])),
            picture=self._pictures.add(_reduced(frame.image, self._settings.review.picture_px)),
        )
        self._frames.add(record.model_dump_json().encode() + b"\n")

    def close(self) -> None:
        for file in (self._maps, self._flows, self._pictures, self._frames):
            file.close()

    def finish(self, manifest: Manifest) -> None:
        """Make the review whole, after `close`."""
        write_bytes(self._folder / MANIFEST, manifest.model_dump_json(indent=2).encode() + b"\n")

    def _start(self) -> None:
        """Know nothing of earlier frames. A still's condition need not hold."""
        quality = self._settings.quality.model_dump()
        if not self._sequence:
            quality["hold_frames"] = 1
        self._field = FieldFinder(**self._settings.field.model_dump())
        self._judge = QualityJudge(**quality)

    def _flow(self, frame: Frame) -> NDArray[np.float32] | None:
        if not self._sequence:
            return None
        thumbnail = self._motion.reduce(frame.image)
        last, self._last = self._last, (frame.time_s, thumbnail)
        if last is None or last[1].shape != thumbnail.shape:
            return None
        if not 0 <= frame.time_s - last[0] <= FORGET_S:
            return None
        flow = self._motion.flow(last[1], thumbnail)
        return flow if mismatch(last[1], thumbnail, flow) < CUT_GREY_LEVELS else None


def shown_size(size: tuple[int, int], longest_px: int) -> tuple[int, int]:
    """Of a frame of (width, height) in which the longer side is `longest_px` at most."""
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


def _field_px(field: Field) -> int:
    if field.mask is not None:
        return cv2.countNonZero(field.mask)
    x0, y0, x1, y1 = field.box
    return (x1 - x0) * (y1 - y0)


def _reduced(image: Image, longest_px: int) -> bytes:
    height, width = image.shape[:2]
    size = shown_size((width, height), longest_px)
    if size != (width, height):
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    return jpeg_bytes(image, JPEG_QUALITY)

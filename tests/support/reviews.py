"""Makes reviews without a network from known maps, and a decompression bomb."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qlumen.networks.bundle import Thresholds, file_sha256
from qlumen.realtime.analysis.observe import Observer
from qlumen.realtime.analysis.packing import round_map
from qlumen.realtime.config.settings import Settings, load_settings
from qlumen.realtime.frames import FrameResult, Judgement
from qlumen.realtime.latency import LatencySummary
from qlumen.realtime.review.recording import open_recording
from qlumen.realtime.review.records import FORMAT, Manifest, ModelRecord, SourceRecord
from qlumen.realtime.review.writer import ReviewWriter
from qlumen.realtime.tracking.findings import segment_findings

from support.media import make_images, write_video

SIDE = 44
SIZE = 320, 240
FRAMES, SEEN, BLIP, DARK = 20, range(3, 15), 17, range(15, 20)
"""`SEEN` has a disc, the frame `BLIP` has another disc, and frames of `DARK` are black."""
ALWAYS_CLEAR = [
    "quality.blurred_below=0",
    "quality.red_out_from=1.01",
    "quality.white_from=1.01",
    "quality.outside_below=0",
    "quality.grey_from=1.01",
]
UNSMOOTHED = ["temporal.smoothing=0"]
"""The findings of a frame can then be computed by hand."""  # fmt: skip
THRESHOLDS = Thresholds(low=0.5, high=0.9, min_area_fraction=0.0005)
CARD = """# made-up

## Scores

| split | dice |
|---|---|
| `val` | 0.9 |

Chosen on **val**.

## Network

Not for reports.

## Limits

Made up.
"""
MapOf = Callable[[int], NDArray[np.float32]]


def disc(x: float, y: float, radius: float, level: float = 0.98) -> NDArray[np.float32]:
    """Make a map of `SIDE` by `SIDE` with a disc, in map pixels, with a soft border."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    distance = np.hypot(columns - x, rows - y)
    return (level * np.clip(radius + 0.5 - distance, 0, 1)).astype(np.float32)


def usual_map(index: int) -> NDArray[np.float32]:
    """Make the map of a frame: a disc that moves slowly; its level rises until frame 9."""
    if index in SEEN:
        return disc(16 + 0.4 * index, 20, 7, 0.92 + 0.005 * min(index, 9))
    return disc(35, 35, 4) if index == BLIP else np.zeros((SIDE, SIDE), np.float32)


def make_recording(file: Path, frames: int = FRAMES) -> Path:
    images = make_images(frames, *SIZE)
    for index in DARK:
        if index < frames:
            images[index][:] = 0
    return write_video(file, images)


def png_of(width: int, height: int) -> bytes:
    """Make a PNG that claims this size but holds almost nothing: a decompression bomb."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    rows = zlib.compress(bytes(1 << 20))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def make_review(
    folder: Path, recording: Path, *, maps: MapOf = usual_map, overrides: list[str] | None = None
) -> Path:
    """Make a review of `recording` in `folder`, as if the network had returned `maps`."""
    settings = load_settings(None, [*ALWAYS_CLEAR, *UNSMOOTHED, *(overrides or [])])
    with open_recording(str(recording), settings) as source:
        writer = ReviewWriter(folder, settings)
        observer = Observer(settings, related=source.info.sequence)
        with writer:
            for frame in source.frames():
                seen = observer.observe(frame)
                probability = round_map(maps(frame.index)) if seen.judged else None
                nothing = segment_findings((), frame.size)
                judgement = Judgement(seen, probability, nothing, ())
                writer.write(FrameResult(frame, nothing, judgement=judgement))
        record = SourceRecord(
            name=recording.name,
            location=str(recording),
            bytes=recording.stat().st_size if recording.is_file() else None,
            sha256=file_sha256(recording) if recording.is_file() else None,
            fps=_ratio(source.info.fps),
            frames_expected=source.info.frame_count,
            sequence=source.info.sequence,
            notes=(),
        )
    writer.finish(_manifest(record, settings, frame.index + 1))
    return folder


def _ratio(rate: Fraction | None) -> str | None:
    return f"{rate.numerator}/{rate.denominator}" if rate else None


def _manifest(record: SourceRecord, settings: Settings, frames: int) -> Manifest:
    latency = asdict(LatencySummary(frames, 1.25, 2.0, 2.5, 3.75, 4.5, 5.0))
    return Manifest(
        format=FORMAT,
        created="2026-01-31T14:15:02+00:00",
        qlumen="0.1.0",
        source=record,
        model=ModelRecord(
            name="made-up", version="7", sha256="ab" * 32, created="2026-01-01T00:00:00+00:00",
            circuit="vqc-n4-l2", card=CARD,
        ),
        thresholds=THRESHOLDS,
        fit="stretch",
        map_size=(SIDE, SIDE),
        settings=settings.model_dump(mode="json"),
        config_sha256=settings.sha256(),
        summary={
            "frames": frames, "seconds": 2.0, "fps": frames / 2, "error": None,
            "stages_ms": {"decode": latency, "inference": latency}, "end_to_end_ms": latency,
            "drops": {}, "notes": ["1 audio stream dropped"], "engine": {"name": "openvino"},
        },
        cores=2,
    )  # fmt: skip

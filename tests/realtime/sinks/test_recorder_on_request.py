"""Recordings begin and end on request, and a failed one stops only itself."""

from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from qlumen.errors import SinkError
from qlumen.realtime.frames import Frame, FrameResult, Segmentation
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.sinks.base import Sink
from qlumen.realtime.sinks.recorder import LiveRecorder
from qlumen.realtime.sinks.recorder_on_request import RecorderOnRequest
from qlumen.realtime.sources.base import SourceInfo

from support.media import make_images, read_video

INFO = SourceInfo("test", 64, 48, Fraction(25), None)
NOTHING = Segmentation(np.zeros((48, 64), np.uint8), (), np.zeros((1, 1), np.float32))


class Journal:
    def __init__(self) -> None:
        self.kinds: list[str] = []

    def __call__(self, kind: str, **fields: Any) -> None:
        self.kinds.append(kind)


def results(count: int, start: int = 0) -> list[FrameResult]:
    base = Fraction(1, 1_000_000)
    return [
        FrameResult(Frame(i, i * 40_000, base, BgrImage(image), 0), NOTHING)
        for i, image in enumerate(make_images(count), start)
    ]


def test_each_recording_holds_the_frames_of_its_time(tmp_path: Path) -> None:
    """Two recordings hold 5 and 7 of 30 frames, and both play."""
    journal = Journal()
    with RecorderOnRequest(tmp_path, partial(LiveRecorder, info=INFO), journal) as recorder:
        for index, result in enumerate(results(30)):
            if index in (3, 8, 15, 22):
                recorder.toggle()
            recorder.write(result)
            assert (recorder.path is not None) == (3 <= index < 8 or 15 <= index < 22)
    lengths = sorted(len(read_video(file)[0]) for file in tmp_path.glob("*.mp4"))
    assert lengths == [5, 7]
    assert journal.kinds == ["recording_started", "recording_ended"] * 2


def test_the_end_closes_what_runs(tmp_path: Path) -> None:
    """The file is whole without a request to end."""
    with RecorderOnRequest(tmp_path, partial(LiveRecorder, info=INFO), Journal()) as recorder:
        recorder.toggle()
        for result in results(10):
            recorder.write(result)
    (file,) = tmp_path.glob("*.mp4")
    assert len(read_video(file)[0]) == 10


def test_a_recording_that_cannot_begin_is_noted_and_the_next_one_works(tmp_path: Path) -> None:
    """Nothing is raised when the folder is missing and comes back."""
    journal, folder = Journal(), tmp_path / "gone"
    with RecorderOnRequest(folder, partial(LiveRecorder, info=INFO), journal) as recorder:
        recorder.toggle()
        recorder.write(results(1)[0])
        assert journal.kinds == ["recording_failed"]
        assert recorder.path is None
        folder.mkdir()
        recorder.toggle()
        for result in results(5):
            recorder.write(result)
    assert len(list(folder.glob("*.mp4"))) == 1


def test_a_recording_that_breaks_ends_alone(tmp_path: Path) -> None:
    """After a full disk the recorder is noted once, closed once and not written to again."""
    journal = Journal()

    class Breaking(Sink):
        def __init__(self, path: Path) -> None:
            self.written, self.closed = 0, 0

        def write(self, result: FrameResult) -> None:
            self.written += 1
            if self.written == 3:
                raise SinkError("disk full")

        def close(self) -> None:
            self.closed += 1

    made: list[Breaking] = []

    def open_recorder(path: Path) -> Breaking:
        made.append(Breaking(path))
        return made[-1]

    with RecorderOnRequest(tmp_path, open_recorder, journal) as recorder:
        recorder.toggle()
        for result in results(10):
            recorder.write(result)
    assert journal.kinds == ["recording_started", "recording_failed"]
    assert [(breaking.written, breaking.closed) for breaking in made] == [(3, 1)]


def test_a_recording_that_cannot_be_closed_has_failed(tmp_path: Path) -> None:
    """A failed end is the only end in the events."""
    journal = Journal()

    class Unfinished(Sink):
        def write(self, result: FrameResult) -> None:
            pass

        def close(self) -> None:
            raise SinkError("disk full")

    with RecorderOnRequest(tmp_path, lambda path: Unfinished(), journal) as recorder:
        recorder.toggle()
        recorder.write(results(1)[0])
        recorder.toggle()
    assert journal.kinds == ["recording_started", "recording_failed"]

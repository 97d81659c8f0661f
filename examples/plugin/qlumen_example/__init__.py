"""Shows how a package adds a source, a receiver, an engine and an analysis step to qlumen.

Try it:

    pip install ./examples/plugin
    qlumen replay bars:50 --json summary.json
    qlumen live scene --send lines:/tmp/lesions.txt
    qlumen replay bars:50 --set engine.name=plugin:bright
    qlumen live scene --view --set analysis.steps=[width]
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from qlumen.errors import SinkError, SourceError
from qlumen.networks.bundle import Bundle
from qlumen.realtime.analysis.steps import AnalysisStep, change_findings
from qlumen.realtime.config.network import EngineSettings
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.engines.base import Engine, Probability, Ticket
from qlumen.realtime.frames import Finding, Frame, FrameResult, Judgement, Track
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.sinks.base import Sink
from qlumen.realtime.sinks.events import Note
from qlumen.realtime.sources.base import Source, SourceInfo

SIZE = 320, 240
RATE = Fraction(25)


class BarsSource(Source):
    """Shows bars that move, `bars:N` for N frames.

    A source is made with its location and the settings. It raises a SourceError before it
    returns, and delivers frames in order.
    """

    def __init__(self, location: str, settings: Settings) -> None:
        text = location.partition(":")[2]
        if not text.isdecimal():
            raise SourceError(f"{location}: write bars:N, with N the number of frames")
        width, height = SIZE
        self.info = SourceInfo(location, width, height, RATE, int(text))
        self.drops: Counter[str] = Counter()

    def frames(self) -> Iterator[Frame]:
        width, height = SIZE
        for index in range(self.info.frame_count or 0):
            columns = ((np.arange(width) + 4 * index) // 40 % 2 * 255).astype(np.uint8)
            image = np.repeat(np.tile(columns, (height, 1))[..., None], 3, axis=2)
            yield Frame(index, index, 1 / RATE, BgrImage(image), 0)


class BrightEngine(Engine):
    """Takes the green channel for the map, as a place for another library that runs networks.

    An engine is made with the bundle, whose folder and manifest it may read, and its settings.
    """

    def __init__(self, bundle: Bundle, settings: EngineSettings) -> None:
        spec = bundle.manifest.input
        self.input_size = self.output_size = spec.width, spec.height
        self.requests = settings.requests

    def submit(self, image: Image) -> Ticket:
        return GreenChannel(image)

    def close(self) -> None:
        """Release what the library holds; here nothing."""

    def _about(self) -> dict[str, Any]:
        return {"name": "bright", "device": "cpu"}


class GreenChannel(Ticket):
    """Computes the map when it is asked for."""

    def __init__(self, image: Image) -> None:
        self._image = image

    def result(self) -> Probability:
        return self._image[..., 1].astype(np.float32) / 255


class WidthStep(AnalysisStep):
    """Labels each lesion with its width, and drops those that the left or right edge cuts.

    A step is made with the settings, once for each video. It gets each frame's judgement:
    condition, findings, and tracks, whose numbers stay the same from frame to frame.
    """

    def __init__(self, settings: Settings) -> None:
        """Keep nothing; a step may hold what it knows of earlier frames."""

    def __call__(self, judgement: Judgement) -> Judgement:
        width, _ = judgement.seen.size

        def change(finding: Finding, track: Track | None) -> Finding | None:
            left, _, right, _ = finding.box
            if left == 0 or right == width:
                return None
            return replace(finding, label=f"{(right - left) / width:.0%} wide")

        return change_findings(judgement, change)


class LineWriter(Sink):
    """Writes a line for each frame with lesions, `lines:FILE`.

    A receiver is made with its URL, facts about the source, and a function that writes events. It
    has a thread and a queue of its own, so `write` may take its time: the video goes on, and
    frames that do not fit are dropped and counted. If `write` raises an error, the receiver is
    closed and made again after a pause.
    """

    def __init__(self, url: str, info: SourceInfo, note: Note) -> None:
        self._path = url.partition(":")[2]
        try:
            self._file = open(self._path, "a", buffering=1)  # noqa: PTH123, SIM115
        except OSError as error:
            raise SinkError(f"{self._path}: {error.strerror}; give another file") from error
        note("lines_opened", file=self._path)

    def write(self, result: FrameResult) -> None:
        tracks = result.live.tracks if result.live else ()
        numbers = [track.number for track in tracks if track.alarm]
        if numbers:
            self._file.write(f"{result.frame.index} {numbers}\n")

    def close(self) -> None:
        self._file.close()

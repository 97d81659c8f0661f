"""Analyses frames in one way for every command, so that a review finds what the room saw.

    start:   frame -> field -> quality -> motion -> preprocess -> network
    finish:  its map -> smoothing -> findings, on the frame -> tracks with alarm hold
             -> steps of other packages -> judgement

Live video may leave frames out, and moves findings to the frames between. Recordings look ahead,
unless `analysis.look_ahead` is off. Frames that are not related are judged one by one, each also
upside down, unless `analysis.second_look` is off.
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeVar

import numpy as np

from qlumen.realtime.analysis.interpret import Interpreter, find_on_frame
from qlumen.realtime.analysis.look_ahead import LookAhead
from qlumen.realtime.analysis.observe import Observer
from qlumen.realtime.analysis.packing import round_map
from qlumen.realtime.analysis.steps import open_steps, take_steps
from qlumen.realtime.config.network import TemporalSettings
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.engines.base import Probability, Ticket
from qlumen.realtime.frames import Finding, Frame, Judgement, Observation
from qlumen.realtime.latency import FrameClock, LatencyRecorder, NullRecorder
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.segmentation.postprocess import Postprocessor
from qlumen.realtime.segmentation.segmenter import Segmenter

T = TypeVar("T")

OTHERS = Postprocessor(low=0.5, high=0.5, min_area_fraction=0.001)
"""Finds areas of other classes, in each frame alone."""
WARM_UP_FRAMES = 3
WARM_UP_RATE = Fraction(1, 25)


@dataclass(slots=True, eq=False)
class Started:
    """Holds a frame that the network works on.

    Attributes:
        ticket: ticket of the network; None where the frame is not judged.
        clock: times of the frame's stages.
        others: areas of other classes, once the network is done.
    """

    seen: Observation
    ticket: Ticket | None
    clock: FrameClock
    others: tuple[Finding, ...] = ()

    def discard(self) -> None:
        """Wait for the network, and drop its map."""
        if self.ticket is not None:
            self.ticket.discard()


class FrameAnalysis:
    """Judges frames in their order. One thread may start them while another one finishes them.

    Args:
        segmenter: opened network, which the caller closes.
        related: whether the frames follow each other in time. If not, or with
            `analysis.temporal` off, each frame is judged alone, by the network within the field.
        numbers: track numbers, to continue after another analysis.

    Raises:
        UsageError: a step of `analysis.steps` cannot be had.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        settings: Settings,
        *,
        related: bool,
        latency: LatencyRecorder | None = None,
        numbers: Iterator[int] | None = None,
    ) -> None:
        self.segmenter, self._settings = segmenter, settings
        self._related = related and settings.analysis.temporal
        self._latency = NullRecorder() if latency is None else latency
        self._observer = Observer(settings, related=self._related)
        self._interpreter = self._make_interpreter(numbers)
        self._steps = open_steps(settings)

    def start(self, frame: Frame) -> Started:
        """Observe a frame and hand it to the network. Wait while too many are in flight."""
        clock = FrameClock(self._latency, frame.index)
        seen = self._observer.observe(frame, clock.lap)
        ticket = None
        if seen.judged:
            image = self.segmenter.preprocess(frame.pixels.crop(seen.field.box))
            clock.lap("preprocess")
            twice = self.segmenter.second_look and not self._related
            submit = self.segmenter.submit_twice if twice else self.segmenter.engine.submit
            ticket = submit(image)
            clock.wait("inference")
        return Started(seen, ticket, clock)

    def finish(self, started: Started) -> Judgement:
        """Wait for the network, and judge the frame by its map without looking ahead."""
        judged = self._interpreter.interpret(started.seen, self._wait(started), started.clock.lap)
        return self._complete(started, judged)

    def judge(self, frame: Frame) -> Judgement:
        """Start and finish a frame without looking ahead."""
        return self.finish(self.start(frame))

    def judge_all(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Judgement]]:
        """Judge frames in their order. The network works on some while others are read."""
        return self.finish_all(self._start_all(frames))

    def map_all(
        self, frames: Iterable[Frame]
    ) -> Iterator[tuple[Frame, Observation, Probability | None]]:
        """Observe frames in their order and run the network, without a judgement of the maps."""
        for frame, one in self._start_all(frames):
            yield frame, one.seen, self._wait(one)

    def finish_all(self, started: Iterable[tuple[T, Started]]) -> Iterator[tuple[T, Judgement]]:
        """Finish frames in their order, with `analysis.look_ahead` each a moment later."""
        waited = (((item, one), one.seen, self._wait(one), one.clock.lap) for item, one in started)
        if self._settings.analysis.look_ahead and self._temporal is not None:
            segmenter = self.segmenter
            ahead = LookAhead(segmenter.postprocess, segmenter.preprocess.fit, self._temporal)
            judged = ahead.interpret_all(waited)
        else:
            judged = self._interpreter.interpret_all(waited)
        return ((item, self._complete(one, made)) for (item, one), made in judged)

    def change(self, segmenter: Segmenter, settings: Settings) -> None:
        """Change thresholds and limits over time. Other settings need another analysis."""
        self.segmenter, self._settings = segmenter, settings
        self._interpreter.change(segmenter.postprocess, self._temporal)

    def warm_up(self, frame_size: tuple[int, int]) -> None:
        """Compile and allocate on black frames of (width, height) pixels with a made-up finding."""
        width, height = frame_size
        made_up = round_map(self.segmenter.warm_up(frame_size).probability)
        observer = Observer(self._settings, related=self._related)
        interpreter = self._make_interpreter(None)
        black = BgrImage(np.zeros((height, width, 3), np.uint8))
        for index in range(WARM_UP_FRAMES):
            seen = observer.observe(Frame(index, index, WARM_UP_RATE, black, 0))
            self.segmenter.preprocess(black.crop(seen.field.box))
            interpreter.interpret(seen, made_up)

    def _start_all(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, Started]]:
        flying: deque[tuple[Frame, Started]] = deque()
        for frame in frames:
            if len(flying) == self.segmenter.engine.requests:
                yield flying.popleft()
            flying.append((frame, self.start(frame)))
        yield from flying

    def _wait(self, started: Started) -> Probability | None:
        probability = None
        if started.ticket is not None:
            maps = started.ticket.result()
            if maps.ndim > 2:
                started.others = self._find_others(started.seen, maps[1:])
                maps = maps[0]
            probability = round_map(maps)
            started.clock.lap("inference")
        started.clock.since_ns = time.monotonic_ns()
        return probability

    def _find_others(self, seen: Observation, maps: Probability) -> tuple[Finding, ...]:
        segmenter = self.segmenter
        return tuple(
            replace(one, label=name)
            for name, probability in zip(segmenter.others, maps, strict=True)
            for one in find_on_frame(OTHERS, segmenter.preprocess.fit, seen, probability)
        )

    def _complete(self, started: Started, judged: Judgement) -> Judgement:
        judged = take_steps(self._steps, judged)
        if not started.others:
            return judged
        return replace(judged, segmentation=replace(judged.segmentation, others=started.others))

    @property
    def _temporal(self) -> TemporalSettings | None:
        return self._settings.temporal if self._related else None

    def _make_interpreter(self, numbers: Iterator[int] | None) -> Interpreter:
        segmenter = self.segmenter
        return Interpreter(segmenter.postprocess, segmenter.preprocess.fit, self._temporal, numbers)

"""Runs the model on live frames, and keeps its newest annotations."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from threading import Condition as Changed

from qlumen.networks.bundle import Bundle
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.frames import Frame, Judgement
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.system.closing import Closing

KEPT = 4
OpenSegmenter = Callable[[Bundle, Settings], Segmenter]
open_live_segmenter: OpenSegmenter = partial(Segmenter.open, live=True)


@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """Holds the judgement of one frame, with the index and the grab time of that frame."""

    frame_index: int
    grabbed_ns: int
    judgement: Judgement

    def fits(self, frame: Frame) -> bool:
        """Check whether the frame has the size that the annotation was made for."""
        return self.judgement.seen.size == frame.size


class LatestAnnotations:
    """Keeps the newest annotations. One thread publishes, and another one reads."""

    def __init__(self) -> None:
        self._newest: deque[Annotation] = deque(maxlen=KEPT)
        self._changed = Changed()

    def publish(self, annotation: Annotation) -> None:
        with self._changed:
            self._newest.append(annotation)
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget all annotations, because the next frame shows something else."""
        with self._changed:
            self._newest.clear()

    def at(self, frame_index: int, wait_s: float = 0.0) -> Annotation | None:
        """Return the newest annotation made on this frame or on one before it.

        Args:
            wait_s: longest wait for an annotation of this frame or a later one, in seconds.
        """
        with self._changed:
            if wait_s > 0:
                self._changed.wait_for(lambda: self._has_reached(frame_index), wait_s)
            return next((a for a in reversed(self._newest) if a.frame_index <= frame_index), None)

    def _has_reached(self, frame_index: int) -> bool:
        return bool(self._newest) and self._newest[-1].frame_index >= frame_index


class Annotator(Closing):
    """Judges one frame after the other. Frames may be left out.

    Args:
        current: getter of the settings, called at each frame, so that thresholds may change.
        numbers: track numbers, continued from an annotator that this one replaces.
        open_segmenter: opener of the network.
    """

    def __init__(
        self,
        bundle: Bundle,
        current: Callable[[], Settings],
        latency: LatencyRecorder,
        numbers: Iterator[int],
        open_segmenter: OpenSegmenter = open_live_segmenter,
    ) -> None:
        self._bundle, self._current = bundle, current
        self._settings = settings = current()
        self._segmenter = open_segmenter(bundle, settings)
        self._analysis = FrameAnalysis(
            self._segmenter, settings, related=True, latency=latency, numbers=numbers
        )

    @property
    def engine(self) -> dict[str, object]:
        return self._segmenter.engine.describe()

    def warm_up(self, frame_size: tuple[int, int]) -> None:
        """Compile and allocate for frames of (width, height) pixels before the first one."""
        self._analysis.warm_up(frame_size)

    def __call__(self, frame: Frame) -> Annotation:
        settings = self._current()
        if settings is not self._settings:
            segmenter = self._segmenter.with_thresholds(self._bundle, settings)
            self._analysis.change(segmenter, settings)
            self._settings = settings
        return Annotation(frame.index, frame.grabbed_ns, self._analysis.judge(frame))

    def close(self) -> None:
        self._segmenter.close()

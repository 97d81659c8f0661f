"""The model's path: what it says of a live frame, and where the newest of that is found."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Condition as Changed

from qlumen.networks.bundle import Bundle
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.frames import Frame, Judgement
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.system.closing import Closing

KEPT = 4


@dataclass(frozen=True, slots=True, eq=False)
class Annotation:
    """What the model says of one frame.

    Attributes:
        frame_index, grabbed_ns: of the frame it was made on.
    """

    frame_index: int
    grabbed_ns: int
    judgement: Judgement

    def fits(self, frame: Frame) -> bool:
        """Whether the frame is of the size the annotation was made for."""
        return self.judgement.seen.size == frame.size


class LatestAnnotations:
    """The newest annotations. One thread publishes, another one reads."""

    def __init__(self) -> None:
        self._newest: deque[Annotation] = deque(maxlen=KEPT)
        self._changed = Changed()

    def publish(self, annotation: Annotation) -> None:
        with self._changed:
            self._newest.append(annotation)
            self._changed.notify_all()

    def clear(self) -> None:
        """Forget all: what comes next is another picture."""
        with self._changed:
            self._newest.clear()

    def at(self, frame_index: int, wait_s: float = 0.0) -> Annotation | None:
        """The newest annotation made on this frame or one before it.

        Args:
            wait_s: how long to wait for one made on this frame or a later one.
        """
        with self._changed:
            if wait_s > 0:
                self._changed.wait_for(lambda: self._has_reached(frame_index), wait_s)
            return next((a for a in reversed(self._newest) if a.frame_index <= frame_index), None)

    def _has_reached(self, frame_index: int) -> bool:
        return bool(self._newest) and self._newest[-1].frame_index >= frame_index


class Annotator(Closing):
    """Judges one frame after the other; frames may be left out.

    The settings are asked for at each frame, so that thresholds may change.

    Args:
        current: the settings in force.
        numbers: of the tracks; goes on when an annotator takes the place of another one.
    """

    def __init__(
        self,
        bundle: Bundle,
        current: Callable[[], Settings],
        latency: LatencyRecorder,
        numbers: Iterator[int],
    ) -> None:
        self._bundle, self._current = bundle, current
        self._settings = settings = current()
        self._segmenter = Segmenter.open(bundle, settings, live=True)
        self._analysis = FrameAnalysis(
            self._segmenter, settings, related=True, latency=latency, numbers=numbers
        )

    @property
    def engine(self) -> dict[str, object]:
        return self._segmenter.engine.describe()

    def warm_up(self, frame_size: tuple[int, int]) -> None:
        """Run every stage on frames of (width, height) pixels, so that no frame pays for
        compiling and allocating."""
        self._analysis.warm_up(frame_size)

    def __call__(self, frame: Frame) -> Annotation:
        """Judge a frame."""
        settings = self._current()
        if settings is not self._settings:
            segmenter = self._segmenter.with_thresholds(self._bundle, settings)
            self._analysis.change(segmenter, settings)
            self._settings = settings
        return Annotation(frame.index, frame.grabbed_ns, self._analysis.judge(frame))

    def close(self) -> None:
        self._segmenter.close()

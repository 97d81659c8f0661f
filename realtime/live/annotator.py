"""The model's path: from a live frame to what may be shown of it."""

from collections.abc import Callable, Iterator

from qlumen.networks.bundle import Bundle
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.frames import Frame
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.live.latest import Annotation
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.system.closing import Closing


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

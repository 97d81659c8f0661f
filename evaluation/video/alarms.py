"""Scores alarms on video, for several thresholds at once.

The measure follows the free-response curve of REAL-Colon (Biffi et al. 2024): lesions that get an
alarm within three seconds of their appearance, against false alarms a minute.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from qlumen.evaluation.detection import MIN_IOU, iou
from qlumen.evaluation.video.videos import Sights, Video
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.analysis.interpret import Interpreter
from qlumen.realtime.frames import Frame, Judgement
from qlumen.realtime.pixels.arrays import Box

IN_TIME_S = 3.0
BRIDGED_S = 0.4
"""A shorter time out of view does not end a lesion's appearance."""
LEAST_S = 1.0
"""A lesion that is in view for a shorter time at once is not counted as missed."""


@dataclass(slots=True)
class LesionScores:
    """Holds what is known of one lesion in one video.

    Attributes:
        appeared_s: start of its first appearance that lasts; None before that.
        frames, boxed: frames in which it is in view, and those in which a shown finding hits it.
        alarms_s: times of its alarms.
    """

    appeared_s: float | None = None
    frames: int = 0
    boxed: int = 0
    alarms_s: list[float] = field(default_factory=list)
    _since_s: float = 0.0
    _seen_s: float = float("-inf")

    def see(self, time_s: float, hit: bool) -> None:
        """Count a frame in which the lesion is in view."""
        if time_s - self._seen_s > BRIDGED_S:
            self._since_s = time_s
        self._seen_s = time_s
        if self.appeared_s is None and time_s - self._since_s >= LEAST_S:
            self.appeared_s = self._since_s
        self.frames += 1
        self.boxed += hit

    @property
    def delay_s(self) -> float | None:
        """Return the time from the appearance to the first alarm; None without one.

        An alarm before the lasting appearance counts with a delay of 0: the lesion is found.
        """
        if self.appeared_s is None or not self.alarms_s:
            return None
        return max(0.0, self.alarms_s[0] - self.appeared_s)


@dataclass(slots=True)
class VideoScores:
    """Holds the alarms of one video at one operating point.

    Attributes:
        seconds, free_seconds: length, and length without any lesion in view.
        false_s: times of false alarms while no lesion is in view.
        beside_s: times of false alarms while a lesion is in view elsewhere.
    """

    name: str
    cluster: str
    seconds: float = 0.0
    free_seconds: float = 0.0
    false_s: list[float] = field(default_factory=list)
    beside_s: list[float] = field(default_factory=list)
    lesions: dict[int, LesionScores] = field(default_factory=dict)

    def add(self, frame: Frame, judgement: Judgement, in_view: Sights) -> None:
        """Count a frame and its alarms."""
        time_s, step_s = frame.time_s, float(frame.time_base)
        self.seconds += step_s
        self.free_seconds += 0.0 if in_view else step_s
        shown = [finding.box for finding in judgement.segmentation.findings]
        for number, box in in_view.items():
            lesion = self.lesions.setdefault(number, LesionScores())
            lesion.see(time_s, any(is_hit(one, box) for one in shown))
        for track in judgement.tracks:
            if track.new:
                self._raise_alarm(track.finding.box, time_s, in_view)

    def _raise_alarm(self, box: Box, time_s: float, in_view: Sights) -> None:
        hit = [number for number, lesion in in_view.items() if is_hit(box, lesion)]
        for number in hit:
            self.lesions[number].alarms_s.append(time_s)
        if not hit:
            (self.beside_s if in_view else self.false_s).append(time_s)


def is_hit(found: Box, lesion: Box) -> bool:
    """Check whether the boxes overlap by an IoU of 0.3, or the found one's centre is on the other.

    An alarm points at a place, so a part of a lesion is enough.
    """
    x, y = (found[0] + found[2]) / 2, (found[1] + found[3]) / 2
    centred = lesion[0] <= x < lesion[2] and lesion[1] <= y < lesion[3]
    return centred or iou(found, lesion) >= MIN_IOU


def score_video(
    video: Video,
    analysis: FrameAnalysis,
    make_interpreters: Callable[[], Sequence[Interpreter]],
    on_frame: Callable[[], None] = lambda: None,
) -> list[VideoScores]:
    """Play a video once through the network and interpret it at each operating point, as live.

    Args:
        analysis: analysis of related frames, not used before.
        make_interpreters: function that makes an interpreter for each operating point.
    """
    interpreters = make_interpreters()
    scores = [VideoScores(video.name, video.cluster) for _ in interpreters]

    def frames() -> Iterator[Frame]:
        for frame, in_view in video.play():
            waiting.append(in_view)
            yield frame

    waiting: list[Sights] = []
    for frame, seen, probability in analysis.map_all(frames()):
        in_view = waiting.pop(0)
        for interpreter, row in zip(interpreters, scores, strict=True):
            row.add(frame, interpreter.interpret(seen, probability), in_view)
        on_frame()
    return scores

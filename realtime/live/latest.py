"""What the model says of a frame, and where the video path finds the newest of it."""

from collections import deque
from dataclasses import dataclass
from threading import Condition as Changed

from qlumen.realtime.frames import Frame, Judgement

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
                self._changed.wait_for(lambda: self._reached(frame_index), wait_s)
            return next((a for a in reversed(self._newest) if a.frame_index <= frame_index), None)

    def _reached(self, frame_index: int) -> bool:
        return bool(self._newest) and self._newest[-1].frame_index >= frame_index

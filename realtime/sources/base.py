"""Defines the interfaces of sources: recordings with frames in order, and live sources."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from threading import Lock

from qlumen.realtime.frames import Frame
from qlumen.system.closing import Closing


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """Describes a source before its first frame is read.

    Attributes:
        name: path, URL or `scene`, for messages.
        width, height: pixels of an upright frame; None when frames differ or it is unknown.
        fps: mean frames per second; None when unknown.
        frame_count: frames to come; None when unknown (streams, some containers).
        sequence: False for unrelated stills, where no state passes from frame to frame.
        notes: lines on what was left out or changed, such as dropped audio.
        pixel_aspect: width of an upright frame's pixel over its height; players stretch frames so.
    """

    name: str
    width: int | None
    height: int | None
    fps: Fraction | None
    frame_count: int | None
    sequence: bool = True
    notes: tuple[str, ...] = ()
    pixel_aspect: Fraction = Fraction(1)


class Source(Closing, ABC):
    """Delivers frames in order, once.

    A source opens in its constructor, so bad input raises a `SourceError` before any output is
    touched. `drops` counts the frames that it had and could not deliver, by cause.
    """

    info: SourceInfo
    drops: Counter[str]

    @abstractmethod
    def frames(self) -> Iterator[Frame]:
        """Yield frames in presentation order.

        Raises:
            TruncatedError: more frames were announced; raised after the last readable frame.
            NoFramesError: not one frame could be read.
        """


MICROSECOND = Fraction(1, 1_000_000)
"""`Frame.time_base` of live frames."""


@dataclass(frozen=True, slots=True)
class SignalLost:
    """Reports that the source no longer delivers and is opened again.

    Attributes:
        reason: one line of text.
        attempt: 0 for the loss itself, then the number of the failed attempt to reopen.
        retry_in_s: seconds until the next attempt.
        at_ns: monotonic time of the loss or of the failed attempt.
    """

    reason: str
    attempt: int
    retry_in_s: float
    at_ns: int


class LiveSource(Closing, ABC):
    """Delivers frames when they arrive, once, to one thread.

    A source opens in its constructor, so a bad address raises a `QlumenError` before anything
    is started. `index` counts on through losses. `pts` is in `MICROSECOND` since the first
    frame and rises by `clock.MIN_STEP_US` or more. `grabbed_ns` is the time when the decoded
    frame was complete in memory, or due if it was made earlier. The size may change from frame to
    frame.

    Attributes:
        info: description at the first opening; `fps` is None when unknown. Notes are added.
        drops: frames that the source had and could not deliver, by cause.
        damaged: frames delivered although some of their data was missing or wrong.
        late: frames delivered late by more than a frame's time, if the source sets the pace
            (files, the scene, the pattern).
    """

    info: SourceInfo
    drops: Counter[str]
    damaged: int = 0
    late: int = 0

    @abstractmethod
    def arrivals(self) -> Iterator[Frame | SignalLost]:
        """Yield frames and losses in order; end when the source is over or stopped.

        Raises:
            TruncatedError: a file is cut short; raised after its last frame.
        """

    @abstractmethod
    def stop(self) -> None:
        """Make `arrivals` end soon; safe in any thread and in a signal handler."""


class Waker:
    """Ends the sleep of one thread; a call of `wake` before the sleep ends it at once.

    `threading.Event` is not safe in a signal handler: the handler may run while the same thread
    holds the event's lock. `SimpleQueue.get` may wait without an end when a signal comes as its
    time runs out (CPython 3.11). A bare lock has neither fault.
    """

    def __init__(self) -> None:
        self._asleep = Lock()
        self._asleep.acquire()

    def wake(self) -> None:
        with suppress(RuntimeError):  # it is awake already
            self._asleep.release()

    def sleep(self, seconds: float) -> bool:
        """Sleep for `seconds` or until `wake` is called, and return whether it was."""
        return self._asleep.acquire(timeout=max(0.0, seconds))


class StopFlag:
    """Ends a sleep, and all later ones, when it is set."""

    def __init__(self) -> None:
        self._set = False
        self._waker = Waker()

    def set(self) -> None:
        self._set = True
        self._waker.wake()

    def is_set(self) -> bool:
        return self._set

    def wait(self, seconds: float) -> bool:
        """Sleep for `seconds` or until the flag is set, and return whether it is set."""
        if not self._set and self._waker.sleep(seconds):
            self._waker.wake()
        return self._set

"""Receives cameras and streams, and connects again whenever they stop."""

import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import replace

import av

from qlumen.errors import QlumenError
from qlumen.realtime.config.source import ReconnectSettings, SourceSettings
from qlumen.realtime.frames import Frame
from qlumen.realtime.pixels import planes
from qlumen.realtime.sources.base import MICROSECOND, LiveSource, SignalLost, SourceInfo, Waker
from qlumen.realtime.sources.clock import SessionClock
from qlumen.realtime.sources.ffmpeg.addresses import address
from qlumen.realtime.sources.network.connection import ReadOptions, ReceivedFrame, Reception
from qlumen.system.backoff import Backoff

JITTER = 0.2
"""Share by which a pause varies, so that many clients do not reconnect at the same time."""
CLOSING_S = 0.5
"""Longest wait for a connection to close. A connection that FFmpeg still holds is left behind: it
ends with FFmpeg's own time-out and posts nothing more."""


class ReceivedSource(LiveSource):
    """Receives a camera or a stream, named as in `addresses.address`, until it is stopped.

    The signal counts as lost when the stream ends, breaks off, or brings no frame for
    `reconnect.stall_s`. It is then opened again without end: first after `reconnect.first_s`,
    then after twice as long each time, up to `reconnect.max_s`. Of the frames that come before
    `arrivals` is first read, only the newest is delivered.

    Args:
        opened: container of the location that is open already; it is closed with the source.

    Raises:
        UsageError, ConfigError: see `addresses.address`; no such hardware decoder.
        MissingExtraError: SRT needs a command that is missing.
        NotAVideoError: the source has no video.
        SourceError: no such address or device, no answer, no frame in `reconnect.open_s`.
    """

    def __init__(
        self,
        location: str,
        source: SourceSettings,
        reconnect: ReconnectSettings,
        opened: av.container.InputContainer | None = None,
    ) -> None:
        self.drops, self._opened = Counter(), opened
        self._address = address(location, source)
        self.info = SourceInfo(self._address.shown, None, None, None, None)
        self._options = ReadOptions(
            source.hardware, source.threads, source.stream, source.deinterlace,
            reconnect.open_s, reconnect.stall_s,
        )  # fmt: skip
        self._pauses = Backoff(reconnect.first_s, reconnect.max_s, JITTER)
        self._inbox: deque[tuple[Reception, ReceivedFrame | BaseException]] = deque()
        self._waker = Waker()
        self._stopped = False
        self._newest: ReceivedFrame | None = None
        self._asked = False
        self._clock = SessionClock()
        self._index = 0
        self._last_s: float | None = None
        planes.warm_up()  # before the camera sends, so that its first frames do not wait for it
        self._begin()
        try:
            first = self._next(self._options.open_s)
        except BaseException:
            self.close()
            raise
        if first is not None:
            width, height = first.pixels.size
            self.info = replace(self._reception.info, width=width, height=height)

    def arrivals(self) -> Iterator[Frame | SignalLost]:
        self._asked = True
        received, self._newest, attempt = self._newest, None, 0
        while not self._stopped:
            if received is not None:
                yield self._frame(received)
                attempt = 0
            try:
                received = self._next(self._options.stall_s) if received else self._reopen()
            except QlumenError as error:
                received = None
                pause_s = self._pauses.pause_s(attempt + 1)
                yield SignalLost(str(error), attempt, pause_s, time.monotonic_ns())
                attempt += 1
                self._sleep(pause_s)

    def stop(self) -> None:
        self._stopped = True
        self._waker.wake()

    def close(self) -> None:
        """Close the connection; call this in the thread that reads, or after it has ended."""
        self._reception.abandon(CLOSING_S)

    def _begin(self) -> None:
        self._counted: Counter[str] = Counter()
        opened, self._opened = self._opened, None
        self._reception = Reception(self._address, self._options, self._post, opened, self._last_s)

    def _post(self, reception: Reception, item: ReceivedFrame | BaseException) -> None:
        """Pass on an item. Before `arrivals` is first read, keep only the newest frame, so that no
        data waits in the network while other parts start."""
        if isinstance(item, ReceivedFrame) and not self._asked:
            is_first, self._newest = self._newest is None, item
            if not is_first:
                reception.acknowledge()
                return
        self._inbox.append((reception, item))
        self._waker.wake()

    def _reopen(self) -> ReceivedFrame | None:
        self._begin()
        self._clock.restart()
        return self._next(self._options.open_s)

    def _next(self, timeout_s: float) -> ReceivedFrame | None:
        """Return the next frame, None when stopped, or raise the reason why there is none."""
        reception = self._reception
        try:
            item = self._wait_for(reception, time.monotonic() + timeout_s)
            if isinstance(item, BaseException):
                raise item
        except QlumenError:
            reception.abandon(CLOSING_S)
            raise
        finally:
            self._collect_notes(reception)
        return item

    def _wait_for(self, reception: Reception, until: float) -> ReceivedFrame | BaseException | None:
        """Return the reception's next item; None when stopped."""
        while not self._stopped:
            if self._inbox:
                sender, item = self._inbox.popleft()
                if sender is reception:
                    reception.acknowledge()
                    return item
            elif not self._waker.sleep(until - time.monotonic()):
                raise reception.silence_error()
        return None

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._stopped and self._waker.sleep(until - time.monotonic()):
            pass  # an item of a connection that was given up

    def _frame(self, received: ReceivedFrame) -> Frame:
        self.damaged += received.damaged
        self._last_s = received.source_s
        pts = self._clock.stamp(received.source_s, received.arrived_ns)
        index = self._index
        self._index += 1
        return Frame(
            index, pts, MICROSECOND, received.pixels, received.arrived_ns, held_ns=received.held_ns
        )

    def _collect_notes(self, reception: Reception) -> None:
        drops = reception.drops.copy()  # its thread may add causes
        self.drops.update(drops - self._counted)
        self._counted = drops
        notes = dict.fromkeys((*self.info.notes, *reception.info.notes))
        if len(notes) > len(self.info.notes):
            self.info = replace(self.info, notes=tuple(notes))

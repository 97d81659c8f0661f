"""Cameras and streams: whatever arrives, and a new attempt whenever it stops."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from queue import Empty, SimpleQueue

from qlumen.errors import QlumenError
from qlumen.realtime.config.source import ReconnectSettings, SourceSettings
from qlumen.realtime.frames import Frame
from qlumen.realtime.sources.base import MICROSECOND, LiveSource, SignalLost, SourceInfo
from qlumen.realtime.sources.clock import SessionClock
from qlumen.realtime.sources.ffmpeg.addresses import address
from qlumen.realtime.sources.network.connection import Reader, Received, Reception
from qlumen.system.backoff import Backoff

JITTER = 0.2
"""Share by which a pause is longer or shorter, so that many clients do not come at once."""
CLOSING_S = 0.5
"""To wait for a connection to close. One that FFmpeg holds on to is left behind: it ends
with FFmpeg's own time-out, and hands on nothing more."""


class ReceivedSource(LiveSource):
    """A camera or a stream, as `addresses.address` takes it; never over until stopped.

    The signal counts as lost when the stream ends, breaks off, or brings no picture for
    `reconnect.stall_s`. It is then opened anew, for ever: first after `reconnect.first_s`,
    then after twice as long each time, up to `reconnect.max_s`. Of the pictures that come
    before `arrivals` is asked for its first frame, that frame is the newest.

    Raises:
        UsageError, ConfigError: see `addresses.address`; no such hardware decoder.
        MissingExtraError: SRT without what it needs.
        NotAVideoError: no video in it.
        SourceError: no such address or device, no answer, no picture in `reconnect.open_s`.
    """

    def __init__(self, location: str, source: SourceSettings, reconnect: ReconnectSettings) -> None:
        self.drops = Counter()
        self._address = address(location, source)
        self.info = SourceInfo(self._address.shown, None, None, None, None)
        self._reader = Reader(source.hardware, source.threads, reconnect.open_s, reconnect.stall_s)
        self._pauses = Backoff(reconnect.first_s, reconnect.max_s, JITTER)
        self._inbox: SimpleQueue[tuple[Reception, Received | BaseException] | None] = SimpleQueue()
        self._stopped = False
        self._newest: Received | None = None
        self._asked = False
        self._clock = SessionClock()
        self._index = 0
        self._begin()
        try:
            first = self._next(self._reader.open_s)
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
                received = self._next(self._reader.stall_s) if received else self._reopen()
            except QlumenError as error:
                received = None
                pause_s = self._pauses.pause_s(attempt + 1)
                yield SignalLost(str(error), attempt, pause_s, time.monotonic_ns())
                attempt += 1
                self._sleep(pause_s)

    def stop(self) -> None:
        self._stopped = True
        self._inbox.put(None)

    def close(self) -> None:
        """To be called by the thread that reads, or after it has ended."""
        self._reception.abandon(CLOSING_S)

    def _begin(self) -> None:
        self._errors_counted = 0
        self._reception = Reception(self._address, self._reader, self._post)

    def _post(self, reception: Reception, what: Received | BaseException) -> None:
        """Hand on what the reception has. Until frames are asked for, the newest is kept, so
        that nothing piles up in the network while other things are made ready."""
        if isinstance(what, Received) and not self._asked:
            is_first, self._newest = self._newest is None, what
            if not is_first:
                reception.acknowledge()
                return
        self._inbox.put((reception, what))

    def _reopen(self) -> Received | None:
        """The first picture of a new connection; None when stopped."""
        self._begin()
        self._clock.restart()
        return self._next(self._reader.open_s)

    def _next(self, timeout_s: float) -> Received | None:
        """The next picture; None when stopped. Raises why there is none."""
        reception = self._reception
        try:
            what = self._from(reception, time.monotonic() + timeout_s)
            if isinstance(what, BaseException):
                raise what
        except QlumenError:
            reception.abandon(CLOSING_S)
            raise
        finally:
            self._take_stock(reception)
        return what

    def _from(self, reception: Reception, until: float) -> Received | BaseException | None:
        """What the reception posts next; None when stopped."""
        while not self._stopped:
            try:
                message = self._inbox.get(timeout=max(0.0, until - time.monotonic()))
            except Empty:
                raise reception.silent() from None
            if message is not None and message[0] is reception:
                reception.acknowledge()
                return message[1]
        return None

    def _sleep(self, seconds: float) -> None:
        """Until then, or until stopped."""
        until = time.monotonic() + seconds
        with suppress(Empty):
            while not self._stopped:
                self._inbox.get(timeout=max(0.0, until - time.monotonic()))

    def _frame(self, received: Received) -> Frame:
        self.damaged += received.damaged
        pts = self._clock.stamp(received.source_s, received.arrived_ns)
        index = self._index
        self._index += 1
        return Frame(index, pts, MICROSECOND, received.pixels, received.arrived_ns)

    def _take_stock(self, reception: Reception) -> None:
        """Add what the reception has counted and noted since it was last asked."""
        errors = reception.decode_errors
        if errors > self._errors_counted:
            self.drops["decode_error"] += errors - self._errors_counted
            self._errors_counted = errors
        notes = dict.fromkeys((*self.info.notes, *reception.info.notes))
        if len(notes) > len(self.info.notes):
            self.info = replace(self.info, notes=tuple(notes))

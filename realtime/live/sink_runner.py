"""Runs one sink of a live session behind a queue and in a thread of its own.

A sink that goes to a network is tried again after a pause when it broke.
"""

from collections.abc import Callable

from qlumen.errors import QlumenError
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.live.event_log import Note
from qlumen.realtime.live.stage import ThreadedStage
from qlumen.realtime.live.threads import WRITER_NICENESS
from qlumen.realtime.sinks.base import Sink, Taken
from qlumen.system.backoff import Backoff

REOPEN = Backoff(first_s=1.0, most_s=30.0, jitter=0.2)


class SinkRunner(ThreadedStage[Taken]):
    """Opens the sink at once, and feeds it from `start` to `close`.

    Args:
        open_sink: makes the sink; raises a QlumenError if it cannot be written to.
        reopens: whether a broken sink is opened again after a pause.
    """

    def __init__(
        self,
        name: str,
        open_sink: Callable[[], Sink[Taken]],
        latency: LatencyRecorder,
        note: Note,
        *,
        frames: int,
        reopens: bool = False,
        niceness: int = WRITER_NICENESS,
    ) -> None:
        super().__init__(name, frames, latency, note, niceness)
        self.reopens = reopens
        self._open = open_sink
        self._sink: Sink[Taken] | None = open_sink()

    def _handle(self, result: Taken) -> None:
        assert self._sink is not None
        self._sink.write(result)

    def _detach(self, why: str, lost: int) -> None:
        super()._detach(why, lost)
        self._end()

    def _reattach(self) -> bool:
        """Try again until it works; False when there is nothing to try or no time left."""
        failures = 1
        while self.reopens and not self._closing.wait(REOPEN.pause_s(failures)):
            try:
                self._sink = self._open()
            except QlumenError:
                failures += 1
                continue
            self.attached = True
            self._note("sink_attached", sink=self.name)
            return True
        return False

    def _end(self) -> None:
        sink, self._sink = self._sink, None
        if sink is None:
            return
        try:
            sink.close()
        except Exception as error:  # noqa: BLE001 - a broken sink must not stop the others
            self.notes.append(str(error))
        self.notes.extend(sink.notes)

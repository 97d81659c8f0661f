"""Starts and ends recordings on request, while live video runs."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from qlumen.errors import QlumenError
from qlumen.realtime.frames import FrameResult
from qlumen.realtime.sinks.base import Sink
from qlumen.realtime.sinks.events import Note


class RecorderOnRequest(Sink):
    """Makes a new recorder for each recording, in the thread that writes.

    Files are named after the wall clock (UTC): `20260131T141502.250Z.mp4`. A recording that
    fails ends with a note; the next one may work.

    Args:
        folder: path of an existing folder.
        open_recorder: function that makes the sink for a file, or raises a QlumenError.
        note: function that writes an event from its kind and fields.
    """

    wants_overlay = True

    def __init__(self, folder: Path, open_recorder: Callable[[Path], Sink], note: Note) -> None:
        self._folder, self._open, self._note = folder, open_recorder, note
        self._wanted = threading.Event()
        self._recorder: Sink | None = None
        self._path: Path | None = None

    @property
    def path(self) -> Path | None:
        """Return the file that is being written; None while there is no recording."""
        return self._path

    def toggle(self) -> None:
        """Begin a recording with the next frame, or end it there; one thread at a time may call."""
        if self._wanted.is_set():
            self._wanted.clear()
        else:
            self._wanted.set()

    def write(self, result: FrameResult) -> None:
        if self._wanted.is_set() and self._recorder is None:
            self._begin()
        elif self._recorder is not None and not self._wanted.is_set():
            self._end(self._recorder)
        if self._recorder is not None:
            self._attempt(lambda recorder: recorder.write(result), self._recorder)

    def close(self) -> None:
        self._wanted.clear()
        if self._recorder is not None:
            self._end(self._recorder)

    def _begin(self) -> None:
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
        path = self._folder / f"{now}Z.mp4"
        try:
            self._recorder = self._open(path)
        except QlumenError as error:
            self._fail(error)
            return
        self._path = path
        self._note("recording_started", file=path.name)

    def _end(self, recorder: Sink) -> None:
        path, self._recorder, self._path = self._path, None, None
        try:
            recorder.close()
        except QlumenError as error:
            self._fail(error)
            return
        if path is not None:
            self._note("recording_ended", file=path.name)

    def _attempt(self, work: Callable[[Sink], None], recorder: Sink) -> None:
        try:
            work(recorder)
        except QlumenError as error:
            self._fail(error)

    def _fail(self, error: QlumenError) -> None:
        self._wanted.clear()
        recorder, self._recorder, self._path = self._recorder, None, None
        self._note("recording_failed", reason=str(error))
        if recorder is not None:
            self._attempt(lambda ended: ended.close(), recorder)

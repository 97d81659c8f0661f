"""Runs several sources in one process, each in a session of its own, on one shared engine."""

import gc
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

from rich.console import Console

from qlumen.errors import ConfigError, SourceError, describe
from qlumen.networks.bundle import read_bundle
from qlumen.realtime.config.rooms import Room
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.engines.choose import bundle_folder
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.live.annotator import Annotator
from qlumen.realtime.live.outputs import LiveOutputs
from qlumen.realtime.live.session import LiveSession
from qlumen.realtime.live.shared_engine import SharedEngine, User
from qlumen.realtime.live.stage import SinkRunner
from qlumen.realtime.live.summary import LiveSummary
from qlumen.realtime.live.turns import Share, Turns
from qlumen.realtime.sinks.events import Note
from qlumen.system.backoff import Backoff
from qlumen.system.closing import Closing
from qlumen.system.locations import without_secrets
from qlumen.system.machine import usable_cores
from qlumen.system.threads import start

AGAIN = Backoff(first_s=1.0, most_s=30.0, jitter=0.2)
"""Pauses before a source is tried again that could not be opened."""
LOOK_SECONDS = 0.1
JOIN_SECONDS = 30.0
CORES_OF_A_TURN = 4


class Panel(Protocol):
    """Shows the sessions of a room, for example on a page."""

    def open_runner(self, latency: LatencyRecorder, note: Note) -> SinkRunner: ...
    def show(self, session: LiveSession) -> None: ...
    def clear(self, message: str) -> None: ...


class RoomRunner:
    """Runs a room in a thread of its own until its source ends, or `stop`.

    A source that cannot be opened is tried again, with pauses that grow.

    Args:
        open_session: maker of the session.

    Attributes:
        session: running session; None without one.
        tried: whether the source was opened, or could not be.
        summary, error: summary of the session that is over, and why the room failed; or None.
    """

    def __init__(
        self,
        name: str,
        share: Share,
        open_session: Callable[[], LiveSession],
        console: Console,
        panel: Panel | None,
    ) -> None:
        self.name, self.share = name, share
        self._open, self._console, self._panel = open_session, console, panel
        self._stopping = threading.Event()
        self.tried = False
        self.session: LiveSession | None = None
        self.summary: LiveSummary | None = None
        self.error: str | None = None

    def start(self) -> None:
        self.thread = start(f"{self.name}/room", self._work, on_error=self._fail)

    def stop(self) -> None:
        """End the room soon."""
        self._stopping.set()
        if self.session is not None:
            self.session.stop()

    def _work(self) -> None:
        failures = 0
        while self.summary is None and not self._stopping.is_set():
            try:
                self._run()
            except SourceError as error:
                failures += 1
                pause_s = AGAIN.pause_s(failures)
                self._say(f"{without_secrets(str(error))}; again in {pause_s:.0f} s")
                self._stopping.wait(pause_s)

    def _run(self) -> None:
        with self._open() as session:
            self.session, self.tried = session, True
            if self._stopping.is_set():
                session.stop()
            if self._panel:
                self._panel.show(session)
            self.summary = session.run()
        gc.freeze()  # `run` undid it, and collecting all objects would stop the other videos
        self._say(self.summary.error or "the video is over")

    def _fail(self, error: BaseException) -> None:
        self.error = without_secrets(describe(error))
        self._say(self.error)

    def _say(self, message: str) -> None:
        self.session, self.tried = None, True
        if self._panel:
            self._panel.clear(message)
        self._console.print(message, highlight=False, markup=False, soft_wrap=True)


class Rooms(Closing):
    """Runs rooms. None of them delays another one's video; they share the engine by turns.

    Args:
        console: terminal; each line begins with the room's name.
        panels: receivers of each room's video; empty without a page.

    Raises:
        QlumenError: the network cannot be opened.
    """

    def __init__(
        self, rooms: Sequence[Room], console: Console, panels: Sequence[Panel] = ()
    ) -> None:
        settings = rooms[0].settings
        self._engine = SharedEngine(read_bundle(bundle_folder(settings)), settings)
        self._turns = Turns(max(1, usable_cores() // CORES_OF_A_TURN))
        self._stopping = False  # no Event: its lock is not safe in a signal handler
        shown: Sequence[Panel | None] = panels or [None] * len(rooms)
        self.runners = [
            self._make_runner(room, _RoomConsole(room.section.name, console), panel)
            for room, panel in zip(rooms, shown, strict=True)
        ]

    def run(self, seconds: float | None = None) -> None:
        """Run all rooms until each has ended, `stop` is called or the time is up.

        Args:
            seconds: longest time, once each room shows video or has failed.
        """
        limit_s, ends = float("inf") if seconds is None else seconds, float("inf")
        for runner in self.runners:
            runner.start()
        while not self._stopping and time.monotonic() < ends:
            if not any(runner.thread.is_alive() for runner in self.runners):
                break
            if all(runner.tried for runner in self.runners):
                ends = min(ends, time.monotonic() + limit_s)
            time.sleep(LOOK_SECONDS)
        for runner in self.runners:
            runner.stop()
        deadline = time.monotonic() + JOIN_SECONDS
        for runner in self.runners:  # one that hangs while its source is opened is left behind
            runner.thread.join(max(0.0, deadline - time.monotonic()))

    def stop(self) -> None:
        """End all rooms. A signal handler may call it."""
        self._stopping = True

    def reload(self, read: Callable[[], Sequence[Room]]) -> None:
        """Apply changed settings to each room soon. A signal handler may call it."""
        for runner in self.runners:
            if (session := runner.session) is not None:
                session.reload(partial(_settings_of, runner.name, read))

    def close(self) -> None:
        """Release the engine when no room uses it any more."""
        self._engine.close()

    def _make_runner(self, room: Room, console: Console, panel: Panel | None) -> RoomRunner:
        section, share = room.section, Share(room.section.weight)
        open_session = partial(
            LiveSession,
            section.source,
            LiveOutputs(**section.outputs()),
            room.settings,
            console,
            partial(Annotator, open_segmenter=partial(self._engine.segmenter, User())),
            [panel.open_runner] if panel else [],
            partial(self._turns.next_frame, share),
        )
        return RoomRunner(section.name, share, open_session, console, panel)


class _RoomConsole(Console):
    """Prints lines with the name of the room before them, and no moving parts."""

    def __init__(self, name: str, console: Console) -> None:
        super().__init__(file=console.file, quiet=console.quiet, force_terminal=False)
        self._name = name

    def print(self, *parts: Any, **options: Any) -> None:
        super().print(f"{self._name}:", *parts, **options)


def _settings_of(name: str, read: Callable[[], Sequence[Room]]) -> Settings:
    found = [room.settings for room in read() if room.section.name == name]
    if not found:
        raise ConfigError(f"the file no longer names {name}; rooms come and go by a restart")
    return found[0]

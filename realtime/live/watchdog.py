"""Keeps the model running without ever delaying the video.

A worker thread takes the newest frame, annotates it and publishes the annotation. A worker that
fails, hangs or is late too often is given up and replaced after a pause that doubles. After
several failures in a row the model stays off until a user asks for it.
"""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from enum import StrEnum
from functools import partial

from qlumen.errors import EngineError, QlumenError, describe
from qlumen.realtime.config.live import WatchdogSettings
from qlumen.realtime.frames import Frame
from qlumen.realtime.latency import NS_PER_MS, NS_PER_S
from qlumen.realtime.live.annotator import Annotation, Annotator
from qlumen.realtime.queues import DroppingQueue
from qlumen.realtime.sinks.events import Note
from qlumen.system.backoff import Backoff
from qlumen.system.threads import MODEL_NICENESS, lower_priority, start

LOOK_SECONDS = 0.05
OPENING_SECONDS = 120.0
"""Limit for a start. Compiling network and kernels takes tens of seconds on a slow machine."""


NextFrame = Callable[[DroppingQueue[Frame], float], AbstractContextManager[Frame | None]]
"""Takes the newest frame of the queue, or None after a time in seconds; see `Turns`."""


def take_newest(inbox: DroppingQueue[Frame], timeout_s: float) -> nullcontext[Frame | None]:
    """Take the newest frame without waiting for other sources, as a `NextFrame`."""
    return nullcontext(inbox.get(timeout_s))


class ModelState(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    OFF = "off"


class Watchdog:
    """Runs annotators, one at a time, until it is closed.

    Args:
        open_annotator: maker of an annotator, called in the thread that will use it.
        warm_up: function that makes an annotator ready for its first frame, called there as well.
        inbox: queue with the newest frame, shared by all workers.
        publish: receiver of each annotation, in the worker's thread.
        next_frame: taker of frames; the block that it opens ends when the frame is judged.
    """

    def __init__(
        self,
        open_annotator: Callable[[], Annotator],
        inbox: DroppingQueue[Frame],
        publish: Callable[[Annotation], None],
        note: Note,
        settings: WatchdogSettings,
        warm_up: Callable[[Annotator], object] = lambda annotator: None,
        next_frame: NextFrame = take_newest,
    ) -> None:
        self._open, self._warm_up = open_annotator, warm_up
        self._next_frame = partial(next_frame, inbox, LOOK_SECONDS)
        self._publish = publish
        self._note, self._settings = note, settings
        self._stopping = threading.Event()
        self._asked = threading.Event()
        self._state = ModelState.STARTING
        self._failed_in_a_row = 0
        self.restarts = 0
        self.engine: dict[str, object] = {}
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        return self._state is ModelState.RUNNING

    @property
    def state(self) -> ModelState:
        return self._state

    @property
    def missed_deadlines(self) -> int:
        """Return how many frames took longer than `deadline_ms` since `start`."""
        return self._worker.missed

    def start(self, *, warm: bool = True) -> None:
        """Open the first annotator and wait until it is open.

        Args:
            warm: whether to wait until it is also warm, and runs.

        Raises:
            QlumenError: it cannot be opened, for example with wrong settings or a bad bundle.
            EngineError: it is not there within `OPENING_SECONDS`.
        """
        self._worker = worker = self._new_worker(missed=0)
        there = (worker.warm if warm else worker.opened).wait(OPENING_SECONDS)
        if worker.error or not there:
            raise worker.error or EngineError(
                f"the engine did not start within {OPENING_SECONDS:.0f} s"
            )
        self.engine = worker.engine
        if warm:
            self._mark_running()
        self._thread = start("watchdog", self._keep_alive, daemon=False)

    def restart(self) -> None:
        """Restart the model immediately, also when it is off, but not while it starts."""
        if self._state is not ModelState.STARTING:
            self._asked.set()

    def close(self) -> None:
        """End the workers. One that hangs is left behind."""
        self._stopping.set()
        self._asked.set()
        if self._thread is not None:
            self._thread.join()
        self._worker.give_up()
        self._wait_for(self._worker)

    def _keep_alive(self) -> None:
        while not self._stopping.is_set():
            reason = self._watch(self._worker)
            if self._stopping.is_set():
                return
            self._worker.give_up()
            self._wait_for(self._worker)
            if reason is not None:
                self._failed_in_a_row += 1
                self._pause(reason)
            if self._stopping.is_set():
                return
            self._asked.clear()
            self.restarts += 1
            self._state = ModelState.STARTING
            self._worker = self._new_worker(self._worker.missed)

    def _wait_for(self, worker: "_Worker") -> None:
        """Wait for a worker to end, but no longer than a frame may take it."""
        worker.ended.wait(self._settings.hang_s)

    def _watch(self, worker: "_Worker") -> str | None:
        """Return why the worker must be replaced; None if a user asked for it."""
        while not self._asked.is_set():
            if worker.ready and self._state is ModelState.STARTING:
                self._mark_running()
                if self.restarts:
                    self._note("ai_running", restarts=self.restarts)
            if worker.age_s() > self._settings.healthy_s:
                self._failed_in_a_row = 0
            if reason := worker.complaint(self._settings):
                return reason
            worker.ended.wait(LOOK_SECONDS)
        return None

    def _pause(self, reason: str) -> None:
        """Wait before the next attempt, longer each time, or until a user asks for it."""
        settings = self._settings
        if self._failed_in_a_row >= settings.failures:
            self._state = ModelState.OFF
            self._note("ai_off", reason=reason, failures=self._failed_in_a_row)
            self._asked.wait()
            self._failed_in_a_row = 0
            return
        self._state = ModelState.PAUSED
        backoff = Backoff(settings.first_s, settings.max_s)
        pause_s = backoff.pause_s(self._failed_in_a_row)
        self._note("ai_failed", reason=reason, restart_in_s=pause_s)
        self._asked.wait(pause_s)

    def _mark_running(self) -> None:
        self.engine = self._worker.engine
        self._state = ModelState.RUNNING

    def _new_worker(self, missed: int) -> "_Worker":
        deadline_ms = self._settings.deadline_ms
        return _Worker(
            self._open, self._warm_up, self._next_frame, self._publish, deadline_ms, missed
        )


class _Worker:
    """Runs an annotator in a thread. After `give_up` it ends as soon as it can.

    Attributes:
        missed: missed deadlines, including those of the workers before it.
        opened, warm: whether the annotator is open, and ready for frames; or it failed before.
    """

    def __init__(
        self,
        open_annotator: Callable[[], Annotator],
        warm_up: Callable[[Annotator], object],
        next_frame: Callable[[], AbstractContextManager[Frame | None]],
        publish: Callable[[Annotation], None],
        deadline_ms: float,
        missed: int,
    ) -> None:
        self._open, self._warm_up = open_annotator, warm_up
        self._next_frame, self._publish = next_frame, publish
        self._deadline_ns = deadline_ms * NS_PER_MS
        self._given_up = False
        self._started_ns = time.monotonic_ns()
        self._busy_since_ns = 0
        self._missed_in_a_row = 0
        self.missed = missed
        self.ready = False
        self.error: QlumenError | None = None
        self.engine: dict[str, object] = {}
        self.opened, self.warm, self.ended = (threading.Event() for _ in range(3))
        niceness = partial(lower_priority, MODEL_NICENESS)
        start("model", self._work, prepare=niceness, on_error=self._fail)

    def give_up(self) -> None:
        self._given_up = True

    def age_s(self) -> float:
        return (time.monotonic_ns() - self._started_ns) / NS_PER_S

    def complaint(self, settings: WatchdogSettings) -> str | None:
        """Return what is wrong with the worker; None if nothing is."""
        if self.ended.is_set():
            return str(self.error or "the thread ended")
        if self.hangs(settings.hang_s):
            limit_s = settings.hang_s if self.ready else OPENING_SECONDS
            return f"hangs: no answer within {limit_s:g} s"
        if settings.late_frames and self._missed_in_a_row >= settings.late_frames:
            return f"late: {self._missed_in_a_row} frames took over {settings.deadline_ms:g} ms"
        return None

    def hangs(self, limit_s: float) -> bool:
        """Check whether a frame or the opening takes too long."""
        if not self.ready:
            return self.age_s() > OPENING_SECONDS
        since_ns = self._busy_since_ns
        return since_ns > 0 and time.monotonic_ns() - since_ns > limit_s * NS_PER_S

    def _work(self) -> None:
        with self._open() as annotator:
            self.engine = annotator.engine
            self.opened.set()
            self._warm_up(annotator)
            self.ready = True
            self.warm.set()
            self._annotate(annotator)
        self.ended.set()

    def _fail(self, error: BaseException) -> None:
        """Keep the error and end, because the video must go on."""
        self.error = error if isinstance(error, QlumenError) else EngineError(describe(error))
        for event in (self.opened, self.warm, self.ended):
            event.set()

    def _annotate(self, annotator: Annotator) -> None:
        while not self._given_up:
            with self._next_frame() as frame:
                if frame is not None:
                    self._judge(annotator, frame)

    def _judge(self, annotator: Annotator, frame: Frame) -> None:
        self._busy_since_ns = started_ns = time.monotonic_ns()
        annotation = annotator(frame)
        self._busy_since_ns = 0
        late = time.monotonic_ns() - started_ns > self._deadline_ns
        self._missed_in_a_row = self._missed_in_a_row + 1 if late else 0
        self.missed += late
        if not self._given_up:
            self._publish(annotation)

"""Processes, shows and exports one recording that a browser opened."""

import shutil
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from qlumen.errors import QlumenError
from qlumen.networks.bundle import Thresholds
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.overlay.findings import Overlay
from qlumen.realtime.report import export_job
from qlumen.realtime.report.outputs import ReportOutputs
from qlumen.realtime.review import review_job as task
from qlumen.realtime.review.drawing import draw_jpeg
from qlumen.realtime.review.findings import Findings, find
from qlumen.realtime.review.intake.limits import Limits
from qlumen.realtime.review.review import Review
from qlumen.realtime.review.worker_process import WorkerProcess
from qlumen.realtime.view.reviews.exports import FILES, Exports
from qlumen.realtime.view.reviews.findings_json import findings_json
from qlumen.system.closing import Closing
from qlumen.system.threads import WRITER_NICENESS, lower_priority, start_pool

T = TypeVar("T")
WAIT_S = 0.2


@dataclass(frozen=True, slots=True)
class Slots:
    """Limits how many recordings the network processes, and how many exports are made."""

    networks: threading.Semaphore
    exports: threading.Semaphore


class Recording(Closing):
    """Processes a recording in its own threads and processes until `close` removes its folder.

    The methods may be called from several threads.

    Args:
        file, name: path of the recording, and its name to show.
        folder: folder for all results; an upload is also in it.
        slots: limits that all recordings share.

    Attributes:
        exports: what the tab Recordings exports.
        outlines: what the tab Annotate propagates and exports.
    """

    def __init__(
        self, file: Path, name: str, folder: Path, settings: Settings, slots: Slots
    ) -> None:
        self._file, self._folder, self._settings = file, folder, settings
        self._slots = slots.networks
        self.name = name
        self._limits = Limits.from_settings(settings)
        self._overlay = Overlay(**settings.overlay.model_dump())
        self._worker: WorkerProcess | None = None
        self._review: Review | None = None
        self._findings: Findings | None = None
        self._state, self._message, self._found, self._version = "waiting", "", 0, 0
        self._closed, self._stop_finding = threading.Event(), threading.Event()
        self._lock, self._reading = threading.Lock(), threading.Lock()
        self._work = start_pool("review", 1, partial(lower_priority, WRITER_NICENESS))
        self.exports, self.outlines = (
            Exports(folder / part, name, self._limits, slots.exports)
            for part in ("exports", "outlines")
        )
        self._work.submit(self._guard, self._make)

    def state(self) -> dict[str, Any]:
        """Return the progress, as JSON."""
        worker = self._worker
        progress = worker.progress if worker and self._state == "reading" else None
        done, expected = self._found, None if self._review is None else len(self._review.frames)
        return {
            "name": self.name,
            "state": self._state,
            "message": self._message,
            "done": progress.done if progress else done,
            "expected": progress.expected if progress else expected,
            "seconds_left": progress.seconds_left if progress else None,
            "version": self._version,
            "exports": self.exports.state(),
        }

    def findings(self) -> dict[str, Any] | None:
        """Return the findings, as JSON; None before they are ready."""
        review, findings = self._review, self._findings
        return findings_json(review, findings, self._version) if review and findings else None

    def find(self, high: float) -> None:
        """Find again in the stored maps, with another high threshold and a low one not above it.

        This does not run the network. It stops an earlier search.
        """
        review = self._review
        if review is None:
            return
        own = review.manifest.thresholds
        wanted = own.model_copy(update={"high": high, "low": min(own.low, high)})
        with self._lock:
            self._stop_finding.set()
            stop = self._stop_finding = threading.Event()
            self._state = "finding"
        self._work.submit(self._guard, lambda: self._find(review, wanted, stop))

    def frame_jpeg(self, place: int, overlay: bool) -> bytes | None:
        """Return a frame as JPEG; None if there is no such frame."""
        review, findings = self._review, self._findings
        if review is None or findings is None or not 0 <= place < len(findings.frames):
            return None
        shown = findings.frames[place] if overlay else ()
        return self._draw(review, place, shown)

    def track_jpeg(self, number: int) -> bytes | None:
        """Return a lesion's best frame as JPEG; None if there is no such lesion."""
        review, findings = self._review, self._findings
        if review is None or findings is None:
            return None
        best = next((one.best for one in findings.tracks if one.number == number), None)
        return self._draw(review, best.place, [best.finding]) if best else None

    def export(self, kind: str, patient: str | None, operator: str | None) -> None:
        """Begin to write an export; `exports.state` reports on it."""
        review, findings = self._review, self._findings
        if review is not None and findings is not None:
            thresholds = findings.thresholds

            def arguments(path: Path) -> dict[str, Any]:
                outputs = ReportOutputs(**{kind: path})
                return export_job.arguments(review.folder, thresholds, outputs, patient, operator)

            self.exports.begin(kind, FILES[kind], arguments, "exports")

    def read(self, work: Callable[[Review], T]) -> T | None:
        """Do `work` with the review, one thread at a time; None before the network has ended."""
        with self._reading:
            if self._review is None or self._closed.is_set():
                return None
            return work(self._review)

    def close(self) -> None:
        self._closed.set()
        self._stop_finding.set()
        if self._worker is not None:
            self._worker.cancel()
        self.exports.close()
        self.outlines.close()
        self._work.shutdown(cancel_futures=True)
        with self._reading:
            if self._review is not None:
                self._review.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _make(self) -> None:
        while not self._slots.acquire(timeout=WAIT_S):
            if self._closed.is_set():
                return
        try:
            self._run_network()
        finally:
            self._slots.release()

    def _run_network(self) -> None:
        if self._closed.is_set():
            return
        folder = self._folder / "review"
        arguments = task.arguments(self._file, folder, self._settings, self.name)
        self._state = "reading"
        self._worker = WorkerProcess("review", arguments, self._limits)
        if self._closed.is_set():
            self._worker.cancel()
        result = self._worker.result()
        self._message = self._public(result["error"] or "")
        review = self._review = Review(folder)
        self._find(review, review.manifest.thresholds, self._stop_finding)

    def _find(self, review: Review, wanted: Thresholds, stop: threading.Event) -> None:
        self._state = "finding"

        def on_frame(done: int) -> None:
            self._found = done

        with self._reading:
            findings = find(review, wanted, on_frame, stop)
        if stop.is_set():
            return
        self.exports.forget()
        self._version += 1
        self._findings, self._state = findings, "ready"

    def _draw(self, review: Review, place: int, findings: Any) -> bytes | None:
        with self._reading:
            if self._closed.is_set():
                return None
            return draw_jpeg(review, place, findings, self._overlay)

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except (QlumenError, OSError) as error:
            self._fail(self._public(str(error)))
        except BaseException:  # noqa: BLE001 - a pool hides it; the terminal shows it
            traceback.print_exc(file=sys.stderr)
            self._fail("the server failed; see its terminal")

    def _fail(self, message: str) -> None:
        self._state, self._message = "failed", message

    def _public(self, message: str) -> str:
        """Remove the server's paths from a message."""
        return message.replace(str(self._file), self.name).replace(f"{self._folder}/", "")

"""The files that are made of a reviewed recording on request, each in a process of its own."""

import shutil
import sys
import threading
import traceback
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from qlumen.errors import QlumenError
from qlumen.networks.bundle import Thresholds
from qlumen.realtime.report import export_job as task
from qlumen.realtime.report.outputs import ReportOutputs
from qlumen.realtime.review.intake.limits import Limits
from qlumen.realtime.review.worker_process import Running
from qlumen.system.closing import Closing
from qlumen.system.threads import start

FILES = {
    "html": "report.html",
    "pdf": "report.pdf",
    "csv": "findings.csv",
    "coco": "findings.coco.json",
    "events": "events.jsonl",
    "video": "overlay.mp4",
    "masks": "masks",
    "snapshots": "snapshots",
    "dicom": "dicom",
}
"""By kind; the last three are folders, which are handed out as ZIP."""
WAIT_S = 0.2
ZIPPED = frozenset({"masks", "snapshots", "dicom"})


@dataclass(slots=True)
class _Export:
    """`state`: working, ready or failed."""

    state: str
    message: str = ""
    file: Path | None = None
    running: Running | None = None
    thread: threading.Thread | None = None


class Exports(Closing):
    """Threads may share it.

    Args:
        folder: for the files; is made.
        name: of the recording; the files' names begin with it.
        turn: held while one is made, so that only so many are made at once.
    """

    def __init__(self, folder: Path, name: str, limits: Limits, turn: threading.Semaphore) -> None:
        self._folder, self._name, self._limits, self._turn = folder, name, limits, turn
        folder.mkdir()
        self._lock = threading.Lock()
        self._begun = 0
        self._made: dict[str, _Export] = {}

    def begin(
        self,
        kind: str,
        review: Path,
        thresholds: Thresholds,
        patient: str | None,
        operator: str | None,
    ) -> None:
        """Make it anew, unless it is being made."""
        with self._lock:
            now = self._made.get(kind)
            if now and now.state == "working":
                return
            self._begun += 1
            folder = self._folder / str(self._begun)
            export = self._made[kind] = _Export("working")
        path = folder / FILES[kind]
        arguments = task.arguments(
            review, thresholds, ReportOutputs(**{kind: path}), patient, operator
        )
        work = partial(self._guard, kind, export, path, arguments)
        export.thread = start("export", work, daemon=False)

    def state(self) -> dict[str, Any]:
        """By kind, as JSON."""
        with self._lock:
            return {kind: _describe(export) for kind, export in self._made.items()}

    def file(self, kind: str) -> tuple[Path, str] | None:
        """Where a finished one lies, and what it should be called; None before."""
        with self._lock:
            export = self._made.get(kind)
        if export is None or export.file is None:
            return None
        return export.file, f"{Path(self._name).stem}_{export.file.name}"

    def forget(self) -> None:
        """The findings are others now: what is being made is given up, the files are removed."""
        with self._lock:
            gone, self._made = self._made, {}
        for export in gone.values():
            _end(export)

    def close(self) -> None:
        self.forget()

    def _guard(self, kind: str, export: _Export, path: Path, arguments: dict[str, Any]) -> None:
        try:
            while not self._turn.acquire(timeout=WAIT_S):
                if self._made.get(kind) is not export:
                    return
            try:
                self._make(kind, export, path, arguments)
            finally:
                self._turn.release()
        except (QlumenError, OSError) as error:
            message = str(error).replace(str(self._folder), "").replace(str(path.parent), "")
            export.message, export.state = message, "failed"
        except BaseException:  # noqa: BLE001 - nobody joins this thread; told in the terminal
            traceback.print_exc(file=sys.stderr)
            export.message, export.state = "something went wrong on the server", "failed"

    def _make(self, kind: str, export: _Export, path: Path, arguments: dict[str, Any]) -> None:
        if self._made.get(kind) is not export:
            return
        path.parent.mkdir()
        export.running = Running("exports", arguments, self._limits)
        if self._made.get(kind) is not export:
            export.running.cancel()
        export.running.result()
        if kind in ZIPPED:
            path = Path(shutil.make_archive(str(path), "zip", path))
        export.file, export.state = path, "ready"


def _describe(export: _Export) -> dict[str, Any]:
    progress = export.running.progress if export.running else None
    return {
        "state": export.state,
        "message": export.message,
        "done": progress.done if progress else 0,
        "expected": progress.expected if progress else None,
    }


def _end(export: _Export) -> None:
    """Stop its process, wait for its thread, remove its files."""
    if export.running is not None:
        export.running.cancel()
    if export.thread is not None:
        export.thread.join()
    if export.file is not None:
        shutil.rmtree(export.file.parent, ignore_errors=True)

"""Makes the files of a recording on request, each in a process of its own."""

import shutil
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from qlumen.errors import QlumenError
from qlumen.realtime.review.intake.limits import Limits
from qlumen.realtime.review.worker_process import WorkerProcess
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
"""Names by kind; the last three are folders."""
WAIT_S = 0.2


@dataclass(slots=True)
class _Export:
    """Holds an export; `state` is working, ready or failed."""

    state: str
    message: str = ""
    file: Path | None = None
    worker: WorkerProcess | None = None
    thread: threading.Thread | None = None


class Exports(Closing):
    """Makes and keeps files of a recording; a folder becomes a ZIP file. Threads may share it.

    Args:
        folder: new folder for the files.
        name: name of the recording, at the beginning of the files' names.
        slots: semaphore that limits how many exports are made at a time.
    """

    def __init__(self, folder: Path, name: str, limits: Limits, slots: threading.Semaphore) -> None:
        self._folder, self._name, self._limits, self._slots = folder, name, limits, slots
        folder.mkdir()
        self._lock = threading.Lock()
        self._begun = 0
        self._made: dict[str, _Export] = {}

    def begin(
        self, kind: str, name: str, arguments: Callable[[Path], dict[str, Any]], task: str
    ) -> None:
        """Start to make a file again, unless it is being made.

        Args:
            kind: one file of each kind is kept.
            arguments: makes the arguments of the task from the path of the file, which ends in
                `name`.
            task: see `worker.Job`.
        """
        with self._lock:
            now = self._made.get(kind)
            if now and now.state == "working":
                return
            self._begun += 1
            path = self._folder / str(self._begun) / name
            export = self._made[kind] = _Export("working")
        work = partial(self._guard, kind, export, path, task, arguments(path))
        export.thread = start("export", work, daemon=False)

    def state(self) -> dict[str, Any]:
        """Return the exports by kind, as JSON."""
        with self._lock:
            return {kind: _describe(export) for kind, export in self._made.items()}

    def file(self, kind: str) -> tuple[Path, str] | None:
        """Return path and download name of a finished export; None before."""
        with self._lock:
            export = self._made.get(kind)
        if export is None or export.file is None:
            return None
        return export.file, f"{Path(self._name).stem}_{export.file.name}"

    def forget(self) -> None:
        """Stop all exports and remove their files, because the findings have changed."""
        with self._lock:
            gone, self._made = self._made, {}
        for export in gone.values():
            _end(export)

    def close(self) -> None:
        self.forget()

    def _guard(
        self, kind: str, export: _Export, path: Path, task: str, arguments: dict[str, Any]
    ) -> None:
        try:
            while not self._slots.acquire(timeout=WAIT_S):
                if self._made.get(kind) is not export:
                    return
            try:
                self._make(kind, export, path, task, arguments)
            finally:
                self._slots.release()
        except (QlumenError, OSError) as error:
            message = str(error).replace(str(self._folder), "").replace(str(path.parent), "")
            export.message, export.state = message, "failed"
        except BaseException:  # noqa: BLE001 - nobody joins this thread; the terminal shows it
            traceback.print_exc(file=sys.stderr)
            export.message, export.state = "the server failed; see its terminal", "failed"

    def _make(
        self, kind: str, export: _Export, path: Path, task: str, arguments: dict[str, Any]
    ) -> None:
        if self._made.get(kind) is not export:
            return
        path.parent.mkdir()
        export.worker = WorkerProcess(task, arguments, self._limits)
        if self._made.get(kind) is not export:
            export.worker.cancel()
        export.worker.result()
        if path.is_dir():
            path = Path(shutil.make_archive(str(path), "zip", path))
        export.file, export.state = path, "ready"


def _describe(export: _Export) -> dict[str, Any]:
    progress = export.worker.progress if export.worker else None
    return {
        "state": export.state,
        "message": export.message,
        "done": progress.done if progress else 0,
        "expected": progress.expected if progress else None,
    }


def _end(export: _Export) -> None:
    """Stop the process, wait for the thread and remove the files."""
    if export.worker is not None:
        export.worker.cancel()
    if export.thread is not None:
        export.thread.join()
    if export.file is not None:
        shutil.rmtree(export.file.parent, ignore_errors=True)

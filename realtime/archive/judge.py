"""Judges one recording of an archive, in a worker of the cluster."""

import os
import platform
import shutil
import time
import traceback
import uuid
from dataclasses import dataclass
from importlib.metadata import version
from io import StringIO
from pathlib import Path

import cv2
from rich.console import Console

from qlumen.errors import BundleError, SourceError
from qlumen.networks.bundle import file_sha256, read_bundle
from qlumen.realtime.archive.recordings import Recording, fetched
from qlumen.realtime.archive.tables import (
    ENDINGS,
    RowCollector,
    is_complete,
    result_path,
    write_table,
)
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.engines.choose import bundle_folder
from qlumen.realtime.replay.outputs import Outputs
from qlumen.realtime.replay.replay import replay
from qlumen.realtime.replay.summary import ReplaySummary
from qlumen.realtime.report.outputs import ReportOutputs, write_all
from qlumen.realtime.report.results import records
from qlumen.realtime.review.findings import find
from qlumen.realtime.review.process import process
from qlumen.realtime.review.review import Review
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.system.locations import printable

WORK = ".work"
"""Folder of an archive with what its workers have not finished."""
LOG_LETTERS = 1000


@dataclass(frozen=True, slots=True)
class Job:
    """Says how recordings are judged and where the results go.

    Attributes:
        version: name of the bundle, settings and software together.
        bundle_sha256: hash of the bundle that each computer must have.
        extras: what is made beside the rows: `videos` with the overlay, `reports` as HTML.
    """

    output: Path
    version: str
    bundle_sha256: str
    settings: Settings
    extras: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """Says how one recording went; `error` is empty if it has its rows.

    Attributes:
        before: whether the same file was judged before.
        log: end of the error's trace.
    """

    sha256: str = ""
    before: bool = False
    error: str = ""
    log: str = ""


_opened: dict[str, Segmenter] = {}
"""The network of this worker, by the hash of its settings."""


def judge(job: Job, recording: Recording, threads: int) -> Outcome:
    """Judge a recording and write its rows, unless the same file has them already.

    The row in `recordings` comes last: with it, all of the recording's results are there. Every
    error becomes an outcome.

    Args:
        threads: threads of decoder, network and encoder.
    """
    try:
        settings = _with_threads(job.settings, threads)
        bundle = read_bundle(bundle_folder(settings))
        if bundle.sha256 != job.bundle_sha256:
            raise BundleError(
                f"{platform.node()} has another bundle {bundle.manifest.name}; install the same "
                "on each computer, or put it on the shared folder"
            )
        with fetched(recording) as path:
            sha256 = file_sha256(path)
            if is_complete(job.output, job.version, sha256, job.extras):
                return Outcome(sha256, before=True)
            _write_all(job, recording.name, path, sha256, settings)
        return Outcome(sha256)
    except Exception as error:  # noqa: BLE001 - one bad file never stops the rest
        text = printable(str(error) or type(error).__name__)
        return Outcome(error=text, log=traceback.format_exc()[-LOG_LETTERS:])


def _with_threads(settings: Settings, threads: int) -> Settings:
    cv2.setNumThreads(threads)
    parts = {
        part: getattr(settings, part).model_copy(update={"threads": threads})
        for part in ("engine", "source", "recorder")
        if not getattr(settings, part).threads
    }
    return settings.model_copy(update=parts)


def _write_all(job: Job, name: str, path: Path, sha256: str, settings: Settings) -> None:
    begin = time.monotonic()
    work = job.output / WORK / uuid.uuid4().hex
    work.mkdir(parents=True)
    try:
        rows = RowCollector(sha256)
        summary = _run(job, path, work, settings, rows)
        if summary.interrupted:
            raise SourceError("the worker was told to stop")
        if not summary.frames:
            raise SourceError(summary.error or "the recording has no frame")
        tables = rows.rows({
            "name": name, "bytes": path.stat().st_size, "error": summary.error,
            "bundle": summary.bundle["name"], "bundle_sha256": summary.bundle["sha256"],
            "settings_sha256": job.settings.sha256(), "qlumen": version("qlumen"),
            "worker": f"{platform.node()}:{os.getpid()}", "took_s": time.monotonic() - begin,
        })  # fmt: skip
        for table, content in tables.items():
            write_table(work / table, table, content)
        for kind in (*job.extras, *tables):
            path = result_path(job.output, kind, job.version, sha256)
            path.parent.mkdir(parents=True, exist_ok=True)
            (work / f"{kind}{ENDINGS.get(kind, '')}").replace(path)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _run(job: Job, path: Path, work: Path, settings: Settings, rows: RowCollector) -> ReplaySummary:
    segmenter = _open(settings)
    video = work / "videos.mp4" if "videos" in job.extras else None
    if "reports" not in job.extras:
        return replay(
            str(path), Outputs(video=video), settings, None, Console(file=StringIO()),
            segmenter=segmenter, more=[("rows", rows)],
        )  # fmt: skip
    summary = process(str(path), work / "review", settings, segmenter=segmenter)
    with Review(work / "review", str(path)) as review:
        findings = find(review)
        for record in records(review, findings):
            rows.add(record)
        write_all(review, findings, ReportOutputs(html=work / "reports.html", video=video))
    return summary


def _open(settings: Settings) -> Segmenter:
    key = settings.sha256()
    if key not in _opened:
        while _opened:
            _opened.popitem()[1].close()
        _opened[key] = Segmenter.open(read_bundle(bundle_folder(settings)), settings)
    return _opened[key]

"""Judges one recording of an archive, in a worker of the cluster."""

import os
import platform
import shutil
import time
import traceback
import uuid
from collections import deque
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import cv2
from rich.console import Console

from qlumen.errors import SourceError, WorkerError
from qlumen.networks.bundle import file_sha256, read_bundle
from qlumen.realtime.archive.folder import WORK, Entry, check_archive, describe, version_name
from qlumen.realtime.archive.recordings import Recording, fetch
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
from qlumen.realtime.review.recording import open_recording
from qlumen.realtime.review.review import Review
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.system.locations import printable, without_secrets

LOG_LETTERS = 1000
ROOM_BYTES = 4_000_000
"""A disk without this room is full."""


@dataclass(frozen=True, slots=True)
class Job:
    """Says how recordings are judged and where the results go.

    Attributes:
        output: absolute path of the archive.
        version: name of the version, which each computer must come to.
        extras: what is made beside the rows: `videos` with the overlay, `reports` as HTML.
    """

    output: Path
    version: str
    settings: Settings
    extras: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Tools:
    """Holds what a worker keeps from one recording to the next."""

    settings: Settings
    segmenter: Segmenter
    facts: dict[str, str]


_kept: dict[tuple[str, int], _Tools] = {}
"""The tools of this worker, by version and threads."""


def judge(job: Job, recording: Recording, threads: int) -> Entry:
    """Judge a recording and write its results, unless the same file has them already.

    The row in `recordings` comes last: with it, all of the recording's results are there. An
    error of the recording is in the returned entry.

    Args:
        threads: threads of decoder, network and encoder.

    Raises:
        QlumenError, OSError: no recording can be judged here: the archive is gone, its disk is
            full, the bundle is another one, or the engine cannot be opened.
    """
    check_archive(job.output)
    tools = _open(job, threads)
    work = job.output / WORK / uuid.uuid4().hex
    work.mkdir(parents=True)
    try:
        sha256 = _judge_file(job, recording, tools, work)
        return Entry(recording.bytes, recording.stamp, sha256)
    except Exception as error:  # noqa: BLE001 - one bad file never stops the rest
        check_archive(job.output)
        (work / "room").write_bytes(bytes(ROOM_BYTES))
        if not isinstance(error, SourceError):
            _kept.pop((job.version, threads)).segmenter.close()  # it may be what failed
        lines = traceback.format_exc().splitlines()
        log = "\n".join(without_secrets(line, recording.location) for line in lines)
        text = _without_folder(str(error) or type(error).__name__, work)
        return Entry(recording.bytes, recording.stamp, "", text, log[-LOG_LETTERS:])
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _open(job: Job, threads: int) -> _Tools:
    key = job.version, threads
    if key not in _kept:
        facts = describe(job.settings)
        if version_name(facts) != job.version:
            raise WorkerError(
                f"{platform.node()} has bundle {facts['bundle']} {facts['bundle_sha256'][:12]} "
                f"and qlumen {facts['qlumen']}; all computers need the same"
            )
        cv2.setNumThreads(threads)
        parts = {
            part: getattr(job.settings, part).model_copy(update={"threads": threads})
            for part in ("engine", "source", "recorder")
            if not getattr(job.settings, part).threads
        }
        settings = job.settings.model_copy(update=parts)
        segmenter = Segmenter.open(read_bundle(bundle_folder(settings)), settings)
        _kept[key] = _Tools(settings, segmenter, facts)
    return _kept[key]


def _judge_file(job: Job, recording: Recording, tools: _Tools, work: Path) -> str:
    """Judge a recording unless its file was judged before; return the hash of the file."""
    begin = time.monotonic()
    path = fetch(recording, work)
    before, sha256 = path.stat(), file_sha256(path)
    if is_complete(job.output, job.version, sha256, job.extras):
        return sha256
    rows = RowCollector(sha256)
    summary = _run(job, path, tools, work, rows)
    if summary.interrupted:
        raise WorkerError("the worker was told to stop")
    if not summary.frames:
        raise SourceError(summary.error or f"{recording.name} has no frame")
    if summary.error and not _ends_early(path, tools.settings):
        raise WorkerError(summary.error)
    after = path.stat()
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise SourceError(f"{recording.name} changed while it was judged")
    tables = rows.rows({
        "name": recording.name, "bytes": after.st_size, **tools.facts,
        "error": summary.error and _without_folder(summary.error, work),
        "worker": f"{platform.node()}:{os.getpid()}", "took_s": time.monotonic() - begin,
    })  # fmt: skip
    for table, content in tables.items():
        write_table(work / table, table, content)
    for kind in (*job.extras, *tables):
        target = result_path(job.output, kind, job.version, sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        (work / f"{kind}{ENDINGS.get(kind, '')}").replace(target)
    return sha256


def _run(job: Job, path: Path, tools: _Tools, work: Path, rows: RowCollector) -> ReplaySummary:
    settings, segmenter = tools.settings, tools.segmenter
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


def _ends_early(path: Path, settings: Settings) -> bool:
    """Read a recording alone: a full disk or a failed network also ends a run, but not this."""
    try:
        with open_recording(str(path), settings) as source:
            deque(source.frames(), maxlen=0)
    except SourceError:
        return True
    return False


def _without_folder(text: str, work: Path) -> str:
    """Leave the folder of this attempt out, which no second run has."""
    return printable(text).replace(f"{printable(str(work))}/", "")

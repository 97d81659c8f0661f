"""Checks what is the fault of a recording and what ends the run, without a cluster."""

import os
import resource
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pyarrow.parquet as pq
import pytest

from qlumen.errors import UsageError, WorkerError
from qlumen.realtime.archive.folder import ArchiveFolder, Entry
from qlumen.realtime.archive.judge import Job, judge
from qlumen.realtime.archive.recordings import Recording, find_recordings
from qlumen.realtime.config.settings import load_settings

from support.archives import make_recordings


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("given") / "exams"
    make_recordings(folder, {"a.mp4": 30})
    return folder


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    """Return the job of an archive that is claimed."""
    settings = load_settings(None, ())
    folder = ArchiveFolder(tmp_path / "out", settings)
    with folder.claimed():
        yield Job(folder.output, folder.version, settings, ("videos",))


def _find(path: object) -> Recording:
    (one,) = find_recordings([str(path)])
    return one


def test_full_disk_ends_the_run(job: Job, given: Path) -> None:
    """A limit on the size of files stands for the disk; the recording is judged afterwards."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(OSError, match="large"):
            judge(job, _find(given), 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(job.output.glob("*/version=*/*"))
    assert not list(job.output.glob(".work/*"))
    assert not judge(job, _find(given), 1).error


def test_lost_share_ends_the_run(job: Job, given: Path) -> None:
    (job.output / "archive.json").unlink()
    with pytest.raises(UsageError, match="is no archive"):
        judge(job, _find(given), 1)


def test_another_computer_needs_the_same_bundle(job: Job, given: Path) -> None:
    with pytest.raises(WorkerError, match="all computers need the same"):
        judge(replace(job, version="f" * 12), _find(given), 1)


def test_recording_that_grows_has_no_rows(job: Job, given: Path, tmp_path: Path) -> None:
    path = shutil.copy(given / "a.mp4", tmp_path / "growing.mp4")
    recording, ended = _find(path), Event()

    def grow() -> None:
        for time_s in range(10**9):
            if ended.wait(0.01):
                return
            os.utime(path, (time_s, time_s))

    thread = Thread(target=grow)
    thread.start()
    entry = judge(job, recording, 1)
    ended.set()
    thread.join()
    assert "growing.mp4 changed while it was judged" in entry.error
    assert not list(job.output.glob("*/version=*/*"))


class _Broken(SimpleHTTPRequestHandler):
    """Shows that a file is there, but does not give it if its name says so."""

    def do_GET(self) -> None:
        if "broken" in self.path:
            self.send_error(500)
        else:
            super().do_GET()


def test_errors_hold_no_secret_and_no_folder(job: Job, given: Path, tmp_path: Path) -> None:
    """A copy that ends early keeps its rows, and its error is the same in each run."""
    web_folder = tmp_path / "web"
    shutil.copytree(given, web_folder)
    content = (given / "a.mp4").read_bytes()
    (web_folder / "broken.mp4").write_bytes(content)
    (web_folder / "noise.mp4").write_bytes(os.urandom(1000))
    web = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Broken, directory=str(web_folder)))
    Thread(target=web.serve_forever, daemon=True).start()
    address = f"http://user:pw@127.0.0.1:{web.server_port}"
    broken, noise = (
        judge(job, _find(f"{address}/{name}.mp4?token=hidden"), 1) for name in ("broken", "noise")
    )
    web.shutdown()
    assert "broken.mp4 cannot be fetched" in broken.error
    assert noise.error.startswith("noise.mp4 is not a video")
    for entry in (broken, noise):
        assert "Traceback" in entry.log or "Error" in entry.log
        for secret in ("hidden", "pw@", "user"):
            assert secret not in entry.error + entry.log


def test_recording_that_ends_early_keeps_its_rows(job: Job, tmp_path: Path) -> None:
    make_recordings(tmp_path / "given", {"a.mkv.mp4": 100})
    content = (tmp_path / "given" / "a.mkv.mp4").read_bytes()
    path = tmp_path / "holes.mp4"
    path.write_bytes(content[:60_000] + bytes(20_000) + content[80_000:])
    entry = judge(job, _find(path), 1)
    assert not entry.error
    (table,) = job.output.glob("recordings/*/*.parquet")
    (row,) = pq.read_table(table, partitioning=None).to_pylist()
    assert 0 < row["frames"] <= 100
    assert ".work" not in (row["error"] or "")


def test_folder_of_a_run_that_was_killed_early_is_taken(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    with ArchiveFolder(tmp_path, load_settings(None, ())).claimed():
        assert (tmp_path / "archive.json").exists()


def test_entries_of_a_run_that_ended_meanwhile_stay(tmp_path: Path) -> None:
    first, second = (ArchiveFolder(tmp_path, load_settings(None, ())) for _ in range(2))
    with first.claimed():
        first.entries["a.mp4"] = Entry(1, "", "f00")
    with second.claimed():
        second.entries["b.mp4"] = Entry(2, "", "f01")
    assert ArchiveFolder(tmp_path, load_settings(None, ())).entries.keys() == {"a.mp4", "b.mp4"}

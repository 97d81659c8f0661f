"""Checks `qlumen archive` on real recordings, a real Ray cluster and a real object store."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import psutil
import pytest
from click import ClickException

from qlumen.errors import QlumenError
from qlumen.realtime.cli import commands

from support.archives import all_rows, archive_command, make_recordings, rows, run_archive

COMMITTED = "recordings/*/*.parquet"


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with three recordings, a copy, and what is none."""
    folder = tmp_path_factory.mktemp("given") / "exams"
    make_recordings(folder, {"a.mp4": 60, "b.mkv.mp4": 40, "c.mp4": 50})
    (folder / "more").mkdir()
    shutil.copy(folder / "a.mp4", folder / "more" / "copy of a.mp4")
    (folder / "noise.MP4").write_bytes(os.urandom(4000))
    (folder / "notes.doc").write_text("no video")
    return folder


@pytest.fixture(scope="module")
def whole(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the archive of an undisturbed run."""
    output = tmp_path_factory.mktemp("whole") / "archive"
    done = run_archive(recordings, "--output", output, "--workers", 2)
    assert done.returncode == 1, "one recording is set aside"
    assert "4 recordings judged, 1 set aside" in done.stdout, done
    assert "noise.MP4 is not a video" in done.stderr
    return output


def manifest(output: Path) -> dict[str, dict[str, str]]:
    (path,) = output.glob("versions/*/manifest.json")
    content: dict[str, dict[str, str]] = json.loads(path.read_text())
    return {Path(name).name: entry for name, entry in content.items()}


def test_rows_are_those_of_a_report(whole: Path, recordings: Path, tmp_path: Path) -> None:
    """Findings equal the CSV of `qlumen report`, which goes another way to them."""
    table = tmp_path / "a.csv"
    commands.main(["report", str(recordings / "a.mp4"), "--csv", str(table)], standalone_mode=False)
    with table.open(newline="") as file:
        expected = sorted(
            [float(row[key]) for key in ("frame", "x0", "y0", "x1", "y1", "area_px", "lesion")]
            + [pytest.approx(float(row[key]), abs=2e-6) for key in ("time_s", "score")]
            for row in csv.DictReader(file)
        )
    sha256 = manifest(whole)["a.mp4"]["sha256"]
    found = sorted(
        [frame, *box, area, lesion, time_s, score]
        for key, frame, time_s, lesion, *box, score, area, _ in rows(whole, "findings")
        if key == sha256
    )
    assert len(found) > 20
    assert found == expected


def test_reports_and_videos_change_no_row(whole: Path, recordings: Path, tmp_path: Path) -> None:
    output = tmp_path / "archive"
    words = (recordings / "a.mp4", "--output", output, "--reports", "--videos")
    assert run_archive(*words).returncode == 0
    sha256 = manifest(output)["a.mp4"]["sha256"]
    for table, content in all_rows(output).items():
        assert content == [row for row in rows(whole, table) if row[0] == sha256]
    assert b"lesions followed" in next(output.glob(f"reports/*/{sha256}.html")).read_bytes()
    assert next(output.glob(f"videos/*/{sha256}.mp4")).stat().st_size > 10_000
    shutil.rmtree(output / "reports")
    assert "1 to judge" in run_archive(*words, "--dry-run").stdout


def test_same_file_is_judged_once(whole: Path) -> None:
    entries = manifest(whole)
    assert entries["a.mp4"]["sha256"] == entries["copy of a.mp4"]["sha256"]
    assert len(list(whole.glob(COMMITTED))) == 3
    (page,) = whole.glob("versions/*/summary.html")
    assert "<b>1</b>the same file again" in page.read_text()


def test_failed_recording_is_set_aside_with_its_log(whole: Path, recordings: Path) -> None:
    entry = manifest(whole)["noise.MP4"]
    assert "is not a video" in entry["error"]
    assert "NotAVideoError" in entry["log"]
    words = (recordings, "--output", whole, "--dry-run")
    assert "; 0 to judge" in run_archive(*words).stdout
    assert "; 1 to judge" in run_archive(*words, "--retry").stdout


def _end_a_worker(driver: psutil.Process) -> bool:
    """Kill a worker that judges a recording; return whether there was one."""
    for child in driver.children(recursive=True):
        try:
            if "_judge" in " ".join(child.cmdline()):
                child.kill()
                return True
        except psutil.NoSuchProcess:
            continue
    return False


def test_killed_run_goes_on(whole: Path, recordings: Path, tmp_path: Path) -> None:
    """A worker is killed, then the driver; at the end no row is missing."""
    output = tmp_path / "archive"
    driver = subprocess.Popen(
        archive_command(recordings, "--output", output, "--workers", 2),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    process = psutil.Process(driver.pid)
    end_s = time.monotonic() + 120
    while not _end_a_worker(process) and time.monotonic() < end_s and driver.poll() is None:
        time.sleep(0.05)
    while not list(output.glob(COMMITTED)) and time.monotonic() < end_s:
        time.sleep(0.05)
    workers = [one for one in process.children(recursive=True) if "Agent" not in one.name()]
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    assert workers
    assert not psutil.wait_procs(workers, timeout=30)[1], "the cluster outlived its driver"
    before = {path: path.stat().st_mtime_ns for path in output.glob(COMMITTED)}
    assert before
    done = run_archive(recordings, "--output", output)
    assert "4 recordings judged, 1 set aside" in done.stdout, done
    assert all_rows(output) == all_rows(whole)
    assert {path: path.stat().st_mtime_ns for path in before} == before, "judged twice"
    assert not list(output.glob(".work/*"))


def _judge_on_two_nodes(*words: object) -> "subprocess.CompletedProcess[str]":
    script = Path(__file__).parents[2] / "support" / "two_nodes.py"
    command = [sys.executable, str(script), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_a_lost_computer_loses_nothing(whole: Path, recordings: Path, tmp_path: Path) -> None:
    """One of two simulated computers ends while it works."""
    output = tmp_path / "archive"
    done = _judge_on_two_nodes(recordings, output, 2)
    assert "removed a node" in done.stdout, done
    assert "4 recordings judged, 1 set aside" in done.stdout, done
    assert all_rows(output) == all_rows(whole)


def test_one_worker_fits_on_one_of_two_computers(recordings: Path, tmp_path: Path) -> None:
    """It gets the cores of one computer, not those of both, which no computer has."""
    done = _judge_on_two_nodes(recordings / "a.mp4", tmp_path / "archive", 1)
    assert "1 recordings judged, 0 set aside" in done.stdout, done


def test_objects_of_s3_and_http(whole: Path, recordings: Path, tmp_path: Path) -> None:
    """Buckets and web servers on loopback give the same rows; names hold no secret."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0)
    server.start()
    port = server.get_host_and_port()[1]
    web = ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(recordings))
    )
    Thread(target=web.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{port}"
    keys = {
        "ACCESS_KEY_ID": "k",
        "SECRET_ACCESS_KEY": "secret",
        "ENDPOINT_URL": endpoint,
    }
    output = tmp_path / "archive"
    with pytest.MonkeyPatch.context() as patch:
        for key, value in keys.items():
            patch.setenv(f"AWS_{key}", value)
        import s3fs

        store = s3fs.S3FileSystem(skip_instance_cache=True)
        store.mkdir("exams")
        for path in recordings.rglob("*.mp4"):
            store.put_file(str(path), f"exams/2024/{path.name}")
        address = f"http://user:pw@127.0.0.1:{web.server_port}/c.mp4?token=hidden"
        done = run_archive("s3://exams/2024", address, "--output", output)
    server.stop()
    web.shutdown()
    assert "5 recordings judged, 0 set aside" in done.stdout, done
    for table in ("findings", "lesions"):
        assert rows(output, table) == rows(whole, table)
    (path,) = output.glob("versions/*/manifest.json")
    names = set(json.loads(path.read_text()))
    assert f"http://127.0.0.1:{web.server_port}/c.mp4" in names
    assert "s3://exams/2024/a.mp4" in names
    written = b"".join(one.read_bytes() for one in output.rglob("*") if one.is_file())
    assert b"hidden" not in written
    assert b"pw@" not in written


@pytest.fixture
def unreadable(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "locked"
    folder.mkdir()
    yield folder
    folder.chmod(0o700)


def test_bad_input_ends_before_work(whole: Path, recordings: Path, tmp_path: Path) -> None:
    empty, other, list_file = tmp_path / "empty", tmp_path / "other", tmp_path / "list.txt"
    empty.mkdir()
    other.mkdir()
    (other / "archive.json").write_text('{"format": 9}')
    list_file.write_text("\n  \n")
    new, web = tmp_path / "new", "http://127.0.0.1:1/x.mp4?k="
    for words, message in (
        ((), "Missing parameter: output"),
        (("--output", new), "no recording was found"),
        ((empty, "--output", new), "no recording was found"),
        ((list_file, "--output", new), "no recording was found"),
        ((tmp_path / "gone.txt", "--output", new), "gone.txt cannot be read"),
        ((tmp_path / "gone.mp4", "--output", new), "gone.mp4 cannot be read"),
        ((web, "--output", new), r"http://127.0.0.1:1/\*\*\* cannot be read"),
        (("abc://x/y.mp4", "--output", new), r"abc://x/\*\*\* cannot be read: Protocol not known"),
        ((recordings, "--output", recordings), "is no archive of qlumen; name a new"),
        ((recordings, "--output", recordings / "a.mp4"), "is a file"),
        ((recordings, "--output", other), r"another version of qlumen \(format 9"),
        ((recordings, "--output", new, "--set", "postprocess.high=0.3"), "need 0 < low <= high"),
        ((recordings, "--output", whole, "--compare", "x", "y"), "takes no SOURCE"),
        (("--output", whole, "--compare", "x", "y"), "0 versions fit 'x'"),
    ):
        with pytest.raises((QlumenError, ClickException), match=message):
            commands.main(["archive", *map(str, words)], standalone_mode=False)
    assert not new.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--workers", 99), "99 workers need as many cores"),
        (("--address", "127.0.0.1:1"), "no Ray"),
    ],
)
def test_wrong_cluster_gets_one_line(
    recordings: Path, tmp_path: Path, words: tuple[object, ...], message: str
) -> None:
    done = run_archive(recordings, "--output", tmp_path / "new", *words)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1, done
    assert not list(tmp_path.glob("new/recordings/*"))


def test_no_permission_is_said_before_work(recordings: Path, unreadable: Path) -> None:
    if os.geteuid() == 0:  # root may write everywhere, except where a file is in the way
        (unreadable / "archive").write_text("")
        done = run_archive(recordings, "--output", unreadable / "archive" / "x")
    else:
        unreadable.chmod(0o500)
        done = run_archive(recordings, "--output", unreadable / "x")
    assert done.returncode != 0
    assert len(done.stderr.splitlines()) == 1, done


def test_second_run_on_one_folder_waits(whole: Path, recordings: Path) -> None:
    import fcntl

    with (whole / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run_archive(recordings, "--output", whole)
    assert done.returncode == 2
    assert f"another run writes to {whole}" in done.stderr

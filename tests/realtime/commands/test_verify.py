"""Tests `qlumen verify` as a person runs it."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qlumen.realtime.sinks.events import EventsWriter

from support.media import make_images, result_of


@pytest.fixture
def events(tmp_path: Path) -> Path:
    path = tmp_path / "e.jsonl"
    with EventsWriter(path) as writer:
        for index in range(5):
            writer.write(result_of(make_images(1)[0], index))
    return path


def verify(*arguments: object) -> "subprocess.CompletedProcess[str]":
    code = "from qlumen.realtime.cli import main; main()"
    command = [sys.executable, "-c", code, "verify", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_whole_file_is_summed_up_on_a_line(events: Path) -> None:
    """A whole file gives exit code 0, and one line with lines, frames, times and the last hash."""
    done = verify(events)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(
        f"{events}: whole: 5 lines, 5 frames from 0.0 s to 0.16 s, 0 notes; last line's hash "
    )
    assert done.stdout.count("\n") == 1


def test_a_damaged_file_names_its_line(events: Path) -> None:
    """A damaged file gives exit code 1, with the first bad line and its damage."""
    lines = events.read_bytes().splitlines(keepends=True)
    for damaged, message in (
        ([*lines[:2], lines[2].replace(b'"frame":2', b'"frame":3'), *lines[3:]], "3 was changed"),
        ([*lines[:2], *lines[3:]], "3: lines before it were removed"),
        ([*lines[:2], lines[0], *lines[2:]], "3 was inserted"),
        ([lines[0], lines[3], lines[2], lines[1], lines[4]], "2 is not in its place: lines were "),
        ([*lines[:4], lines[4][:30]], "5: cut: the last line is incomplete"),
    ):
        events.write_bytes(b"".join(damaged))
        done = verify(events)
        assert (done.returncode, done.stderr) == (1, "")
        assert done.stdout.startswith(f"{events}: line {message}")


def test_a_kept_hash_shows_a_missing_end(events: Path) -> None:
    """Lines removed at the end show with --last, and do not show without it."""
    last = verify(events).stdout.split()[-1]
    assert verify(events, "--last", last).returncode == 0
    lines = events.read_bytes().splitlines(keepends=True)
    events.write_bytes(b"".join(lines[:-1]))
    assert verify(events).returncode == 0
    done = verify(events, "--last", last)
    assert done.returncode == 1
    assert "lines at the end were removed or added" in done.stdout


def test_a_path_that_is_no_file_is_a_usage_error(tmp_path: Path) -> None:
    """A missing path, a folder and a device give exit code 2 and are named."""
    for path in (tmp_path / "absent", tmp_path, Path("/dev/null")):
        done = verify(path)
        assert done.returncode == 2
        assert str(path) in done.stderr
        assert "Traceback" not in done.stderr


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(min_size=1))
def test_garbage_ends_in_a_line(tmp_path: Path, data: bytes) -> None:
    """Any content gives exit code 1 and names line 1, without a traceback."""
    path = tmp_path / "e.jsonl"
    path.write_bytes(data)
    done = verify(path)
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith(f"{path}: line 1")

"""Tests that a file or a folder is written whole or not at all."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from qlumen.errors import DatasetError, SinkError
from qlumen.system.files import replacing, write_json

from support.media import full_disk


def fail_in_the_middle(path: Path, kind: str) -> None:
    with replacing(path) as part:
        if kind == "file":
            part.write_text("half")
        else:
            part.mkdir()
            (part / "half").touch()
        raise DatasetError("images are missing")


def test_the_older_file_stays_until_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as part:
        part.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    """The new folder has no file of the old one."""
    path = tmp_path / "bundle"
    path.mkdir()
    (path / "old").touch()
    with replacing(path) as part:
        part.mkdir()
        (part / "new").touch()
        assert [file.name for file in path.iterdir()] == ["old"]
    assert [file.name for file in path.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_block_that_raises_leaves_the_older_one(tmp_path: Path, kind: str) -> None:
    """An error of qlumen stays as it is."""
    path = tmp_path / "a"
    path.write_text("old")
    with pytest.raises(DatasetError, match=r"^images are missing$"):
        fail_in_the_middle(path, kind)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_never_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "kept").touch()
    with pytest.raises(SinkError, match="results cannot be written: Is a directory"):
        write_json(tmp_path / "results", {})
    assert (tmp_path / "results" / "kept").exists()
    assert list(tmp_path.iterdir()) == [tmp_path / "results"]


def test_a_full_disk_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with full_disk(10_000), pytest.raises(SinkError) as caught:
        write_json(path, list(range(100_000)))
    assert str(caught.value) == f"{path} cannot be written: File too large"
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX")
def test_a_kill_leaves_the_older_file(tmp_path: Path) -> None:
    """The next process replaces the rest that the killed process left."""
    path = tmp_path / "a.txt"
    path.write_text("old")
    code = """
import os, signal, sys
from pathlib import Path
from qlumen.system.files import replacing
with replacing(Path(sys.argv[1])) as part:
    part.mkdir()
    (part / "half").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    killed = subprocess.run([sys.executable, "-c", code, path], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    with replacing(path) as part:
        part.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_an_error_with_the_path(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "a.json"
    with pytest.raises(SinkError, match=r"missing/a\.json cannot be written: No such file"):
        write_json(path, {})


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SinkError, match="Not a directory"):
        write_json(tmp_path / "file" / "a.json", {})


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target.json", tmp_path / "link.json"
    target.write_text("old")
    link.symlink_to(target)
    write_json(link, {"new": 1})
    assert link.is_symlink()
    assert json.loads(target.read_text()) == {"new": 1}


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes are POSIX")
def test_a_pipe_is_written_to_directly(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = subprocess.Popen(["cat", path], stdout=subprocess.PIPE)
    write_json(path, {"a": 1})
    output, _ = reader.communicate(timeout=30)
    assert json.loads(output) == {"a": 1}
    assert path.is_fifo()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_standard_output_sent_to_a_file_is_written_to_directly(tmp_path: Path) -> None:
    """`/dev/stdout` is a link to this path; the shell continues to write to that file."""
    code = """
from pathlib import Path
from qlumen.system.files import write_json
write_json(Path("/proc/self/fd/1"), {"a": 1})
"""
    path = tmp_path / "out.txt"
    with path.open("ab") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
        assert os.fstat(file.fileno()).st_ino == path.stat().st_ino
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]

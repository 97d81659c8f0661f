"""Checks which recordings are found, by odd names, links and addresses."""

import os
import subprocess
from pathlib import Path

import fsspec
import pytest

from qlumen.realtime.archive.recordings import find_recordings

from support.archives import archive_command

OWN = "videos/version=0123456789ab/abc.mp4"


def _make(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(100 - number))


def _found(*sources: object) -> list[str]:
    return [one.location for one in find_recordings(map(str, sources))]


def test_odd_names_are_found(tmp_path: Path) -> None:
    names = ["[x].mp4", "q?*.mp4", "new\nline.mkv", os.fsdecode(b"\xe4.AVI"), "a:b.ts", "ü.mp4"]
    _make(tmp_path, *names, "notes.doc", "._x.mp4")
    assert _found(tmp_path) == [f"{tmp_path}/{name}" for name in names]
    assert _found(tmp_path / "[x].mp4", tmp_path / "q?*.mp4") == _found(tmp_path)[:2]
    assert find_recordings([str(tmp_path)])[3].name.endswith("/\\xe4.AVI")


def test_links_are_followed_without_loops(tmp_path: Path) -> None:
    """A link that leads nowhere is set aside later; pipes and folders are no recordings."""
    folder, other = tmp_path / "exams", tmp_path / "other"
    _make(other, "far.mp4", "folder.mp4/inner.mp4")
    _make(folder, "sub/near.mp4")
    (folder / "sub" / "loop").symlink_to("..")
    (folder / "linked").symlink_to(other)
    (folder / "linked.mp4").symlink_to(other / "folder.mp4")
    (folder / "gone.mp4").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.mp4")
    (folder / "self.mp4").symlink_to("self.mp4")
    found = find_recordings([str(folder)])
    assert sorted((one.location.removeprefix(f"{folder}/"), one.bytes) for one in found) == [
        ("gone.mp4", 0),
        ("linked.mp4/inner.mp4", 99),
        ("linked/far.mp4", 100),
        ("self.mp4", 0),
        ("sub/near.mp4", 100),
    ]


def test_own_videos_are_no_recordings(tmp_path: Path) -> None:
    """The output folder may lie in a source."""
    _make(tmp_path, "a.mp4", f"out/{OWN}", f"out/.work/{'0' * 32}/videos.mp4")
    assert _found(tmp_path) == _found(f"{tmp_path}/**/*.mp4") == [f"{tmp_path}/a.mp4"]


def test_list_of_another_system_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has a byte order mark, ends of lines with two letters, and a name that is no UTF-8."""
    _make(tmp_path, "http_exams/a.mp4", os.fsdecode(b"\xe4.mp4"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfhttp_exams\r\n\r\n\xe4.mp4\r\n")
    assert len(_found("list.txt")) == 2


def test_keys_keep_their_letters() -> None:
    """A `#` or `?` belongs to the key of an object; only addresses of the web have queries."""
    store = fsspec.filesystem("memory")
    for number in (1, 2):
        store.pipe(f"/exams/patient #{number}?.mp4", b"x")
    names = {one.name for one in find_recordings(["memory://exams"])}
    store.rm("/exams", recursive=True)
    assert names == {f"memory:///exams/patient #{number}?.mp4" for number in (1, 2)}


def test_folder_without_permission_is_named(tmp_path: Path) -> None:
    """Root gives up its right to read everything before it tries."""
    _make(tmp_path, "a.mp4", "locked/b.mp4")
    (tmp_path / "locked").chmod(0)
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    words = archive_command(tmp_path, "--output", tmp_path / "new", "--dry-run")
    command = [*(drop if os.geteuid() == 0 else []), *words]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert "locked" in done.stderr
    assert len(done.stderr.splitlines()) == 1, done
    (tmp_path / "locked").chmod(0o700)


def test_nothing_hidden_is_taken_from_a_folder(tmp_path: Path) -> None:
    """Folders of tools hold files with endings of videos, such as TypeScript's .ts."""
    _make(tmp_path, "a.mp4", ".b.mp4", ".venv/lib/c.ts", "more/.cache/d.mp4", "more/e.mp4")
    assert {Path(one).name for one in _found(tmp_path)} == {"a.mp4", "e.mp4"}

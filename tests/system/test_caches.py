import os
import sys
from pathlib import Path

import pytest

from qlumen.kernels.jit import cache_dir
from qlumen.system.caches import KEPT_CONTENTS, cache_folder, content_folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QLUMEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_same_content_has_the_same_folder_and_other_content_another(tmp_path: Path) -> None:
    """Whatever the files are called."""
    a, b, c = (tmp_path / name for name in "abc")
    a.write_bytes(b"one")
    b.write_bytes(b"one")
    c.write_bytes(b"two")
    assert content_folder("x", [a]) == content_folder("x", [b])
    assert content_folder("x", [a]) != content_folder("x", [c])
    assert content_folder("x", [a, c]) != content_folder("x", [c, a])


def test_what_was_not_used_for_long_is_removed(tmp_path: Path, cache: Path) -> None:
    """The folders last used stay, the one in use among them."""
    file = tmp_path / "f"
    folders = []
    for index in range(KEPT_CONTENTS + 3):
        file.write_bytes(bytes([index]))
        folder = content_folder("x", [file])
        assert folder is not None
        (folder / "blob").write_bytes(b"compiled")
        os.utime(folder, (index, index))
        folders.append(folder)
    left = set((cache / "x").iterdir())
    assert folders[-1] in left
    assert len(left) <= KEPT_CONTENTS + 1
    assert folders[0] not in left


@pytest.mark.parametrize(
    ("platform", "variable", "wanted"),
    [
        ("linux", "", ".cache/qlumen"),
        ("linux", "XDG_CACHE_HOME", "chosen/qlumen"),
        ("darwin", "", "Library/Caches/qlumen"),
        ("win32", "", "AppData/Local/qlumen"),
        ("win32", "LOCALAPPDATA", "chosen/qlumen"),
        ("linux", "QLUMEN_CACHE", "chosen"),
        ("darwin", "QLUMEN_CACHE", "chosen"),
        ("win32", "QLUMEN_CACHE", "chosen"),
    ],
)
def test_networks_and_kernels_share_one_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str, variable: str, wanted: str
) -> None:
    """Where each system keeps caches, or where `QLUMEN_CACHE` says."""
    for name in ("QLUMEN_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA", "NUMBA_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "chosen"))
    monkeypatch.setattr(sys, "platform", platform)
    assert cache_folder("numba") == tmp_path / wanted / "numba" == cache_dir().parent


def test_a_cache_that_cannot_be_made_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would be cached is made anew each time."""
    file = tmp_path / "f"
    file.write_bytes(b"")
    monkeypatch.setenv("QLUMEN_CACHE", str(file))
    assert content_folder("x", [file]) is None

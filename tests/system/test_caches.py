import os
from pathlib import Path

import pytest

from qlumen.kernels.jit import cache_dir
from qlumen.system.caches import KEPT_CONTENTS, cache_folder, content_folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("QLUMEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_same_content_has_the_same_folder_and_other_content_another(tmp_path: Path) -> None:
    """The names of the files do not count."""
    a, b, c = (tmp_path / name for name in "abc")
    a.write_bytes(b"one")
    b.write_bytes(b"one")
    c.write_bytes(b"two")
    assert content_folder("x", [a]) == content_folder("x", [b])
    assert content_folder("x", [a]) != content_folder("x", [c])
    assert content_folder("x", [a, c]) != content_folder("x", [c, a])


def test_old_folders_are_removed(tmp_path: Path, cache: Path) -> None:
    """The last used folders stay; the folder in use is one of them."""
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
    ("variable", "wanted"),
    [
        ("", ".cache/qlumen"),
        ("XDG_CACHE_HOME", "chosen/qlumen"),
        ("QLUMEN_CACHE", "chosen"),
    ],
)
def test_networks_and_kernels_share_one_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, wanted: str
) -> None:
    """The cache lies where the system keeps caches, or where `QLUMEN_CACHE` says."""
    for name in ("QLUMEN_CACHE", "XDG_CACHE_HOME", "NUMBA_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "chosen"))
    assert cache_folder("numba") == tmp_path / wanted / "numba" == cache_dir().parent


def test_a_cache_that_cannot_be_made_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The content is then made again each time."""
    file = tmp_path / "f"
    file.write_bytes(b"")
    monkeypatch.setenv("QLUMEN_CACHE", str(file))
    assert content_folder("x", [file]) is None

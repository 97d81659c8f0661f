import os
from pathlib import Path

import pytest

from qlumen.system.caches import KEPT_CONTENTS, content_folder


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


def test_a_cache_that_cannot_be_made_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would be cached is made anew each time."""
    file = tmp_path / "f"
    file.write_bytes(b"")
    monkeypatch.setenv("QLUMEN_CACHE", str(file))
    assert content_folder("x", [file]) is None

import logging
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qlumen.realtime.engines.cache import KEPT_ENGINES, EngineCache, EngineKey

KEY = EngineKey(
    network_sha256="a" * 64,
    precision="f16",
    shape=(1, 352, 352, 3),
    gpu="NVIDIA RTX A2000",
    driver="550.54.15",
    libraries=(("torch", "2.14.0"), ("tensorrt-cu13", "11.1.0")),
)
OTHERS = {
    "network_sha256": "b" * 64,
    "precision": "f32",
    "shape": (1, 256, 352, 3),
    "gpu": "NVIDIA H100",
    "driver": "560.1",
    "libraries": (("torch", "2.14.0"), ("tensorrt-cu13", "11.2.0")),
}
ENGINE = bytes(range(256)) * 4


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineCache:
    monkeypatch.setenv("QLUMEN_CACHE", str(tmp_path))
    return EngineCache("tensorrt")


def stored_file(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "tensorrt").glob("*.engine")
    return path


def test_what_was_stored_is_loaded(cache: EngineCache) -> None:
    """An engine is loaded byte for byte, also by a cache that is opened later."""
    assert cache.load(KEY) is None
    cache.store(KEY, ENGINE)
    assert cache.load(KEY) == EngineCache("tensorrt").load(KEY) == ENGINE


@pytest.mark.parametrize("field", OTHERS)
def test_whatever_it_depends_on_makes_another_entry(cache: EngineCache, field: str) -> None:
    """Other weights, precision, shape, card, driver or libraries never get this engine."""
    cache.store(KEY, ENGINE)
    assert cache.load(replace(KEY, **{field: OTHERS[field]})) is None
    assert set(OTHERS) == set(EngineKey.__dataclass_fields__)


def test_foreign_entry_under_the_right_name_is_not_loaded(
    cache: EngineCache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The header shows a file that was renamed or copied from another machine."""
    other = replace(KEY, gpu="NVIDIA H100")
    cache.store(other, ENGINE)
    stored_file(tmp_path).rename(tmp_path / "tensorrt" / KEY.file_name())
    with caplog.at_level(logging.WARNING):
        assert cache.load(KEY) is None
    assert "made for something else" in caplog.text


@given(where=st.integers(0, 1 << 20), bit=st.integers(0, 7), cut=st.booleans())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_entry_is_never_loaded(
    cache: EngineCache, tmp_path: Path, where: int, bit: int, cut: bool
) -> None:
    """A file with one flipped bit or a cut is not loaded, and a new store repairs it."""
    cache.store(KEY, ENGINE)
    path = stored_file(tmp_path)
    content = bytearray(path.read_bytes())
    where %= len(content)
    if cut:
        del content[where:]
    else:
        content[where] ^= 1 << bit
    path.write_bytes(content)
    assert cache.load(KEY) is None
    cache.store(KEY, ENGINE)
    assert cache.load(KEY) == ENGINE


@given(content=st.binary(max_size=300))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_content_is_refused_or_right(
    cache: EngineCache, tmp_path: Path, content: bytes
) -> None:
    """A file that is no entry at all does not raise."""
    (tmp_path / "tensorrt" / KEY.file_name()).write_bytes(content)
    assert cache.load(KEY) is None


def test_folder_that_cannot_be_written_costs_only_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is kept, and the log says so and what to do."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("QLUMEN_CACHE", str(tmp_path / "file"))
    with caplog.at_level(logging.WARNING):
        cache = EngineCache("tensorrt")
    assert "set QLUMEN_CACHE" in caplog.text
    cache.store(KEY, ENGINE)
    assert cache.load(KEY) is None


def test_full_disk_costs_only_the_cache(
    cache: EngineCache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A folder that is missing at the store is logged and does not raise."""
    (tmp_path / "tensorrt").rmdir()
    with caplog.at_level(logging.WARNING):
        cache.store(KEY, ENGINE)
    assert "cannot be kept" in caplog.text


def test_only_the_latest_are_kept(cache: EngineCache, tmp_path: Path) -> None:
    """Engines of old drivers do not fill the disk."""
    for i in range(KEPT_ENGINES + 3):
        cache.store(replace(KEY, driver=str(i)), ENGINE)
    assert len(list((tmp_path / "tensorrt").iterdir())) == KEPT_ENGINES

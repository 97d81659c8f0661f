import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from qlumen.networks.bundle import read_bundle, shipped_bundle
from qlumen.realtime.engines.openvino import CpuOptions, OpenVinoEngine
from qlumen.realtime.errors import EngineError


@pytest.fixture(scope="module")
def engine() -> Iterator[OpenVinoEngine]:
    with OpenVinoEngine(read_bundle(shipped_bundle()).model, CpuOptions(requests=2)) as engine:
        yield engine


def pictures(engine: OpenVinoEngine, count: int) -> list[np.ndarray]:
    width, height = engine.input_size
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (height, width, 3), np.uint8) for _ in range(count)]


def test_output_is_a_probability_map_of_the_stated_size(engine: OpenVinoEngine) -> None:
    """Float32, rows by columns, within 0 to 1."""
    engine.warm_up()
    output = engine.infer(pictures(engine, 1)[0])
    assert output.dtype == np.float32
    assert output.shape == engine.output_size[::-1]
    assert output.min() >= 0
    assert output.max() <= 1


def test_requests_in_flight_do_not_mix(engine: OpenVinoEngine) -> None:
    """Two frames submitted together give what each gives alone, in whatever order asked."""
    first, second = pictures(engine, 2)
    alone = [engine.infer(first), engine.infer(second)]
    tickets = [engine.submit(first), engine.submit(second)]
    np.testing.assert_array_equal(tickets[1].result(), alone[1])
    np.testing.assert_array_equal(tickets[0].result(), alone[0])
    assert not np.array_equal(*alone)


def test_result_survives_the_next_inference(engine: OpenVinoEngine) -> None:
    """A map is a copy: the request that made it may be used again."""
    first, second = pictures(engine, 2)
    kept = engine.infer(first)
    before = kept.copy()
    for _ in range(3):
        engine.infer(second)
    np.testing.assert_array_equal(kept, before)


def test_wrong_input_names_both_sides(engine: OpenVinoEngine) -> None:
    """Shape, type or layout other than the stated one is refused with what is wanted."""
    (good,) = pictures(engine, 1)
    height, width, _ = good.shape
    wide = np.zeros((height, 2 * width, 3), np.uint8)
    wanted = rf"want \({height}, {width}, 3\) uint8, contiguous"
    for bad in (good[1:], good.astype(np.float32), good[..., 0], wide[:, ::2]):
        with pytest.raises(EngineError, match=wanted):
            engine.submit(bad)


def test_unreadable_model_is_an_engine_error(tmp_path: Path) -> None:
    """A file that OpenVINO cannot compile ends in one line."""
    model = tmp_path / "network.xml"
    model.write_text("<net/>")
    model.with_suffix(".bin").write_bytes(b"")
    with pytest.raises(EngineError, match="cannot compile"):
        OpenVinoEngine(model)


def test_description_names_engine_and_settings(engine: OpenVinoEngine) -> None:
    """What goes into the summary tells version, device and settings."""
    about = engine.describe()
    assert about["name"] == "openvino"
    assert about["requests"] == 2


def test_other_weights_are_never_answered_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New weights beside the same `.xml`, with the same date, give the new network's map: that of
    a cache that has never seen the old one."""
    given = read_bundle(shipped_bundle()).model
    model = tmp_path / "m.xml"
    weights = model.with_suffix(".bin")
    model.write_bytes(given.read_bytes())
    content = np.fromfile(given.with_suffix(".bin"), np.float16)
    content.tofile(weights)
    date = weights.stat()

    def answer(cache: str) -> np.ndarray:
        monkeypatch.setenv("QLUMEN_CACHE", str(tmp_path / cache))
        with OpenVinoEngine(model) as engine:
            return engine.infer(pictures(engine, 1)[0])

    old = answer("a")
    some = slice(len(content) // 3, 2 * len(content) // 3)  # in the midst of the convolutions
    content[some] *= np.float16(0.5)
    content.tofile(weights)
    os.utime(weights, ns=(date.st_atime_ns, date.st_mtime_ns))
    new = answer("a")
    assert not np.array_equal(new, old)
    np.testing.assert_array_equal(new, answer("b"))

import os
from pathlib import Path

import numpy as np
import pytest

from qlumen.calibration.export import Network
from qlumen.errors import EngineError
from qlumen.networks.bundle import find_bundle, read_bundle
from qlumen.realtime.engines.base import Engine
from qlumen.realtime.engines.openvino import CpuOptions, OpenVinoEngine, devices

from support.engine_contract import EngineContract, bundle, make_images, torch_form
from support.media import start_python


class TestOpenVino(EngineContract):
    name = "openvino"

    @classmethod
    def open(cls) -> Engine:
        return OpenVinoEngine(bundle().model, CpuOptions(requests=3, streams=2))

    @staticmethod
    def reference() -> Network:
        return torch_form()


class TestBf16(EngineContract):
    """Tests bf16 with a third of the digits.

    Other rounding may lose a whole finding that just reaches its threshold.
    """

    name = "openvino"
    max_share = 2e-2

    @classmethod
    def open(cls) -> Engine:
        return OpenVinoEngine(bundle().model, CpuOptions(precision="bf16"))


def test_unreadable_model_is_an_engine_error(tmp_path: Path) -> None:
    """A file that OpenVINO cannot compile ends in one line."""
    model = tmp_path / "network.xml"
    model.write_text("<net/>")
    model.with_suffix(".bin").write_bytes(b"")
    with pytest.raises(EngineError, match="cannot compile"):
        OpenVinoEngine(model)


def test_device_that_is_not_here_is_named() -> None:
    """The error lists the devices that are here."""
    with pytest.raises(EngineError, match=r"finds no NPU here, only CPU.*set engine\.device"):
        OpenVinoEngine(bundle().model, device="NPU")


def test_found_devices_include_the_cpu() -> None:
    """The CPU has the full name from its maker."""
    assert devices()["CPU"]


def test_other_weights_are_never_answered_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New weights beside the same `.xml`, with the same date, give the new network's map.

    A cache that has never seen the old weights gives the same map.
    """
    given = read_bundle(find_bundle()).model
    model = tmp_path / "m.xml"
    weights = model.with_suffix(".bin")
    model.write_bytes(given.read_bytes())
    content = np.fromfile(given.with_suffix(".bin"), np.float16)
    content.tofile(weights)
    date = weights.stat()

    def answer(cache: str) -> np.ndarray:
        monkeypatch.setenv("QLUMEN_CACHE", str(tmp_path / cache))
        with OpenVinoEngine(model) as engine:
            return engine.infer(make_images(engine, 1)[0])

    old = answer("a")
    some = slice(len(content) // 3, 2 * len(content) // 3)  # in the middle of the convolutions
    content[some] *= np.float16(0.5)
    content.tofile(weights)
    os.utime(weights, ns=(date.st_atime_ns, date.st_mtime_ns))
    new = answer("a")
    assert not np.array_equal(new, old)
    np.testing.assert_array_equal(new, answer("b"))


def test_signals_work_after_another_thread_closed_the_engine() -> None:
    """OpenVINO unmaps a signal stack then. The main thread, which has one of faulthandler, must not
    have got it."""
    code = f"""
import faulthandler, signal, threading
from pathlib import Path
from qlumen.realtime.engines.openvino import OpenVinoEngine
faulthandler.enable()
engine = OpenVinoEngine(Path({str(bundle().model)!r}))
closing = threading.Thread(target=engine.close)
closing.start()
closing.join()
signal.signal(signal.SIGTERM, lambda number, frame: print("steered"))
signal.raise_signal(signal.SIGTERM)
"""
    process = start_python(code)
    said, errors = process.communicate(timeout=120)
    assert (process.returncode, said) == (0, "steered\n"), errors

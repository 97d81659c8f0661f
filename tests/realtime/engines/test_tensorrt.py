"""The TensorRT engine works as far as it can be tested without a GPU; see also `tests/gpu`.

`FakeLibrary` replaces the two calls that need TensorRT. It computes in torch, and its "engines"
are the files of `torch.export`.
"""

import io
import logging
import re
import sys
from collections.abc import Callable
from contextlib import nullcontext
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from qlumen.errors import EngineError
from qlumen.realtime.config.network import EngineSettings
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.engines import presence, tensorrt
from qlumen.realtime.engines.cache import EngineCache, EngineKey
from qlumen.realtime.engines.choose import open_engine
from qlumen.realtime.engines.tensorrt import TorchTensorRt, load_or_compile, open_tensorrt

from support.engine_contract import bundle, compiled_form

CPU = torch.device("cpu")
KEY = EngineKey("a" * 64, "f32", (1, 352, 352, 3), "card", "1", (("torch", "2"),))


class FakeLibrary:
    def __init__(self) -> None:
        self.built = 0

    def build(self, program: torch.export.ExportedProgram, example: Tensor) -> bytes:
        self.built += 1
        assert example.shape == KEY.shape
        buffer = io.BytesIO()
        torch.export.save(program, buffer)
        return buffer.getvalue()

    def load(self, engine: bytes, device: torch.device) -> Callable[[Tensor], Tensor]:
        if engine == b"refused":
            raise EngineError("TensorRT cannot load the engine: another version")
        run: Callable[[Tensor], Tensor] = torch.export.load(io.BytesIO(engine)).module()
        return run


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineCache:
    monkeypatch.setenv("QLUMEN_CACHE", str(tmp_path))
    return EngineCache("tensorrt")


@pytest.fixture(scope="module")
def engine_bytes() -> bytes:
    """Build the shipped network once."""
    kept: list[bytes] = []

    class Recording(FakeLibrary):
        def build(self, program: torch.export.ExportedProgram, example: Tensor) -> bytes:
            kept.append(super().build(program, example))
            return kept[0]

    class Forgetful(EngineCache):
        def __init__(self) -> None:
            self._folder = None

    load_or_compile(bundle(), "f32", KEY, Forgetful(), Recording(), CPU)
    return kept[0]


class KnownEngine(FakeLibrary):
    """Returns an engine that was built before, so that tests of the cache take no time."""

    def __init__(self, engine: bytes) -> None:
        super().__init__()
        self.engine = engine

    def build(self, program: torch.export.ExportedProgram, example: Tensor) -> bytes:
        self.built += 1
        return self.engine


@pytest.fixture
def no_export(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt, "deploy_network", lambda *_: torch.nn.Identity())
    monkeypatch.setattr(tensorrt, "export_program", lambda *_: None)


def test_engine_is_built_once_and_draws_the_network_s_map(
    cache: EngineCache, engine_bytes: bytes, no_export: None
) -> None:
    """The exported network gives the compiled form's map, built or loaded."""
    library = KnownEngine(engine_bytes)
    image = np.random.default_rng(0).integers(0, 256, KEY.shape[1:], np.uint8)
    for _ in range(2):
        run = load_or_compile(bundle(), "f32", KEY, cache, library, CPU)
        map_ = run(torch.from_numpy(image)[None])[0, 0].detach().numpy()
        np.testing.assert_allclose(map_, compiled_form()(image), atol=1e-4)
    assert library.built == 1


def test_damaged_entry_is_built_again(
    cache: EngineCache, engine_bytes: bytes, no_export: None, tmp_path: Path
) -> None:
    """A damaged engine does not go to the library, and the new engine replaces it."""
    library = KnownEngine(engine_bytes)
    cache.store(KEY, b"some engine")
    (path,) = (tmp_path / "tensorrt").glob("*.engine")
    path.write_bytes(path.read_bytes()[:-1])
    load_or_compile(bundle(), "f32", KEY, cache, library, CPU)
    assert library.built == 1
    assert cache.load(KEY) == engine_bytes


def test_entry_that_the_library_refuses_is_built_again(
    cache: EngineCache, engine_bytes: bytes, no_export: None, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has the library's reason, and the new engine replaces the old one."""
    library = KnownEngine(engine_bytes)
    cache.store(KEY, b"refused")
    with caplog.at_level(logging.WARNING):
        load_or_compile(bundle(), "f32", KEY, cache, library, CPU)
    assert "another version" in caplog.text
    assert library.built == 1
    assert cache.load(KEY) == engine_bytes


def test_key_has_all_that_an_engine_depends_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice of a card has its name, so the compute capability is in the key."""
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"card {device.index}")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 9))
    monkeypatch.setattr(tensorrt, "nvidia_gpus", lambda: (presence.Gpu("card", "580.1", None),))
    key = tensorrt.engine_key(bundle(), "f32", torch.device("cuda", 1))
    assert (key.gpu, key.driver, key.precision) == ("card 1 8.9", "580.1", "f32")
    assert (key.shape, "torch" in dict(key.libraries)) == (KEY.shape, True)


@pytest.mark.parametrize("loads", [False, True])
def test_engine_that_does_not_run_is_not_kept(
    cache: EngineCache, no_export: None, loads: bool
) -> None:
    """An engine that fails when it is loaded or run would fail at each start."""

    class Failing(FakeLibrary):
        def build(self, program: torch.export.ExportedProgram, example: Tensor) -> bytes:
            return b"built" if loads else b"refused"

        def load(self, engine: bytes, device: torch.device) -> Callable[[Tensor], Tensor]:
            if not loads:
                return super().load(engine, device)

            def run(image: Tensor) -> Tensor:
                raise RuntimeError("no memory\nand more")

            return run

    wanted = r"cannot run the engine: no memory$" if loads else "another version"
    with pytest.raises(EngineError, match=wanted):
        load_or_compile(bundle(), "f32", KEY, cache, Failing(), CPU)
    assert cache.load(KEY) is None


@pytest.fixture
def fake_package(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Provide packages of these names, so that the engine is tried."""
    for name in ("torch_tensorrt", "tensorrt"):
        package = ModuleType(name)
        package.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, package)
    return sys.modules["torch_tensorrt"]


def test_library_is_called_with_static_shapes_and_named_bindings(fake_package: Any) -> None:
    """The library gets one example and the names of input and output.

    `bench/tensorrt_operators.py` checks the call against the real library.
    """
    calls: list[dict[str, Any]] = []

    def build(program: Any, **arguments: Any) -> bytes:
        calls.append(arguments)
        return b"engine"

    fake_package.dynamo = SimpleNamespace(convert_exported_program_to_serialized_trt_engine=build)
    example = torch.zeros(1, 8, 8, 3, dtype=torch.uint8)
    assert TorchTensorRt().build(SimpleNamespace(), example) == b"engine"
    assert calls[0]["arg_inputs"][0] is example
    assert calls[0]["arg_input_binding_names"] == ("image",)
    assert calls[0]["output_binding_names"] == "map"
    assert calls[0]["disable_tf32"] is True


def test_engine_is_loaded_on_its_own_card(
    fake_package: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The settings name the card, because the library's own default is the first one."""
    calls: list[Any] = []
    monkeypatch.setattr(torch.cuda, "device", nullcontext)
    fake_package.Device = lambda gpu_id: f"card {gpu_id}"
    fake_package.dynamo = SimpleNamespace(CompilationSettings=lambda device: device)
    fake_package.runtime = SimpleNamespace(
        TorchTensorRTModule=lambda *given, settings: calls.append((*given, settings))
    )
    TorchTensorRt().load(b"engine", torch.device("cuda", 1))
    assert calls == [(b"engine", ["image"], ["map"], "card 1")]


@pytest.mark.parametrize(
    ("found", "old"),
    [("2.13.0", True), ("2.9.1+cu130", True), ("2.14.0+cu130", False), ("3.0", False)],
)
def test_library_that_names_no_bindings_is_refused(
    fake_package: Any, monkeypatch: pytest.MonkeyPatch, found: str, old: bool
) -> None:
    """Before 2.14 it drops the names without a word, and its engines do not load."""
    monkeypatch.setattr(presence, "version", lambda _: found)
    assert bool(presence.old_torch_tensorrt()) is old
    if old:
        with pytest.raises(EngineError, match=rf"{re.escape(found)} is too old.*qlumen\[gpu\]"):
            TorchTensorRt().load(b"", CPU)
        assert not presence.presence("tensorrt").usable


def test_library_s_failure_is_an_engine_error(fake_package: Any) -> None:
    """A failure of the library is an error of one line."""

    def build(program: Any, **arguments: Any) -> bytes:
        raise RuntimeError("out of memory\nand more")

    fake_package.dynamo = SimpleNamespace(convert_exported_program_to_serialized_trt_engine=build)
    with pytest.raises(EngineError, match=r"cannot build the engine: out of memory$"):
        TorchTensorRt().build(SimpleNamespace(), torch.zeros(1))


def test_missing_tensorrt_is_named() -> None:
    """The error names TensorRT, because Torch-TensorRT comes without it."""
    with pytest.raises(EngineError, match=r"TensorRT's Python package is missing: pip install"):
        TorchTensorRt().load(b"", CPU)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_gpu_the_cpu_takes_over(
    fake_package: ModuleType, caplog: pytest.LogCaptureFixture
) -> None:
    """After TensorRT and torch on CUDA OpenVINO runs; the log and the description say why."""
    with pytest.raises(EngineError, match="finds 0 CUDA devices"):
        open_tensorrt(bundle(), EngineSettings(streams=1))
    settings = load_settings(None, ["engine.name=tensorrt", "engine.precision=f16"])
    with caplog.at_level(logging.WARNING), open_engine(bundle(), settings) as engine:
        about = engine.describe()
    assert about["name"] == "openvino"
    assert about["precision"] == "f32"
    assert about["reason"].startswith("instead of tensorrt: torch")
    assert "finds 0 CUDA devices" in caplog.text

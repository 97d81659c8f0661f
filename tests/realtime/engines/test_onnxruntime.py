from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from qlumen.errors import ConfigError, EngineError, MissingExtraError
from qlumen.realtime.config.network import EngineSettings
from qlumen.realtime.engines import onnxruntime, presence
from qlumen.realtime.engines.base import Engine
from qlumen.realtime.engines.onnxruntime import (
    OnnxOptions,
    OnnxRuntimeEngine,
    onnx_file,
    open_onnxruntime,
    providers,
)

from support.engine_contract import EngineContract, bundle


class TestOnnxRuntime(EngineContract):
    name = "onnxruntime"

    @classmethod
    def open(cls) -> Engine:
        return OnnxRuntimeEngine(onnx_file(bundle()), OnnxOptions(streams=2, requests=3))


def identity(path: Path, shape: tuple[int, ...], type_: int = TensorProto.UINT8) -> Path:
    """Write a network that returns its input."""
    takes = helper.make_tensor_value_info("x", type_, shape)
    gives = helper.make_tensor_value_info("y", type_, shape)
    node = helper.make_node("Identity", ["x"], ["y"])
    graph = helper.make_graph([node], "g", [takes], [gives])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(model, path)
    return path


def test_file_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is found the second time, without torch."""
    path = onnx_file(bundle())
    monkeypatch.setattr(onnxruntime, "_make", lambda *_: pytest.fail("made again"))
    assert onnx_file(bundle()) == path
    assert path.exists()


def test_without_torch_the_commands_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a cached file and without torch the error names the commands."""
    monkeypatch.setenv("QLUMEN_CACHE", str(tmp_path))
    monkeypatch.setattr(
        presence, "find_spec", lambda name: None if name == "torch" else find_spec(name)
    )
    with pytest.raises(MissingExtraError, match=r"needs torch.*qlumen\[train\].*qlumen export"):
        onnx_file(bundle())


def test_without_a_cache_folder_it_says_where_to_put_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says what to set when a file is in the folder's place."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("QLUMEN_CACHE", str(tmp_path / "file"))
    with pytest.raises(EngineError, match=r"no cache folder.*QLUMEN_CACHE.*engine\.model"):
        onnx_file(bundle())


@pytest.mark.parametrize("content", [b"", b"not a network", bytes(64)])
def test_damaged_file_is_an_engine_error(tmp_path: Path, content: bytes) -> None:
    """A file that ONNX Runtime cannot read ends in one line that names it."""
    path = tmp_path / "n.onnx"
    path.write_bytes(content)
    with pytest.raises(EngineError, match=r"n\.onnx") as error:
        OnnxRuntimeEngine(path)
    assert "\n" not in str(error.value)


def test_missing_file_is_an_engine_error(tmp_path: Path) -> None:
    """The error names the missing file."""
    with pytest.raises(EngineError, match=r"absent\.onnx"):
        OnnxRuntimeEngine(tmp_path / "absent.onnx")


def test_file_of_another_kind_of_network_is_refused(tmp_path: Path) -> None:
    """The error says what the file has and what it needs."""
    path = identity(tmp_path / "n.onnx", (1, 8, 8, 3))
    with pytest.raises(EngineError, match=r"\[1, 8, 8, 3\].*needs one input \(1, H, W, 3\) uint8"):
        OnnxRuntimeEngine(path)


def test_file_of_another_network_is_refused(tmp_path: Path) -> None:
    """Right shapes are not enough: the file's metadata must name the bundle's network."""
    model = onnx.load(onnx_file(bundle()))
    for entry in model.metadata_props:
        entry.value = "0" * 64
    path = tmp_path / "n.onnx"
    onnx.save(model, path)
    with pytest.raises(EngineError, match=r"made from another network \(000000000000\)"):
        open_onnxruntime(bundle(), EngineSettings(model=path, streams=1))


def test_given_file_is_used() -> None:
    """A named file needs no torch and no cache."""
    settings = EngineSettings(model=onnx_file(bundle()), streams=1, requests=1)
    with open_onnxruntime(bundle(), settings) as engine:
        width, height = engine.input_size
        assert engine.infer(np.zeros((height, width, 3), np.uint8)).dtype == np.float32


def test_precision_that_the_cpu_has_not_is_refused() -> None:
    """A precision that the CPU does not have is an error before anything is made."""
    with pytest.raises(ConfigError, match=r"bf16 is not for onnxruntime on cpu; use f32"):
        open_onnxruntime(bundle(), EngineSettings(precision="bf16", streams=1))


GPU = [*onnxruntime.GPU_PROVIDERS, "CPUExecutionProvider"]


def test_provider_of_a_card_gets_number_cache_and_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`cuda:1` is the second card, engines are kept, and single precision is IEEE.

    A graph is captured where one is asked for.
    """
    monkeypatch.setenv("QLUMEN_CACHE", str(tmp_path))
    monkeypatch.setattr(onnxruntime.ort, "get_available_providers", lambda: GPU)
    found = dict(providers(OnnxOptions("cuda:1", precision="f16"), graph=True))
    assert list(found) == GPU
    assert found[GPU[0]] == {
        "device_id": 1, "trt_fp16_enable": True, "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(tmp_path / "tensorrt-onnx"), "trt_cuda_graph_enable": True,
    }  # fmt: skip
    assert found[GPU[1]] == {"device_id": 1, "use_tf32": False, "enable_cuda_graph": True}
    assert (tmp_path / "tensorrt-onnx").is_dir()
    (tmp_path / "file").touch()
    monkeypatch.setenv("QLUMEN_CACHE", str(tmp_path / "file"))
    assert dict(providers(OnnxOptions("cuda")))[GPU[0]] == {
        "device_id": 0, "trt_fp16_enable": False, "trt_cuda_graph_enable": False,
    }  # fmt: skip


@pytest.mark.parametrize("streams", [1, 2])
def test_network_that_cannot_be_captured_runs_without_a_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, streams: int
) -> None:
    """ONNX Runtime refuses to open such a network as a graph, and two threads may not run one."""
    asked: list[bool] = []

    def refuse(path: str, settings: object, providers: list[tuple[str, dict[str, object]]]) -> None:
        asked.append(bool(dict(providers)[GPU[1]]["enable_cuda_graph"]))
        raise onnxruntime.state.Fail(
            "cannot use the graph capture feature" * asked[-1] or "no card"
        )

    monkeypatch.setenv("QLUMEN_CACHE", str(tmp_path))
    monkeypatch.setattr(onnxruntime.ort, "get_available_providers", lambda: GPU)
    monkeypatch.setattr(onnxruntime.ort, "InferenceSession", refuse)
    with pytest.raises(EngineError, match=r"no card$"):
        OnnxRuntimeEngine(tmp_path / "n.onnx", OnnxOptions("cuda", streams=streams))
    assert asked == ([True, False] if streams == 1 else [False])


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_provider_that_is_listed_and_does_not_load_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """ONNX Runtime itself would run on the CPU without a word."""
    if set(onnxruntime.GPU_PROVIDERS) & set(onnxruntime.ort.get_available_providers()):
        pytest.skip("this ONNX Runtime has a GPU provider")
    monkeypatch.setattr(onnxruntime.ort, "get_available_providers", lambda: GPU)
    path = identity(tmp_path / "n.onnx", (1, 8, 8, 3))
    with pytest.raises(EngineError, match="no provider for cuda that loads"):
        OnnxRuntimeEngine(path, OnnxOptions("cuda"))
    assert f"{GPU[1]}, {GPU[0]} does not load" in caplog.text


def test_missing_provider_is_named() -> None:
    """The error says how to install a provider for NVIDIA's cards."""
    if set(onnxruntime.GPU_PROVIDERS) & set(onnxruntime.ort.get_available_providers()):
        pytest.skip("this ONNX Runtime has a GPU provider")
    settings = EngineSettings(device="cuda", streams=1)
    with pytest.raises(EngineError, match=r"none for cuda; pip install onnxruntime-gpu"):
        open_onnxruntime(bundle(), settings)

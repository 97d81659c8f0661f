"""The engines that need an NVIDIA GPU follow the contract: `make test-gpu`."""

import logging
import shutil
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch

from qlumen.networks.bottlenecks import BottleneckConfig
from qlumen.networks.bundle import Precision
from qlumen.networks.circuit import read_circuit
from qlumen.networks.deploy import read_surrogate
from qlumen.quantum.devices import Device
from qlumen.quantum.surrogate import sample_surrogate
from qlumen.realtime.config.network import EngineSettings
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.engines import tensorrt
from qlumen.realtime.engines.base import Engine
from qlumen.realtime.engines.choose import open_engine
from qlumen.realtime.engines.onnxruntime import GPU_PROVIDERS, open_onnxruntime
from qlumen.realtime.engines.presence import presence
from qlumen.realtime.engines.tensorrt import open_tensorrt
from qlumen.realtime.engines.torch import open_torch

from support.eight_bit_bundle import EightBitContract, eight_bit_bundle
from support.engine_contract import (
    HALF_SHARE,
    EngineContract,
    bundle,
    compiled_form,
    make_images,
)
from support.media import make_images as make_clip
from support.media import read_source, write_video
from support.tiny_bundle import write_tiny_bundle

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch has no CUDA device"),
]
needs_tensorrt = pytest.mark.skipif(
    not presence("tensorrt").usable, reason=presence("tensorrt").detail
)


def settings(precision: Precision = "f32") -> EngineSettings:
    return EngineSettings(device="cuda", precision=precision, streams=1, requests=3)


class TestTorchOnCuda(EngineContract):
    name = "torch"

    @classmethod
    def open(cls) -> Engine:
        return open_torch(bundle(), settings())


class TestTorchOnCudaInHalf(TestTorchOnCuda):
    max_share = HALF_SHARE

    @classmethod
    def open(cls) -> Engine:
        return open_torch(bundle(), settings("f16"))


@pytest.mark.skipif(not shutil.which("c++"), reason="torch.compile needs a C++ compiler")
class TestTorchCompiledOnCuda(TestTorchOnCuda):
    max_share = HALF_SHARE

    @classmethod
    def open(cls) -> Engine:
        return open_torch(bundle(), settings("f16").model_copy(update={"compile": True}))


@pytest.mark.skipif(
    not set(GPU_PROVIDERS) & set(ort.get_available_providers()),
    reason="this ONNX Runtime has no GPU provider",
)
class TestOnnxRuntimeOnCuda(EngineContract):
    name = "onnxruntime"

    @classmethod
    def open(cls) -> Engine:
        return open_onnxruntime(bundle(), settings())


@needs_tensorrt
class TestTensorRt(EngineContract):
    name = "tensorrt"

    @classmethod
    def open(cls) -> Engine:
        return open_tensorrt(bundle(), settings())


@needs_tensorrt
class TestTensorRtInHalf(EngineContract):
    name = "tensorrt"
    max_share = HALF_SHARE

    @classmethod
    def open(cls) -> Engine:
        return open_tensorrt(bundle(), settings("f16"))


@needs_tensorrt
class TestTensorRtInEightBits(EightBitContract):
    name = "tensorrt"

    @classmethod
    def open(cls) -> Engine:
        return open_tensorrt(eight_bit_bundle(), settings("f16"))


@needs_tensorrt
def test_eight_bits_are_in_the_description() -> None:
    """The description has 8 bits and the precision of the other layers."""
    with open_tensorrt(eight_bit_bundle(), settings("f16")) as engine:
        assert engine.describe()["precision"] == "int8 and f16"


@pytest.mark.parametrize("kind", ["vqc", "hqconv"])
def test_network_runs_as_one_cuda_graph(kind: str, tmp_path: Path) -> None:
    """The network is captured and not launched operation by operation, with either circuit."""
    given = bundle()
    if kind == "hqconv":
        given = write_tiny_bundle(tmp_path / "tiny", BottleneckConfig("hqconv", layers=1))
    with open_torch(given, settings()) as engine:
        assert engine.describe()["cuda_graph"] is True


def test_engine_opens_while_another_runs() -> None:
    """Neither loses its graph or mixes its maps with the other's; both run in one process."""
    with open_torch(bundle(), settings()) as first, ThreadPoolExecutor(1) as pool:
        (image,) = make_images(first, 1)
        wanted = first.infer(image)
        opening = pool.submit(open_torch, bundle(), settings())
        while not opening.done():
            np.testing.assert_allclose(first.infer(image), wanted, atol=1e-6)
        with opening.result() as second:
            assert second.describe()["cuda_graph"] is True
            np.testing.assert_allclose(second.infer(image), wanted, atol=1e-6)
            np.testing.assert_allclose(first.infer(image), wanted, atol=1e-6)


def test_memory_does_not_grow() -> None:
    """After 1,000 frames the card holds what it held after the first ones."""
    with open_torch(bundle(), settings()) as engine:
        (image,) = make_images(engine, 1)
        engine.warm_up()
        before = torch.cuda.memory_allocated()
        for _ in range(1000):
            engine.infer(image)
        assert torch.cuda.memory_allocated() == before


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there is one card")
@pytest.mark.parametrize("name", ["torch", "tensorrt", "onnxruntime", "tensorrt-rtx"])
def test_second_card_gives_the_same_map(name: str) -> None:
    """`cuda:1` is the second card for each engine that can run here."""
    if not presence(name).usable:
        pytest.skip(presence(name).detail)
    overrides = [f"engine.name={name}", "engine.device=cuda:1", "engine.precision=f32"]
    with open_engine(bundle(), load_settings(None, overrides)) as engine:
        (image,) = make_images(engine, 1)
        np.testing.assert_allclose(engine.infer(image), compiled_form()(image), atol=1e-3)


@pytest.mark.skipif(not find_spec("pennylane_lightning.lightning_gpu"), reason="no lightning.gpu")
def test_table_sampled_on_a_card_is_the_shipped_one() -> None:
    """`lightning.gpu` gives the table that `lightning.qubit` gave at the export."""
    trained = read_circuit(bundle())
    sampled = sample_surrogate(trained.circuit, trained.weights, Device("lightning.gpu"))
    for got, wanted in zip(sampled.tables, read_surrogate(bundle()).tables, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-12, rtol=0)


@needs_tensorrt
def test_second_start_builds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine comes from the disk."""
    monkeypatch.setenv("QLUMEN_CACHE", str(tmp_path))
    open_tensorrt(bundle(), settings()).close()
    monkeypatch.setattr(
        tensorrt.TorchTensorRt, "build", lambda *_: pytest.fail("built a second time")
    )
    open_tensorrt(bundle(), settings()).close()


@needs_tensorrt
def test_engine_of_other_bytes_is_built_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """TensorRT itself refuses bytes that have the right hash and are no engine."""
    monkeypatch.setenv("QLUMEN_CACHE", str(tmp_path))
    device = torch.device("cuda", 0)
    key = tensorrt.engine_key(bundle(), "f32", device)
    tensorrt.EngineCache("tensorrt").store(key, bytes(4096))
    with caplog.at_level(logging.WARNING), open_tensorrt(bundle(), settings()) as engine:
        engine.warm_up()
    assert "does not load" in caplog.text


def test_frames_that_a_card_decodes_are_those_of_the_cpu(tmp_path: Path) -> None:
    """H.264 has one right result; NVDEC gives it in another layout of the planes."""
    path = write_video(tmp_path / "clip.mp4", make_clip(20, 320, 240))
    (on_card, _), (on_cpu, _) = (
        read_source(path, *settings) for settings in (["source.hardware=cuda"], [])
    )
    assert len(on_card) == len(on_cpu) == 20
    for one, other in zip(on_card, on_cpu, strict=True):
        np.testing.assert_allclose(one.image.astype(int), other.image, atol=2)


def test_auto_takes_the_card() -> None:
    """The automatic choice is TensorRT where it is installed, else torch."""
    with open_engine(bundle(), load_settings()) as engine:
        about = engine.describe()
    wanted = "tensorrt" if presence("tensorrt").usable else "torch"
    assert about["name"] == wanted
    assert about["precision"] == "f16"
    assert about["reason"] == "an NVIDIA GPU is here"

"""The engines that need an NVIDIA GPU follow the contract: `make test-gpu`."""

import logging
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import onnxruntime as ort
import pytest
import torch

from qlumen.calibration.calibration_images import CalibrationImages
from qlumen.calibration.export import Network
from qlumen.calibration.range_search import ranges_of
from qlumen.calibration.ranges import write_ranges
from qlumen.networks.bundle import Bundle, Precision
from qlumen.networks.eightbit import eight_bit_network
from qlumen.realtime.config.network import EngineSettings
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.engines import tensorrt
from qlumen.realtime.engines.base import Engine, Probability
from qlumen.realtime.engines.choose import open_engine
from qlumen.realtime.engines.onnxruntime import GPU_PROVIDERS, open_onnxruntime
from qlumen.realtime.engines.presence import presence
from qlumen.realtime.engines.tensorrt import open_tensorrt
from qlumen.realtime.engines.torch import open_torch
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.segmentation.preprocess import Preprocessor

from support.engine_contract import EngineContract, Remembered, bundle, scene

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch has no CUDA device"),
]
needs_tensorrt = pytest.mark.skipif(
    not presence("tensorrt").usable, reason=presence("tensorrt").detail
)
HALF_SHARE = 1e-3
"""Share of pixels whose mask may differ in half precision."""
EIGHT_BIT_SHARE = 1e-2
"""The same in 8 bits, against torch: a value between two steps may be rounded either way."""


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


@cache
def eight_bit_bundle() -> Bundle:
    """Return the shipped bundle with ranges from frames of the scene."""
    spec = bundle().manifest.input
    prepare = Preprocessor((spec.width, spec.height), spec.fit)
    images = CalibrationImages(("scene",), tuple(prepare(frame.pixels) for frame in scene()))
    folder = Path(mkdtemp(prefix="qlumen-ranges-")) / "bundle"
    return write_ranges(folder, bundle(), ranges_of(bundle(), images), images)


@cache
def torch_rounding() -> Network:
    """Return what TensorRT should compute, on the CPU."""
    network = eight_bit_network(eight_bit_bundle())

    def run(image: Image) -> Probability:
        with torch.no_grad():
            map_: Probability = network(torch.from_numpy(image)[None])[0, 0].numpy()
        return map_

    return Remembered(run)


@needs_tensorrt
class TestTensorRtInEightBits(EngineContract):
    name = "tensorrt"
    max_share = EIGHT_BIT_SHARE

    @staticmethod
    def reference() -> Network:
        return torch_rounding()

    @classmethod
    def open(cls) -> Engine:
        return open_tensorrt(eight_bit_bundle(), settings("f16"))


@needs_tensorrt
def test_eight_bits_are_in_the_description() -> None:
    """The description has 8 bits and the precision of the other layers."""
    with open_tensorrt(eight_bit_bundle(), settings("f16")) as engine:
        assert engine.describe()["precision"] == "int8 and f16"


def test_network_runs_as_one_cuda_graph() -> None:
    """The network is captured and not launched operation by operation."""
    with open_torch(bundle(), settings()) as engine:
        assert engine.describe()["cuda_graph"] is True


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


def test_auto_takes_the_card() -> None:
    """The automatic choice is TensorRT where it is installed, else torch."""
    with open_engine(bundle(), load_settings()) as engine:
        about = engine.describe()
    wanted = "tensorrt" if presence("tensorrt").usable else "torch"
    assert about["name"] == wanted
    assert about["reason"] == "an NVIDIA GPU is here"

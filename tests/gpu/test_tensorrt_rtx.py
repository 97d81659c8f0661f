"""TensorRT-RTX follows the contract of engines on a card that it supports: `make test-gpu`."""

from pathlib import Path

import pytest

from qlumen.networks.bundle import Precision
from qlumen.realtime.config.settings import Settings, load_settings
from qlumen.realtime.engines.base import Engine
from qlumen.realtime.engines.choose import open_engine
from qlumen.realtime.engines.cuda_driver import list_gpus
from qlumen.realtime.engines.presence import presence

from support.eight_bit_bundle import EightBitContract, eight_bit_bundle
from support.engine_contract import HALF_SHARE, EngineContract, bundle

DATA_CENTRE = ("9.", "10.")
"""Compute capabilities that TensorRT-RTX does not support."""
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not presence("tensorrt-rtx").usable, reason=presence("tensorrt-rtx").detail),
    pytest.mark.skipif(
        any(gpu.capability.startswith(DATA_CENTRE) for gpu in list_gpus()),
        reason="TensorRT-RTX does not support this card",
    ),
]


def rtx_settings(precision: Precision) -> Settings:
    return load_settings(None, ["engine.name=tensorrt-rtx", f"engine.precision={precision}"])


class TestTensorRtRtx(EngineContract):
    name = "tensorrt-rtx"

    @classmethod
    def open(cls) -> Engine:
        return open_engine(bundle(), rtx_settings("f32"))


class TestTensorRtRtxInHalf(TestTensorRtRtx):
    max_share = HALF_SHARE

    @classmethod
    def open(cls) -> Engine:
        return open_engine(bundle(), rtx_settings("f16"))


class TestTensorRtRtxInEightBits(EightBitContract):
    name = "tensorrt-rtx"

    @classmethod
    def open(cls) -> Engine:
        return open_engine(eight_bit_bundle(), rtx_settings("f16"))


def test_second_start_of_tensorrt_rtx_compiles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plan and kernels come from the disk, and the library takes its own kernels back."""
    monkeypatch.setenv("QLUMEN_CACHE", str(tmp_path))
    open_engine(bundle(), rtx_settings("f16")).close()
    from qlumen.realtime.engines import tensorrt_rtx

    monkeypatch.setattr(tensorrt_rtx, "make_plan", lambda *_: pytest.fail("compiled again"))
    monkeypatch.setattr(tensorrt_rtx.log, "warning", lambda *_: pytest.fail("kernels not taken"))
    open_engine(bundle(), rtx_settings("f16")).close()

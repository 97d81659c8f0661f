"""Calls a library that has the functions of NVIDIA's driver; see `support/driver_stand_in.py`."""

import ctypes
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from qlumen.errors import EngineError
from qlumen.realtime.engines import cuda_driver as module
from qlumen.realtime.engines.cuda_driver import CudaDevice, Gpu, list_gpus
from qlumen.realtime.engines.presence import nvidia_gpus

from support.driver_stand_in import build_driver

CARDS = (
    Gpu("Stand-in A", "CUDA 13.1", 24576, "8.9"),
    Gpu("Stand-in B", "CUDA 13.1", 24576, "8.9"),
)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    return build_driver(tmp_path_factory.mktemp("driver"))


@pytest.fixture
def driver(library: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[ctypes.CDLL]:
    monkeypatch.setattr(module, "LIBRARY", library)
    module._load.cache_clear()
    yield ctypes.CDLL(library)
    module._load.cache_clear()


def test_cards_are_listed_with_what_the_driver_says(driver: ctypes.CDLL) -> None:
    """Names, memory, compute capability and the driver's CUDA are read."""
    assert list_gpus() == CARDS


def test_container_without_nvidia_smi_has_its_cards(
    driver: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where NVIDIA's program is missing, the driver is asked."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert nvidia_gpus() == CARDS


def test_copies_arrive_and_closing_frees_everything(driver: ctypes.CDLL) -> None:
    """What was uploaded comes back after a wait; memory, streams and contexts are given back."""
    values = np.random.default_rng(0).random((3, 5), np.float32)
    with CudaDevice(1) as device:
        assert device.gpu == CARDS[1]
        assert device.stream
        with device.current():
            address = device.allocate(values.nbytes)
            device.upload(values, address)
            np.testing.assert_array_equal(device.download(address, (3, 5)), values)
        assert driver.stand_in_live() == 1002
        device.close()
    assert driver.stand_in_live() == 0


def test_failure_names_function_and_reason(driver: ctypes.CDLL) -> None:
    """The error has the driver's number for it, also where the caller forgot the context."""
    with (
        CudaDevice() as device,
        pytest.raises(EngineError, match=r"gave CUDA error 201$"),
    ):
        device.allocate(1)
    with (
        CudaDevice() as device,
        device.current(),
        pytest.raises(EngineError, match=r"failed: cuMemAlloc_v2 gave CUDA error 2$"),
    ):
        device.allocate(1 << 41)
    with pytest.raises(EngineError, match="finds 2 GPUs, not number 2"):
        CudaDevice(2)


def test_machine_without_a_driver_has_no_cards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Listing is empty and opening is an error of one line."""
    monkeypatch.setattr(module, "LIBRARY", str(tmp_path / "libcuda.so.1"))
    module._load.cache_clear()
    assert list_gpus() == ()
    with pytest.raises(EngineError, match="NVIDIA's driver is not here"):
        CudaDevice()

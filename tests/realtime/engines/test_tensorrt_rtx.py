"""Compiles networks with NVIDIA's own compiler; a plan runs only on a card, see `tests/gpu`.

Where qlumen's part of a run is tested, NVIDIA's driver is the library of
`support/driver_stand_in.py`, and `StandIn` computes in place of a plan.
"""

import ctypes
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from qlumen.errors import ConfigError, EngineError
from qlumen.networks.bottlenecks import BottleneckConfig
from qlumen.networks.bundle import Bundle
from qlumen.networks.torch_formats import write_onnx
from qlumen.realtime.config.network import EngineSettings
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.engines import cache, cuda_driver
from qlumen.realtime.engines.cache import pack_engine
from qlumen.realtime.engines.choose import open_engine
from qlumen.realtime.engines.cuda_driver import CudaDevice

from support.driver_stand_in import build_driver
from support.engine_contract import bundle, make_images
from support.tiny_bundle import SIDE, add_ranges, write_tiny_bundle

rtx = pytest.importorskip("tensorrt_rtx_bindings", reason="pip install 'qlumen[rtx]'")

from qlumen.realtime.engines import tensorrt_rtx as module  # noqa: E402
from qlumen.realtime.engines.tensorrt_rtx import (  # noqa: E402
    Messages,
    compile_plan,
    load_plan,
    open_tensorrt_rtx,
    plan_key,
    read_plan,
)

CONVOLUTIONS = 59
"""In the encoder, the bottleneck, the decoder and the head."""
EIGHT_BIT = 56
"""Those outside of the bottleneck and the head."""
SHAPE = (1, SIDE, SIDE, 3)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("tiny")
    return write_tiny_bundle(folder, BottleneckConfig("identity", qubits=2))


@pytest.fixture(scope="module", params=["shipped", "hqconv", "int8"])
def onnx(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny: Bundle
) -> tuple[str, bytes]:
    """Write the shipped network in f16, one with `hqconv` in f32, and one in 8 bits and f16."""
    folder, kind = tmp_path_factory.mktemp("onnx"), request.param
    path = folder / "network.onnx"
    if kind == "shipped":
        write_onnx(bundle(), path, "f16")
    elif kind == "hqconv":
        made = write_tiny_bundle(folder / "bundle", BottleneckConfig("hqconv", layers=1))
        write_onnx(made, path)
    else:
        write_onnx(add_ranges(folder / "bundle", tiny), path, "f16", eight_bit=True)
    return kind, path.read_bytes()


def parse(content: bytes) -> Any:
    """Return the network as NVIDIA's parser reads it, with what it must not outlive."""
    messages = Messages()
    builder = rtx.Builder(messages)
    network = builder.create_network(0)
    parser = rtx.OnnxParser(network, messages)
    assert parser.parse(content), messages.last
    return SimpleNamespace(network=network, kept=(messages, builder, parser))


def test_every_layer_has_its_type(onnx: tuple[str, bytes]) -> None:
    """The parser finds bytes in, single precision out, and the convolutions in their precision."""
    kind, content = onnx
    parsed = parse(content)
    network = parsed.network
    side = bundle().manifest.input.width if kind == "shipped" else SIDE
    image, map_ = network.get_input(0), network.get_output(0)
    assert (network.num_inputs, network.num_outputs) == (1, 1)
    assert (image.name, tuple(image.shape)) == ("image", (1, side, side, 3))
    assert (map_.name, tuple(map_.shape)) == ("map", (1, 1, side // 2, side // 2))
    assert (image.dtype, map_.dtype) == (rtx.uint8, rtx.float32)
    layers = [network.get_layer(i) for i in range(network.num_layers)]
    counted = Counter(layer.type for layer in layers)
    assert counted[rtx.LayerType.CONVOLUTION] == CONVOLUTIONS
    pairs = 2 * EIGHT_BIT if kind == "int8" else 0
    assert counted[rtx.LayerType.QUANTIZE] == counted[rtx.LayerType.DEQUANTIZE] == pairs
    types = {
        layer.get_output(0).dtype for layer in layers if layer.type == rtx.LayerType.CONVOLUTION
    }
    assert types == {rtx.float32 if kind == "hqconv" else rtx.float16}
    products = [layer for layer in layers if layer.type == rtx.LayerType.MATRIX_MULTIPLY]
    assert {layer.get_output(0).dtype for layer in products} <= {rtx.float32}
    assert bool(products) == (kind != "int8")  # the circuit's tables


def test_network_compiles_without_a_card(onnx: tuple[str, bytes]) -> None:
    """The compiler makes a plan whose form it knows, in half precision of about half the size."""
    kind, content = onnx
    plan = compile_plan(content)
    _, found = rtx.Runtime(Messages()).get_engine_validity(plan)
    malformed = int(rtx.EngineInvalidityDiagnostics.MALFORMED_ENGINE.value)
    assert not int(found) & malformed
    if kind == "shipped":
        assert 5e6 < len(plan) < 12e6  # the weights alone are 3.7 million


@pytest.mark.parametrize("content", [b"no network", bytes(4096)])
def test_damaged_network_is_an_engine_error(content: bytes) -> None:
    """The error has the parser's reason in one line."""
    with pytest.raises(EngineError, match=r"cannot (read|compile) the network: .") as error:
        compile_plan(content)
    assert "\n" not in str(error.value)


def test_damaged_plan_is_refused_by_the_library() -> None:
    """Bytes that are no plan are malformed by NVIDIA's own check, and the card is named."""
    messages = Messages()
    with pytest.raises(EngineError, match=r"cannot run on RTX 4090: .*malformed engine"):
        load_plan(bytes(4096), rtx.Runtime(messages), messages, "RTX 4090")


def test_plan_file_is_read_only_for_its_network(
    tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flipped bit, another network, precision or version is an error that says what to do."""
    path = tmp_path / "network.plan"
    key = plan_key(tiny, "f16")
    path.write_bytes(pack_engine(key, b"plan"))
    assert read_plan(path, key) == b"plan"
    again = r"write it again with qlumen export --format tensorrt-rtx"
    with pytest.raises(EngineError, match=rf"in f32 for .*made for something else.*{again}"):
        read_plan(path, plan_key(tiny, "f32"))
    with pytest.raises(EngineError, match="made for something else"):
        read_plan(path, plan_key(bundle(), "f16"))
    with monkeypatch.context() as patch:
        patch.setattr(cache, "installed_version", lambda _: "2.0")
        with pytest.raises(EngineError, match="made for something else"):
            read_plan(path, plan_key(tiny, "f16"))
    for content in (path.read_bytes()[:-1], b"", b"[]\n", b"plan", b'{"key": 1}\nplan'):
        path.write_bytes(content)
        with pytest.raises(EngineError, match=again):
            read_plan(path, key)
    with pytest.raises(EngineError, match=r"absent\.plan cannot be read: No such file"):
        read_plan(tmp_path / "absent.plan", key)


@pytest.mark.skipif(bool(cuda_driver.list_gpus()), reason="there is a card")
def test_machine_without_a_card_gets_one_line() -> None:
    """The error says that the driver is missing, and no other engine runs in its place."""
    with pytest.raises(EngineError, match="NVIDIA's driver is not here") as error:
        open_engine(bundle(), load_settings(None, ["engine.name=tensorrt-rtx"]))
    assert "\n" not in str(error.value)


class StandIn:
    """Gives every second byte of the image's first channel as the map, by addresses alone."""

    fails = False

    def __init__(self) -> None:
        self.addresses: dict[str, int] = {}

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return SHAPE if name == "image" else (1, 1, SIDE // 2, SIDE // 2)

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def execute_async_v3(self, stream: int) -> bool:
        image = (ctypes.c_uint8 * (SIDE * SIDE * 3)).from_address(self.addresses["image"])
        map_ = (ctypes.c_float * (SIDE * SIDE // 4)).from_address(self.addresses["map"])
        values = np.frombuffer(image, np.uint8).reshape(SHAPE)
        np.frombuffer(map_, np.float32)[:] = values[0, ::2, ::2, 0].ravel() / np.float32(255)
        return bool(stream) and not self.fails

    def serialize(self) -> bytes:
        return b"kernels"


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ctypes.CDLL]:
    """Put stand-ins in the place of a card and of what runs on it."""
    library = build_driver(tmp_path)
    monkeypatch.setattr(cuda_driver, "LIBRARY", library)
    monkeypatch.setenv("QLUMEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "load_plan", lambda *_: StandIn())
    monkeypatch.setattr(module, "make_context", lambda engine, kernels: (engine, engine))
    monkeypatch.setattr(module, "make_plan", lambda *_: b"plan")
    cuda_driver._load.cache_clear()
    yield ctypes.CDLL(library)
    cuda_driver._load.cache_clear()


def test_frames_in_flight_get_their_own_maps(driver: ctypes.CDLL, tiny: Bundle) -> None:
    """Images are copied to the card and maps from it, also in another order; closing frees all."""
    with open_tensorrt_rtx(tiny, EngineSettings(device="cuda:1", requests=3)) as engine:
        images = make_images(engine, 3)
        tickets = [engine.submit(image) for image in images]
        for image, ticket in reversed(list(zip(images, tickets, strict=True))):
            wanted = image[::2, ::2, 0] / np.float32(255)
            np.testing.assert_array_equal(ticket.result(), wanted)
        about = engine.describe()
        assert (about["name"], about["device"]) == ("tensorrt-rtx", "Stand-in B")
        assert (about["precision"], about["requests"]) == ("f16", 3)
    engine.close()
    assert driver.stand_in_live() == 0


def test_second_start_compiles_nothing(
    driver: ctypes.CDLL, tiny: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plan and kernels are kept, the kernels for their card, but not before a frame ran."""
    monkeypatch.setattr(StandIn, "fails", True)
    with pytest.raises(EngineError, match="failed on a frame"):
        open_tensorrt_rtx(tiny, EngineSettings())
    assert driver.stand_in_live() == 0
    cache = module.EngineCache("tensorrt-rtx")
    assert cache.load(plan_key(tiny, "f16")) is None
    monkeypatch.setattr(StandIn, "fails", False)
    open_tensorrt_rtx(tiny, EngineSettings()).close()
    monkeypatch.setattr(module, "make_plan", lambda *_: pytest.fail("compiled again"))
    given: list[bytes | None] = []
    monkeypatch.setattr(
        module, "make_context", lambda engine, kernels: (given.append(kernels), engine)[1:] * 2
    )
    for device in ("cuda", "cuda:1"):
        open_tensorrt_rtx(tiny, EngineSettings(device=device)).close()
    assert given == [b"kernels", None]


def test_precision_that_a_card_has_not_is_refused(driver: ctypes.CDLL, tiny: Bundle) -> None:
    """bf16 draws other masks; the card is given back."""
    with pytest.raises(ConfigError, match="bf16 is not for NVIDIA GPUs"):
        open_tensorrt_rtx(tiny, EngineSettings(precision="bf16"))
    assert driver.stand_in_live() == 0


def test_unsupported_card_gets_one_line(
    driver: ctypes.CDLL, tiny: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What TensorRT-RTX says against a card is the reason; here its check answers for sm_90."""
    unsupported = rtx.EngineInvalidityDiagnostics.UNSUPPORTED_CC.value
    runtime = SimpleNamespace(
        get_engine_validity=lambda _: (rtx.EngineValidity.INVALID, unsupported)
    )
    monkeypatch.setattr(rtx, "Runtime", lambda _: runtime)
    monkeypatch.setattr(module, "load_plan", load_plan)
    with pytest.raises(EngineError, match=r"cannot run on Stand-in A: unsupported cc$"):
        open_tensorrt_rtx(tiny, EngineSettings())
    assert driver.stand_in_live() == 0


def test_classes_of_the_library_have_what_a_run_needs() -> None:
    """The calls that only a card can try exist in the installed version."""
    for owner, names in {
        rtx.ICudaEngine: ("create_runtime_config", "create_execution_context", "get_tensor_shape"),
        rtx.IRuntimeConfig: ("create_runtime_cache", "set_runtime_cache", "cuda_graph_strategy"),
        rtx.IRuntimeCache: ("serialize", "deserialize"),
        rtx.IExecutionContext: ("set_tensor_address", "execute_async_v3"),
    }.items():
        assert all(hasattr(owner, name) for name in names)
    assert CudaDevice.stream.fget is not None  # type: ignore[attr-defined]

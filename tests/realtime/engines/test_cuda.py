"""What torch does on a card, as far as it can be tested without one; see also `tests/gpu`."""

import gc
import subprocess
import sys
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from qlumen.errors import ConfigError
from qlumen.networks.deploy import deploy_network
from qlumen.realtime.config.network import EngineSettings
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.engines import cuda
from qlumen.realtime.engines.base import Engine, gpu_precision
from qlumen.realtime.engines.choose import open_engine
from qlumen.realtime.engines.cuda import (
    GPU_COMPILE,
    CudaEngine,
    compile_network,
    exact_convolutions,
    open_cuda,
    put_channels_last,
)

from support.cuda_stand_in import NOT_PERMITTED, Capture, Graph, put_in_place
from support.engine_contract import EngineContract, bundle, make_images


def test_precision_on_a_card() -> None:
    """It is f16 unless the settings say f32; bf16 is refused before anything is opened."""
    assert gpu_precision(EngineSettings()) == "f16"
    assert gpu_precision(EngineSettings(precision="f32")) == "f32"
    overrides = ["engine.name=torch", "engine.device=cuda", "engine.precision=bf16"]
    with pytest.raises(ConfigError, match=r"bf16 is not for NVIDIA GPUs.*use f16"):
        open_engine(bundle(), load_settings(None, overrides))


def test_single_precision_is_ieee_only_inside() -> None:
    """cuDNN's TF32 is off and its search for fast kernels on; after that both are as before."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, cudnn.benchmark, cudnn.conv.fp32_precision, matmul.fp32_precision
    with exact_convolutions():
        assert (cudnn.allow_tf32, cudnn.benchmark) == (False, True)
        assert {cudnn.conv.fp32_precision, matmul.fp32_precision} == {"ieee"}
    after = cudnn.allow_tf32, cudnn.benchmark, cudnn.conv.fp32_precision, matmul.fp32_precision
    assert after == before


def test_every_convolution_of_the_network_works_channels_last() -> None:
    """No convolution gets or gives another layout, and the map is that of the default layout."""
    plain, network = deploy_network(bundle()), put_channels_last(deploy_network(bundle()))
    layouts: list[bool] = []

    def note(module: nn.Module, given: tuple[Tensor, ...], result: Tensor) -> None:
        layouts.extend(x.is_contiguous(memory_format=torch.channels_last) for x in (*given, result))

    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    for module in convolutions:
        module.register_forward_hook(note)
    torch.manual_seed(0)
    image = torch.randint(0, 256, (1, 96, 96, 3), dtype=torch.uint8)
    with torch.no_grad():
        torch.testing.assert_close(network(image), plain(image), atol=1e-5, rtol=0)
    assert len(layouts) == 2 * len(convolutions) > 100
    assert all(layouts)


def test_options_of_the_compiler_exist() -> None:
    """Inductor knows the options, which are its mode max-autotune-no-cudagraphs with freezing."""
    mode = torch._inductor.list_mode_options("max-autotune-no-cudagraphs")
    assert mode | {"freezing": True} == GPU_COMPILE
    compile_network(nn.Identity(), GPU_COMPILE)
    with pytest.raises(RuntimeError, match="Unexpected optimization option"):
        compile_network(nn.Identity(), {"no_such_option": True})


class TestTorchOnStandIn(EngineContract):
    """Runs the shipped network as the graphs that a card would run."""

    name = "torch"

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def card(cls) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            put_in_place(patch)
            yield

    @classmethod
    def open(cls) -> Engine:
        return open_cuda(bundle(), EngineSettings(precision="f32", requests=3), "cuda")

    def test_a_frame_is_one_launch(self, engine: Engine) -> None:
        """Copies and network are one graph, whose capture disturbs no other thread."""
        assert engine.describe()["cuda_graph"] is True
        assert set(Capture.modes) == {"thread_local"}
        before = Graph.launches
        for image in make_images(engine, 5):
            engine.infer(image)
        assert Graph.launches == before + 5


@pytest.mark.parametrize("fails", [False, True])
def test_network_lives_as_long_as_its_graphs(monkeypatch: pytest.MonkeyPatch, fails: bool) -> None:
    """A graph holds no reference to the weights that it reads; without one the map is the same."""

    class Network(nn.Module):
        def forward(self, image: Tensor) -> Tensor:
            assert not torch.backends.cudnn.allow_tf32
            return image.float().mean(3)[:, None, ::2, ::2] / 255

    put_in_place(monkeypatch)
    monkeypatch.setattr(Capture, "fails", fails)
    said: list[str] = []
    monkeypatch.setattr(cuda.log, "warning", lambda text, *given: said.append(text % given))
    network, about = Network(), {"name": "torch"}
    kept = weakref.ref(network)
    with CudaEngine(network, (8, 6), torch.device("cpu"), requests=2, about=about) as engine:
        del network
        gc.collect()
        assert kept() is not None
        assert engine.describe()["cuda_graph"] is not fails
        assert said == [f"the network runs without a CUDA graph: {NOT_PERMITTED}"] * 2 * fails
        (image,) = make_images(engine, 1)
        wanted = image.astype(np.float32).mean(2)[::2, ::2] / 255
        np.testing.assert_allclose(engine.infer(image), wanted, atol=1e-6)


def test_torch_runs_without_openvino() -> None:
    """Choosing and opening torch imports no OpenVINO, which a machine with a card may lack."""
    code = (
        "import sys; sys.modules['openvino'] = None\n"
        "from qlumen.networks.bundle import read_bundle, find_bundle\n"
        "from qlumen.realtime.config.settings import load_settings\n"
        "from qlumen.realtime.engines.choose import open_engine\n"
        "settings = load_settings(None, ['engine.name=torch', 'engine.device=cpu'])\n"
        "open_engine(read_bundle(find_bundle()), settings).close()\n"
        "print('OPENED')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "OPENED\n", done.stderr

"""What torch does on a card, as far as it can be tested without one; see also `tests/gpu`."""

import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from qlumen.errors import ConfigError
from qlumen.networks.deploy import deploy_network
from qlumen.realtime.config.network import EngineSettings
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.engines import cuda
from qlumen.realtime.engines.base import gpu_precision
from qlumen.realtime.engines.choose import open_engine
from qlumen.realtime.engines.cuda import (
    GPU_COMPILE,
    compile_network,
    exact_convolutions,
    put_channels_last,
)

from support.engine_contract import bundle


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


NOT_PERMITTED = "operation not permitted when stream is capturing"


class Recorded:
    """Stands in for the objects of CUDA in torch, and keeps what they are called with."""

    def __init__(self, *, fails: bool = False) -> None:
        self.calls: list[object] = []
        self.fails = fails

    def __call__(self, *given: object, **options: object) -> "Recorded":
        self.calls.append(options or given)
        return self

    def __enter__(self) -> None:
        if self.fails:
            raise RuntimeError(f"{NOT_PERMITTED}\nand more")

    def __exit__(self, *_: object) -> None: ...

    def __getattr__(self, name: str) -> "Recorded":
        return self


@pytest.mark.parametrize("fails", [False, True])
def test_capture_does_not_disturb_other_threads(
    monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """The capture is one of its thread only; if it fails, the network is launched each time."""
    graph = Recorded(fails=fails)
    for name in ("current_stream", "stream", "CUDAGraph"):
        monkeypatch.setattr(torch.cuda, name, Recorded())
    monkeypatch.setattr(torch.cuda, "graph", graph)
    monkeypatch.setattr(cuda, "log", log := Recorded())
    flags: list[bool] = []

    def run(image: Tensor) -> Tensor:
        flags.append(torch.backends.cudnn.allow_tf32)
        return image + len(flags)

    replay: Callable[[], Tensor]
    replay, _, captured = cuda.capture(run, torch.zeros(1), Recorded())  # type: ignore[arg-type]
    assert graph.calls[0]["capture_error_mode"] == "thread_local"  # type: ignore[index]
    assert captured is not fails
    assert flags == [False] * (cuda.CAPTURE_WARM_UPS + captured)
    replay()
    assert len(flags) == cuda.CAPTURE_WARM_UPS + 1
    said = ("the network runs without a CUDA graph: %s", NOT_PERMITTED)
    assert log.calls == [said] * fails


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

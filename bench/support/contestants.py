"""Builds the networks of `bench/engines.py`; all except qlumen's have random weights.

Install `segmentation-models-pytorch` and `timm` without their dependencies (`pip install --no-deps
segmentation-models-pytorch timm`). Both import torchvision. Where it is missing, an empty module
replaces it: the encoders are timm's (`tu-`), which do not use it.
"""

import sys
from collections.abc import Callable, Collection, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from qlumen.networks.bundle import Bundle
from qlumen.networks.deploy import deploy_network

from support.classic_unet import ClassicUNet

SMP_ENCODERS = {"smp_unet_resnet34": "tu-resnet34", "smp_unet_mobilenet_v2": "tu-mobilenetv2_100"}


class FromBytes(nn.Module):
    """Converts the input of qlumen's engines, `(1, H, W, 3) uint8`, to `(N, 3, H, W)`."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        return torch.sigmoid(self.network(image.float().permute(0, 3, 1, 2) / 255))


def networks(bundle: Bundle, only: Collection[str] | None = None) -> dict[str, nn.Module]:
    """Return networks in evaluation mode, from bytes to probabilities; all, or `only` some."""
    made: dict[str, Callable[[], nn.Module]] = {
        "qlumen": lambda: deploy_network(bundle),
        "classic_unet": lambda: FromBytes(ClassicUNet()),
        **{name: _smp(encoder) for name, encoder in SMP_ENCODERS.items()},
    }
    torch.manual_seed(0)
    wanted = {name: make for name, make in made.items() if only is None or name in only}
    return {name: make().eval().requires_grad_(False) for name, make in wanted.items()}


def macs(network: nn.Module, image: Tensor) -> int:
    """Count multiply-accumulates of a frame: half of torch's floating-point operations."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    return counter.get_total_flops() // 2


def _smp(encoder: str) -> Callable[[], nn.Module]:
    def make() -> nn.Module:
        _stand_in_for_torchvision()
        from segmentation_models_pytorch import Unet

        return FromBytes(Unet(encoder, encoder_weights=None, classes=1))

    return make


def _stand_in_for_torchvision() -> None:
    """Let imports of torchvision succeed where it is missing: timm's encoders do not use it."""
    if find_spec("torchvision") is None:
        sys.meta_path.append(_Finder())


class _Finder(MetaPathFinder, Loader):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        ours = name.partition(".")[0] == "torchvision"
        return ModuleSpec(name, self, is_package=True) if ours else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Empty(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


class _Empty(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Names(name, (), {})


class _Names(type):
    """Makes classes whose attributes are their own names."""

    def __getattr__(cls, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return name

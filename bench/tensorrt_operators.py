"""Checks without a GPU whether Torch-TensorRT can convert all of qlumen's network.

It runs the real lowering and the real converter registry of a torch-tensorrt wheel on the exported
network. An empty package replaces only TensorRT itself, which needs a GPU machine. Every operator
of the lowered graph must have a converter that accepts its node. The library must take the
arguments that the engine passes.

    pip download --no-deps --dest wheels torch-tensorrt
    python bench/tensorrt_operators.py wheels/torch_tensorrt-*.whl --json FILE

With nvidia-modelopt, which defines the operator, it also checks the network in 8 bits. Nothing is
converted or run: that needs the card and `make test-gpu`.
"""

import argparse
import importlib.util
import json
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import torch

from qlumen.networks.bottlenecks import GRID_SIDE, BottleneckConfig
from qlumen.networks.bundle import Bundle, find_bundle, read_bundle
from qlumen.networks.deploy import deploy_network, export_program
from qlumen.networks.eightbit import INPUT as LAYER_INPUT
from qlumen.networks.eightbit import WEIGHT as LAYER_WEIGHT
from qlumen.networks.eightbit import define_operator, eight_bit_layers, quantise
from qlumen.networks.export import Deployed
from qlumen.networks.unet import NetworkConfig, UNet
from qlumen.quantum.modules import FrozenGrid
from qlumen.realtime.engines.tensorrt import INPUT, OUTPUT

STRUCTURE = ("placeholder", "get_attr", "output")
"""Nodes of a graph that compute nothing."""
BUILD_ARGUMENTS = (
    "exported_program", "arg_inputs", "device", "arg_input_binding_names", "output_binding_names",
    "disable_tf32",
)  # fmt: skip
LOAD_ARGUMENTS = (
    "serialized_engine", "input_binding_names", "output_binding_names", "settings",
)  # fmt: skip
Program = torch.export.ExportedProgram


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    arguments.add_argument("wheel", type=Path, help="wheel of torch-tensorrt")
    arguments.add_argument("--json", type=Path, metavar="FILE", help="also write the report here")
    options = arguments.parse_args()
    with TemporaryDirectory() as folder:
        _unpack(options.wheel, Path(folder))
        with _empty_tensorrt():
            sys.path.insert(0, folder)
            rows = [_check(name, make()) for name, make in _programs().items()]
            wrong = _wrong_arguments()
    for row in rows:
        print(f"{row['network']}: {row['nodes']} nodes, {len(row['operators'])} operators, "
              f"{len(row['missing'])} without a converter: {row['missing']}")  # fmt: skip
    print(f"{len(wrong)} arguments that the library does not take: {wrong}")
    report = {"wheel": options.wheel.name, "torch": torch.__version__, "networks": rows}
    if options.json:
        options.json.write_text(json.dumps(report | {"wrong_arguments": wrong}, indent=2) + "\n")
    sys.exit(1 if wrong or any(row["missing"] for row in rows) else 0)


def _programs() -> dict[str, Callable[[], Program]]:
    programs: dict[str, Callable[[], Program]] = {
        f"shipped {precision}": lambda p=precision: _export(read_bundle(find_bundle()), p)
        for precision in ("f32", "f16")
    }
    programs["hqconv f32"] = _hqconv
    if importlib.util.find_spec("modelopt"):
        for precision in ("f32", "f16"):
            programs[f"shipped, 8 bits and {precision}"] = lambda p=precision: _eight_bit(p)
    else:
        print("nvidia-modelopt is not installed; the quantised graph is not checked")
    return programs


def _export(bundle: Bundle, precision: Any) -> Program:
    return export_program(deploy_network(bundle, precision), _size(bundle))


def _hqconv() -> Program:
    """Export the other circuit; the values of its tables change no operator."""
    network = UNet(NetworkConfig(bottleneck=BottleneckConfig("hqconv", layers=1))).eval()
    network.bottleneck.core = FrozenGrid(torch.zeros(256, 12), torch.zeros(256, 8), GRID_SIDE)
    return export_program(Deployed(network), _size(read_bundle(find_bundle())))


def _eight_bit(precision: Any) -> Program:
    """Export as the engine does for a bundle with ranges; their values change no operator."""
    bundle = read_bundle(find_bundle())
    network = deploy_network(bundle, precision)
    ranges = {}
    for name, layer in eight_bit_layers(network).items():
        ranges[f"{name}.{LAYER_INPUT}"] = torch.tensor(6.0)
        ranges[f"{name}.{LAYER_WEIGHT}"] = torch.ones(layer.out_channels, 1, 1, 1)
    define_operator()
    return export_program(quantise(network, ranges, operators=True), _size(bundle))


def _size(bundle: Bundle) -> tuple[int, int]:
    return bundle.manifest.input.width, bundle.manifest.input.height


def _check(name: str, program: Program) -> dict[str, Any]:
    """Lower `program` as Torch-TensorRT does and look every operator up in its registry."""
    from torch_tensorrt.dynamo._settings import CompilationSettings
    from torch_tensorrt.dynamo.conversion import DYNAMO_CONVERTERS
    from torch_tensorrt.dynamo.lowering import (
        get_decompositions,
        post_lowering,
        pre_export_lowering,
    )

    settings = CompilationSettings()
    DYNAMO_CONVERTERS.set_compilation_settings(settings)
    lowered = pre_export_lowering(program, settings).run_decompositions(get_decompositions())
    graph = post_lowering(lowered.module(), settings).graph
    computing = [node for node in graph.nodes if node.op not in STRUCTURE]
    return {
        "network": name,
        "nodes": len(computing),
        "operators": dict(Counter(str(node.target) for node in computing)),
        "missing": sorted({str(n.target) for n in computing if n not in DYNAMO_CONVERTERS}),
    }


def _wrong_arguments() -> list[str]:
    """List arguments of `realtime/engines/tensorrt.py` that the library does not take."""
    import torch_tensorrt
    from torch_tensorrt.dynamo._compiler import _binding_name_specs, _resolve_pytree_binding_names

    build = torch_tensorrt.dynamo.convert_exported_program_to_serialized_trt_engine
    load = torch_tensorrt.runtime.TorchTensorRTModule
    wrong = [name for name in BUILD_ARGUMENTS if name not in signature(build).parameters]
    wrong += [name for name in LOAD_ARGUMENTS if name not in signature(load).parameters]
    program = _export(read_bundle(find_bundle()), "f32")
    takes, _, gives = _binding_name_specs(program)
    assert _resolve_pytree_binding_names((INPUT,), "arg_input", takes) == [INPUT]
    assert _resolve_pytree_binding_names(OUTPUT, "output", gives) == [OUTPUT]
    return wrong


def _unpack(wheel: Path, folder: Path) -> None:
    """Extract only the Python files: without its compiled part the library needs no CUDA."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if name.endswith((".py", "METADATA")):
                archive.extract(name, folder)


class _Anything(type):
    """Makes classes that have every attribute and take every argument."""

    def __getattr__(cls, name: str) -> "_Anything":
        return _make_class(cls, name)


def _make_class(owner: Any, name: str) -> _Anything:
    if name.startswith("__"):
        raise AttributeError(name)
    made = _Anything(name, (), {"__init__": lambda self, *args, **kwargs: None})
    setattr(owner, name, made)
    return made


class _Empty(ModuleType):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__file__, self.__path__, self.__package__ = f"/nowhere/{name}.py", [], name
        self.__loader__, self.__spec__ = None, ModuleSpec(name, None, is_package=True)

    def __getattr__(self, name: str) -> Any:
        if name == "tensorrt_rtx":
            raise AttributeError(name)
        return _make_class(self, name)


@contextmanager
def _empty_tensorrt() -> Iterator[None]:
    """Provide an empty TensorRT and a GPU's name for the import of Torch-TensorRT."""
    tensorrt, dllist = _Empty("tensorrt"), _Empty("dllist")
    tensorrt.__version__, tensorrt.tensorrt = "11.1.0", tensorrt
    dllist.dllist = list
    sys.modules.update(tensorrt=tensorrt, dllist=dllist)
    torch.cuda.get_device_capability = lambda device=None: (9, 0)
    torch.cuda.get_device_name = lambda device=None: "none"
    torch.cuda.current_device = lambda: 0
    if not hasattr(torch._C, "_CudaDeviceProperties"):
        torch._C._CudaDeviceProperties = object
    yield
    del sys.modules["tensorrt"], sys.modules["dllist"]


if __name__ == "__main__":
    main()

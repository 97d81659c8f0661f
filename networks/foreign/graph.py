"""Fits a network into the graph that OpenVINO's engine runs, and runs the original beside it.

    image (1, H, W, 3) uint8 BGR -> preparation -> network -> logits -> sigmoid

Logits are made for every network, also for one that gives probabilities, so that a temperature
can divide them. What lies behind the last convolutions has names that INT8 leaves alone.
"""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from qlumen.errors import BundleError, UsageError
from qlumen.networks.foreign.description import Facts, Foreign, choose_class
from qlumen.networks.foreign.steps import Prepare, ReadAll, ReadMap
from qlumen.networks.openvino import ov

HEAD = "network.head"
LAST_LAYERS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul")
Image = NDArray[np.uint8]
Probability = NDArray[np.float32]


def convert(
    foreign: Foreign, facts: Facts
) -> tuple[ov.Model, Facts, Callable[[Image], Probability]]:
    """Convert a network for the size in `facts`.

    Returns:
        The graph, the facts with the chosen class, and a function from `(H, W, 3) uint8` BGR to
        the map of that class, of the original in its own runtime: ONNX Runtime or torch.

    Raises:
        BundleError: the network gives no map.
        UsageError: the class is not known.
    """
    assert facts.size
    columns, rows = facts.size
    width, height = (columns, rows) if facts.axes == "yx" else (rows, columns)
    shape = [1, foreign.channels, height, width]
    if foreign.channels_last:
        shape = [1, height, width, foreign.channels]
    if isinstance(foreign.network, Path):
        core = ov.Core().read_model(foreign.network)
        core.reshape({core.input(0): shape})
        run = _open_onnx(foreign.network)
    else:
        core = _to_openvino(foreign.network, [torch.zeros(shape)])
        run = foreign.network
    examples = [_example(port) for port in core.outputs]
    facts = choose_class(foreign, facts, _count_classes(foreign, facts, examples))
    if not foreign.read_boxes:
        examples = examples[:1]
    assert facts.target
    shapes, make = [one.shape for one in examples], foreign.read_boxes or ReadMap
    read = ReadAll(
        make(facts.model_copy(update={"target": one}), shapes)
        for one in (facts.target, *facts.others)
    )
    prepare = Prepare(foreign, facts, _example(core.input(0)).dtype)
    image = torch.zeros(1, rows, columns, 3, dtype=torch.uint8)
    model = _join(_join(_to_openvino(prepare, [image]), core), _to_openvino(read, examples))
    _name_layers(model, LAST_LAYERS[:-1] if foreign.read_boxes else LAST_LAYERS)

    def infer(image: Image) -> Probability:
        with torch.no_grad():
            outputs = run(prepare(torch.from_numpy(image)[None]))
            outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
            _check_range(facts, outputs[0])
            map_: Probability = read(*outputs[: len(examples)])[0, 0].numpy()
        return np.ascontiguousarray(map_)

    return model, facts, infer


def _to_openvino(module: nn.Module, examples: Sequence[Tensor]) -> ov.Model:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        model = ov.convert_model(torch.export.export(module, tuple(examples), strict=False))
    sizes = zip(model.inputs, examples, strict=True)
    model.reshape({port: list(example.shape) for port, example in sizes})
    return model


def _open_onnx(path: Path) -> Callable[[Tensor], list[Tensor]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda values: [
        torch.from_numpy(one) for one in session.run(None, {name: values.contiguous().numpy()})
    ]


def _example(port: Any) -> Tensor:
    if port.get_partial_shape().is_dynamic:
        raise BundleError("the network's output has no fixed shape; export it with a static shape")
    return torch.from_numpy(np.zeros(list(port.shape), port.get_element_type().to_dtype()))


def _count_classes(foreign: Foreign, facts: Facts, outputs: Sequence[Tensor]) -> int:
    first, named = outputs[0], max(1, len(foreign.classes))
    if foreign.read_boxes:
        ordinary = first.shape[1] - 4 - outputs[1].shape[1]
        return named if first.shape[2] == 6 + outputs[1].shape[1] else ordinary
    if first.dim() not in (3, 4) or first.shape[0] != 1:
        raise BundleError(f"the network's output is {list(first.shape)}, no map of one image")
    if not first.is_floating_point():
        return max(named, 2, 1 + (facts.target or ("", 0))[1])
    return 1 if first.dim() == 3 else min(first.shape[1], first.shape[3])


def _join(first: ov.Model, second: ov.Model) -> ov.Model:
    for output, parameter in zip(first.outputs, second.inputs, strict=False):
        source = output.get_node().input_value(0)
        for target in parameter.get_node().output(0).get_target_inputs():
            target.replace_source_output(source)
    return ov.Model(second.get_results(), first.get_parameters())


def _name_layers(model: ov.Model, last: Sequence[str]) -> None:
    """Name the last layers and what lies behind them as parts of the head; make names unique."""
    head: set[str] = set()
    waiting = [result.input_value(0).get_node() for result in model.get_results()]
    while waiting:
        node = waiting.pop()
        if node.get_name() not in head and node.get_type_name() not in ("Constant", "Parameter"):
            head.add(node.get_name())
            if node.get_type_name() not in last:
                waiting += [value.get_node() for value in node.input_values()]
    for number, op in enumerate(model.get_ordered_ops()):
        name = HEAD if op.get_name() in head else op.get_friendly_name()
        op.set_friendly_name(f"{name}/{number}")


def _check_range(facts: Facts, values: Tensor) -> None:
    low, high = float(values.min()), float(values.max())
    known = facts.activation == "none" and values.dim() == 4 and values.is_floating_point()
    if known and (low < -1e-3 or high > 1 + 1e-3):
        raise UsageError(
            f"the output goes from {low:.3g} to {high:.3g}, so it holds no probabilities; "
            "give --activation sigmoid or softmax"
        )

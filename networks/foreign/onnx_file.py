"""Reads an ONNX file: one image in, one map out, or the layout of Ultralytics' `-seg` exports."""

import ast
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import onnx
from onnx import checker

from qlumen.errors import BundleError
from qlumen.networks.foreign.description import Facts, Foreign
from qlumen.networks.foreign.files import read_file
from qlumen.networks.foreign.steps import BOXES, ReadBoxes

DOMAINS = ("", "ai.onnx")
"""Domains of ONNX's own operators."""
PASSING = ("Identity", "Cast", "Squeeze", "Unsqueeze", "Transpose")
"""Operators that leave probabilities what they are."""
PROBABILITIES = ("Sigmoid", "Softmax", "ArgMax")
LONGEST_TEXT = 1 << 16
LEFT_OUT = (
    "boxes are not suppressed: masks of overlapping boxes join",
    f"only the {BOXES} boxes with the best scores have masks",
    "bars of a letterbox are black, not grey (114)",
)


def read_onnx(path: Path, answers: Facts) -> Foreign:
    """Read an ONNX file; refuse files outside, and operators that are not ONNX's own."""
    model = onnx.load_model_from_string(read_file(path))
    _check(path, model)
    known = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in known]
    shape = _shape(inputs[0]) if len(inputs) == 1 else []
    outputs = [_shape(value) for value in model.graph.output]
    nodes = {output: node for node in model.graph.node for output in node.output}
    node = nodes[model.graph.output[0].name]
    seen = (
        f"input {', '.join(map(_show, inputs))}, output {', '.join(map(_show, model.graph.output))}"
        f" of {node.op_type}"
    )
    if len(shape) != 4 or shape[0] not in (0, 1):
        raise BundleError(f"{path}: {seen}; want a batch of one image, 1x3xHxW or 1xHxWx3")
    for _ in nodes:
        node = nodes.get(node.input[0], node) if node.op_type in PASSING else node
    last = shape[1] not in (1, 3) and shape[3] in (1, 3)
    height, width = shape[1:3] if last else shape[2:]
    foreign = Foreign(
        kind="onnx",
        network=path,
        facts=Facts(
            size=(width, height) if width and height else None,
            activation="none" if node.op_type in PROBABILITIES else None,
        ),
        channels=shape[3 if last else 1] or 3,
        seen=seen,
        details={"producer": model.producer_name[:100]},
        channels_last=last,
    )
    said = {p.key: p.value for p in model.metadata_props if len(p.value) < LONGEST_TEXT}
    if [len(one) for one in outputs] == [3, 4] and said.get("task", "segment") == "segment":
        return _describe_boxes(foreign, said)
    if len(outputs) != 1:
        raise BundleError(f"{path}: {seen}; want one output, the map")
    return foreign


def _describe_boxes(foreign: Foreign, said: dict[str, str]) -> Foreign:
    """Add what the layout and the metadata of Ultralytics say."""
    names = ast.literal_eval(said.get("names", "{}"))
    classes = {int(number): str(name)[:100] for number, name in names.items()}
    known = Facts(channels="rgb", normalise="unit", fit="letterbox", activation="none",
                  licence=said.get("license"))  # fmt: skip
    return replace(
        foreign,
        kind="ultralytics",
        facts=foreign.facts.updated(known),
        classes=classes,
        left_out=LEFT_OUT,
        read_boxes=lambda facts, shapes: ReadBoxes(
            facts, shapes, chosen=shapes[0][2] == 6 + shapes[1][1]
        ),
    )


def _check(path: Path, model: onnx.ModelProto) -> None:
    if model.functions:
        raise BundleError(f"{path} defines functions of its own; export it with them inlined")
    for graph in _graphs(model.graph):
        tensors = [*graph.initializer]
        for node in graph.node:
            if node.domain not in DOMAINS:
                raise BundleError(f"{path}: {node.domain}.{node.op_type} is no operator of ONNX")
            tensors += [one for part in node.attribute for one in (part.t, *part.tensors)]
        for sparse in graph.sparse_initializer:
            tensors += [sparse.values, sparse.indices]
        if any(tensor.data_location or tensor.external_data for tensor in tensors):
            raise BundleError(f"{path}: weights lie in another file; save the model as one file")
    checker.check_model(model)


def _graphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _graphs(inner)


def _shape(value: onnx.ValueInfoProto) -> list[int]:
    """Return the sides; 0 for one that is not fixed."""
    return [max(0, dim.dim_value) for dim in value.type.tensor_type.shape.dim]


def _show(value: onnx.ValueInfoProto) -> str:
    type_ = onnx.TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower()
    return f"{value.name[:40]} {'x'.join(str(side or '?') for side in _shape(value))} {type_}"

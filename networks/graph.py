"""Finds the circuit inside a compiled network, replaces its tables, and cuts the network there.

At export the circuit's operations are known by the module they come from. Its input and output
tensors and its tables get names that stay in the model's file:

    image -> encoder -> [circuit.inputs] -> tables -> [circuit.outputs] -> decoder -> map
                  '----------------- skips ------------------------------^

Live execution cuts there, so that a bundle holds the weights of one network, not of three.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qlumen.errors import BundleError
from qlumen.networks.openvino import ops, ov

CORE_SCOPE = "bottleneck.core/"
"""Part of the converter's names for the circuit's operations."""
INPUTS = "circuit.inputs"
OUTPUTS = "circuit.outputs"
TABLES = "circuit.table"


@dataclass(frozen=True, slots=True, eq=False)
class SplitNetwork:
    """Holds the two parts of a network that is cut at its circuit.

    Attributes:
        head: model from the image to the circuit's inputs, then the `carried` tensors.
        tail: model from the circuit's outputs, then the carried tensors, to the map.
        carried: number of tensors that go around the circuit.
    """

    head: ov.Model
    tail: ov.Model
    carried: int


def name_circuit(model: ov.Model, tables: Sequence[NDArray[np.float64]]) -> None:
    """Name the input and output tensors of the circuit, and its tables.

    Raises:
        BundleError: the converted model does not show one circuit with these tables.
    """
    core = [op for op in model.get_ordered_ops() if CORE_SCOPE in op.get_friendly_name()]
    names = _names(core)
    inside = [op for op in core if op.get_type_name() != "Constant"]
    sources = {
        source.get_node().get_friendly_name(): source
        for op in inside
        for source in _sources(op)
        if source.get_node().get_friendly_name() not in names and not _is_constant(source)
    }
    results = {
        op.get_friendly_name(): op
        for op in inside
        for target in op.output(0).get_target_inputs()
        if target.get_node().get_friendly_name() not in names
    }
    if len(sources) != 1 or len(results) != 1:
        raise BundleError(
            f"the converted model has {len(sources)} inputs and {len(results)} outputs at its "
            "circuit; want one of each: this OpenVINO release converts the circuit differently"
        )
    next(iter(sources.values())).get_node().set_friendly_name(INPUTS)
    next(iter(results.values())).set_friendly_name(OUTPUTS)
    for number, table in enumerate(tables):
        _constant_like(model, table).set_friendly_name(f"{TABLES}.{number}")


def replace_tables(model: ov.Model, tables: Sequence[NDArray[np.float64]]) -> None:
    """Replace the tables that `name_circuit` named; raise BundleError if there are none."""
    for number, table in enumerate(tables):
        old = _find(model, f"{TABLES}.{number}")
        new = ops.constant(_lay_out_as(old, table))
        new.set_friendly_name(old.get_friendly_name())
        for user in old.output(0).get_target_inputs():
            user.replace_source_output(new.output(0))


def cut_at_circuit(model: ov.Model) -> SplitNetwork:
    """Split a copy of `model` in two, without the circuit's own operations.

    Raises:
        BundleError: the model has no named circuit.
    """
    head, tail = model.clone(), model.clone()
    image = head.get_parameters()[0]
    end = _find(head, INPUTS).output(0)
    crossing = _find_carried(head)
    results = [end, *(_find(head, name).output(port) for name, port in crossing)]
    head_model = ov.Model([ops.result(output) for output in results], [image], "head")
    return SplitNetwork(head_model, _make_tail(tail, crossing), len(crossing))


def _make_tail(model: ov.Model, crossing: Sequence[tuple[str, int]]) -> ov.Model:
    after = _names(_descendants(_find(model, OUTPUTS)))
    parameters = []
    for name, port in ((OUTPUTS, 0), *crossing):
        output = _find(model, name).output(port)
        parameter = ops.parameter(output.shape, output.get_element_type())
        for user in output.get_target_inputs():
            if user.get_node().get_friendly_name() in after:
                user.replace_source_output(parameter.output(0))
        parameters.append(parameter)
    return ov.Model(model.get_results(), parameters, "tail")


def _find_carried(model: ov.Model) -> list[tuple[str, int]]:
    """Return names and ports of outputs that are made before the circuit and used after it."""
    fed = _names(_descendants(model.get_parameters()[0]))
    after = _descendants(_find(model, OUTPUTS))
    known = {*_names(after), OUTPUTS}
    carried: dict[tuple[str, int], None] = {}
    for op in after:
        for source in _sources(op):
            name = source.get_node().get_friendly_name()
            if name in fed and name not in known:
                carried[name, source.get_index()] = None
    return list(carried)


def _descendants(start: ov.Node) -> list[ov.Node]:
    found: dict[str, ov.Node] = {}
    waiting = [start]
    while waiting:
        for output in waiting.pop().outputs():
            for target in output.get_target_inputs():
                node = target.get_node()
                if node.get_friendly_name() not in found:
                    found[node.get_friendly_name()] = node
                    waiting.append(node)
    return list(found.values())


def _find(model: ov.Model, name: str) -> ov.Node:
    for op in model.get_ops():
        if op.get_friendly_name() == name:
            return op
    raise BundleError(
        f"the bundle's network has no {name!r}: it holds no circuit, or was exported by an "
        "older qlumen; export it again, or use quantum.executor=surrogate"
    )


def _constant_like(model: ov.Model, table: NDArray[np.float64]) -> ov.Node:
    constants = [op for op in model.get_ops() if op.get_type_name() == "Constant"]
    for op in constants:
        same_size = set(op.get_data().shape) == set(table.shape)
        if same_size and np.array_equal(op.get_data(), _lay_out_as(op, table)):
            return op
    raise BundleError(f"the converted model has no constant with the table {table.shape}")


def _lay_out_as(constant: ov.Node, table: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the table in single precision, transposed if the converter transposed it."""
    single = table.astype(np.float32)
    return single if constant.get_data().shape == table.shape else np.ascontiguousarray(single.T)


def _sources(op: ov.Node) -> list[ov.Output]:
    return [port.get_source_output() for port in op.inputs()]


def _names(ops_: Iterable[ov.Node]) -> set[str]:
    return {op.get_friendly_name() for op in ops_}


def _is_constant(output: ov.Output) -> bool:
    return bool(output.get_node().get_type_name() == "Constant")

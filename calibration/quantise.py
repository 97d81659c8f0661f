"""Quantises a compiled form to INT8 after training, and returns layers to FP32.

NNCF quantises weights per output channel and activations per tensor. The bottleneck does not
change, because the tables of the circuit must stay exact. The head does not change, because its
few values decide about thresholds close to 1.
"""

import logging
import os
from collections.abc import Collection, Iterable, Sequence
from importlib import metadata

import numpy as np
from numpy.typing import NDArray

from qlumen.calibration.calibration_images import CalibrationImages
from qlumen.errors import BundleError, MissingExtraError
from qlumen.networks.graph import INPUTS, OUTPUTS, TABLES
from qlumen.networks.openvino import ops, ov
from qlumen.realtime.pixels.arrays import Image

UNTOUCHED = ("network.bottleneck", "network.head", INPUTS, OUTPUTS, TABLES)
"""Parts of the names of operations that are never quantised."""
CONVOLUTIONS = ("Convolution", "GroupConvolution")
DATA, WEIGHT = 0, 1
"""Inputs of a convolution."""
HALF_ABOVE_ELEMENTS = 4096
"""Restored weights with more elements are stored in half precision, as before."""
NO_TELEMETRY = "NNCF_CI"
"""NNCF reports its use to its makers unless the environment has this variable."""
CLIPPED_LOGIT = 5.0
"""Bound of compared logits, 0.7% to 99.3%. Only differences inside move borders and findings."""
PROBABILITY_STEP = 1e-7
RUN = 4
"""Layers that are ranked together, because neighbours in FP32 need no conversion between them."""
Maps = NDArray[np.float64]


def quantise(original: ov.Model, calibration_set: CalibrationImages) -> ov.Model:
    """Make a quantised copy of a bundle's network.

    Weights use half of the 8-bit range. With the full range, processors without VNNI saturate in
    16-bit sums, and their maps differ from those of processors with VNNI.

    Raises:
        MissingExtraError: NNCF is not installed
        BundleError: the network is already quantised
    """
    if any(op.get_type_name() == "FakeQuantize" for op in original.get_ops()):
        raise BundleError("the network is already quantised; name the FP32 bundle")
    names = [op.get_friendly_name() for op in original.get_ordered_ops()]
    untouched = [name for name in names if any(part in name for part in UNTOUCHED)]
    os.environ.setdefault(NO_TELEMETRY, "1")
    try:
        import nncf
    except ImportError as error:
        raise MissingExtraError(
            "INT8 needs nncf, which is not installed: pip install 'qlumen[train]'"
        ) from error
    nncf.set_log_level(logging.ERROR)
    return nncf.quantize(
        original.clone(),
        nncf.Dataset(calibration_set.images, lambda image: image[None]),
        subset_size=len(calibration_set.images),
        preset=nncf.QuantizationPreset.PERFORMANCE,
        ignored_scope=nncf.IgnoredScope(names=untouched),
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            overflow_fix=nncf.OverflowFix.ENABLE
        ),
    )


def nncf_version() -> str:
    return metadata.version("nncf")


def int8_layers(model: ov.Model) -> list[str]:
    """Return the names of the convolutions that run in INT8, in network order."""
    return [
        op.get_friendly_name()
        for op in _convolutions(model)
        if _is_eight_bit(op.input_value(WEIGHT).get_node())
    ]


def restore_layers(model: ov.Model, original: ov.Model, names: Collection[str]) -> ov.Model:
    """Copy a quantised model with the named convolutions in FP32, from the original's values."""
    result = model.clone()
    layers = {op.get_friendly_name(): op for op in _convolutions(original.clone())}
    for op in _convolutions(result):
        if op.get_friendly_name() in names:
            _restore(op, layers[op.get_friendly_name()])
    return result


def layer_place(model: ov.Model, name: str) -> str:
    """Return a convolution's place in the network, from the name of its bias."""
    op = next(op for op in _convolutions(model) if op.get_friendly_name() == name)
    bias = _bias(op)
    label = (op if bias is None else bias.get_node()).get_friendly_name()
    return str(label).removeprefix("__module.network.").partition("/")[0]


def rank_runs(
    model: ov.Model, original: ov.Model, names: Sequence[str], images: Sequence[Image]
) -> list[list[str]]:
    """Divide the named layers into runs of four neighbours, and sort the runs by their effect.

    First comes the run whose return to FP32, alone, brings the maps of `images` nearest to the
    original's.
    """
    wanted = _maps(original, images)
    runs = [list(names[i : i + RUN]) for i in range(0, len(names), RUN)]
    return sorted(
        runs, key=lambda run: distance(_maps(restore_layers(model, original, run), images), wanted)
    )


def map_distance(model: ov.Model, original: ov.Model, images: Sequence[Image]) -> float:
    """Return the root mean square difference of the clipped logits."""
    return distance(_maps(model, images), _maps(original, images))


def logit(probability: NDArray[np.float32]) -> Maps:
    """Compute the clipped logits of a map."""
    inside = np.clip(probability.astype(np.float64), PROBABILITY_STEP, 1 - PROBABILITY_STEP)
    return np.clip(np.log(inside / (1 - inside)), -CLIPPED_LOGIT, CLIPPED_LOGIT)


def distance(maps: Maps, wanted: Maps) -> float:
    """Return the root mean square difference of two stacks of maps."""
    return float(np.sqrt(np.mean((maps - wanted) ** 2)))


def _convolutions(model: ov.Model) -> Iterable[ov.Node]:
    return [op for op in model.get_ordered_ops() if op.get_type_name() in CONVOLUTIONS]


def _is_eight_bit(node: ov.Node) -> bool:
    """Check whether a constant before the node is stored in eight bits."""
    if node.get_type_name() == "Constant":
        return node.get_output_element_type(0) in (ov.Type.i8, ov.Type.u8)
    return any(_is_eight_bit(value.get_node()) for value in node.input_values())


def _restore(op: ov.Node, original: ov.Node) -> None:
    """Restore weight and bias, and remove a quantiser directly before the input.

    A quantiser farther before, such as before a join of two tensors, also serves others and stays.
    """
    before = op.input_value(DATA).get_node()
    if before.get_type_name() == "FakeQuantize":
        op.input(DATA).replace_source_output(before.input_value(0))
    op.input(WEIGHT).replace_source_output(_constant(_value(original.input_value(WEIGHT))))
    bias, other = _bias(op), _bias(original)
    if bias is not None and other is not None:
        bias.replace_source_output(_constant(_value(other.get_source_output())))


def _bias(op: ov.Node) -> ov.Input | None:
    """Return the port of the constant that is added to the operation's output."""
    for target in op.output(0).get_target_inputs():
        node = target.get_node()
        if node.get_type_name() == "Add":
            ports = [p for p in node.inputs() if _is_constant(p.get_source_output().get_node())]
            return ports[0] if ports else None
    return None


def _is_constant(node: ov.Node) -> bool:
    """Check whether the node depends only on constants."""
    if node.get_type_name() == "Constant":
        return True
    inputs = node.input_values()
    return bool(inputs) and all(_is_constant(value.get_node()) for value in inputs)


def _value(output: ov.Output) -> NDArray[np.float32]:
    """Compute an output that depends only on constants."""
    compiled = ov.Core().compile_model(ov.Model([ops.result(output)], []), "CPU")
    return np.asarray(compiled([])[0], np.float32)


def _constant(value: NDArray[np.float32]) -> ov.Output:
    if value.size <= HALF_ABOVE_ELEMENTS:
        return ops.constant(value).output(0)
    return ops.convert(ops.constant(value.astype(np.float16)), "f32").output(0)


def _maps(model: ov.Model, images: Sequence[Image]) -> Maps:
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = ov.Core().compile_model(model, "CPU", hints)
    return np.stack([logit(compiled(image[None])[0]) for image in images])

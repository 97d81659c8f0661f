"""Fits the temperature, a divisor of the logits that makes probabilities truer.

See Guo et al. 2017, "On calibration of modern neural networks". The fit on validation maximises
the likelihood of the pixels in the lesion region (see `evaluation/reliability.py`). Each image
has the same weight. The temperature only scales the logits, so pixels keep their order.

The network itself holds it: weights and bias of the head, the layer before the sigmoid, are
divided by it, in the compiled form and in the trained weights. So it costs no time, and all
engines, scores and thresholds use calibrated probabilities.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from scipy.optimize import minimize_scalar

from qlumen.errors import BundleError
from qlumen.evaluation.reliability import lesion_region
from qlumen.networks.bundle import MODEL, MODEL_WEIGHTS, WEIGHTS, Bundle
from qlumen.networks.circuit import READABLE
from qlumen.networks.openvino import ops, ov
from qlumen.realtime.engines.base import Probability
from qlumen.realtime.pixels.arrays import Mask

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.2, 5.0
PROBABILITY_STEP = 2.0**-24
"""Distance between 1 and the largest number below 1 in single precision."""
HEAD_WEIGHT, HEAD_BIAS = "head.weight", "head.bias"
PART = ".part-{}"

Values = NDArray[np.float64]


def fit_temperature(samples: Sequence[tuple[Probability, Mask]]) -> float:
    """Return the temperature with the greatest likelihood.

    Args:
        samples: maps, each with a true mask of the same size

    Raises:
        ValueError: no sample has a lesion region
    """
    regions = [region for sample in samples if (region := _region(*sample)) is not None]
    if not regions:
        raise ValueError("no image has a lesion or a prediction, so there is nothing to fit")

    def loss(log_temperature: float) -> float:
        factor = np.exp(-log_temperature)
        return float(np.mean([_cross_entropy(factor * z, truth) for z, truth in regions]))

    bounds = (np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded").x))


def temper(probability: Probability, temperature: float) -> Probability:
    """Return the map of the same network with its head divided by `temperature`."""
    return np.asarray(1 / (1 + np.exp(-logits(probability) / temperature)), np.float32)


def logits(probability: Probability) -> Values:
    """Compute the logits of a map; clip probabilities near 0 and 1 to keep them finite."""
    inside = np.clip(probability.astype(np.float64), PROBABILITY_STEP, 1 - PROBABILITY_STEP)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def write_temperature(bundle: Bundle, temperature: float) -> None:
    """Divide the head by `temperature`, in the compiled form and the trained weights.

    In an imported network the logits are divided; its original weights stay as they are.

    Each file is replaced in one step. The caller must then write the manifest. Until then the
    hashes of the bundle do not match.

    Raises:
        BundleError: the network does not end in a convolution, its bias and a sigmoid
    """
    model = ov.Core().read_model(bundle.model)
    imported = bundle.manifest.imported is not None
    (_divide_logits if imported else _divide_head)(model, temperature)
    folder = bundle.folder
    parts = {folder / name: folder / PART.format(name) for name in (MODEL, MODEL_WEIGHTS)}
    ov.save_model(model, parts[bundle.model], compress_to_fp16=False)
    if bundle.precision == "f32" and not imported:
        parts[bundle.weights] = folder / PART.format(WEIGHTS)
        _divide_weights(bundle.weights, parts[bundle.weights], temperature)
    for path, part in parts.items():
        part.replace(path)


def _region(probability: Probability, truth: Mask) -> tuple[Values, NDArray[np.bool_]] | None:
    box = lesion_region(probability, truth)
    if box is None:
        return None
    x0, y0, x1, y1 = box
    return logits(probability[y0:y1, x0:x1]), truth[y0:y1, x0:x1] != 0


def _cross_entropy(z: Values, truth: NDArray[np.bool_]) -> float:
    """Return the mean -log p(truth): log(1 + exp(-z)) on the lesion, else log(1 + exp(z))."""
    return float(np.mean(np.logaddexp(0, np.where(truth, -z, z))))


def _divide_logits(model: ov.Model, temperature: float) -> None:
    sigmoid = _last_sigmoid(model)
    divided = ops.divide(sigmoid.input_value(0), np.float32(temperature))
    divided.set_friendly_name(
        f"network.head.temperature/{sigmoid.input_value(0).get_node().get_friendly_name()}"
    )
    sigmoid.input(0).replace_source_output(divided.output(0))


def _last_sigmoid(model: ov.Model) -> ov.Node:
    sigmoid = model.get_results()[0].input_value(0).get_node()
    if sigmoid.get_type_name() != "Sigmoid":
        raise _wrong_end()
    return sigmoid


def _divide_head(model: ov.Model, temperature: float) -> None:
    sigmoid = _last_sigmoid(model)
    add = sigmoid.input_value(0).get_node()
    ports = [add.input(i) for i in range(2)]
    bias = [port for port in ports if _type(port) == "Constant"]
    head = [port for port in ports if _type(port) == "Convolution"]
    if len(bias) != 1 or len(head) != 1:
        raise _wrong_end()
    weight = head[0].get_source_output().get_node().input(1)
    if _type(weight) != "Constant":
        raise _wrong_end()
    for port in (bias[0], weight):
        old = port.get_source_output().get_node()
        new = ops.constant((old.get_data() / temperature).astype(np.float32))
        new.set_friendly_name(old.get_friendly_name())
        port.replace_source_output(new.output(0))


def _type(port: ov.Input) -> str:
    return str(port.get_source_output().get_node().get_type_name())


def _wrong_end() -> BundleError:
    return BundleError(
        "the bundle's network does not end in a convolution in FP32, its bias and a sigmoid; "
        "export the bundle again"
    )


def _divide_weights(source: Path, target: Path, temperature: float) -> None:
    values = load_file(source)
    for name in (HEAD_WEIGHT, HEAD_BIAS):
        values[name] = (values[name].astype(np.float32) / np.float32(temperature)).astype(
            values[name].dtype
        )
    save_file(values, target)
    target.chmod(READABLE)

"""Which quantised layers disturb the map most."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qlumen.calibration.quantise import restored
from qlumen.networks.openvino import ov
from qlumen.realtime.pixels.arrays import Image

CLIPPED_LOGIT = 5.0
"""Maps are compared as logits within these bounds, 0.7% to 99.3%: differences there move
borders and findings, others nothing."""
PROBABILITY_STEP = 1e-7
RUN = 4
"""Layers that are ranked together: between neighbours in FP32 nothing is converted."""

Maps = NDArray[np.float64]


def rank_runs(
    model: ov.Model, original: ov.Model, names: Sequence[str], images: Sequence[Image]
) -> list[list[str]]:
    """The named layers in runs of four that follow each other, those runs first whose return
    to FP32 brings the maps of `images` nearest to the original's. Each is tried by itself."""
    wanted = _maps(original, images)
    runs = [list(names[i : i + RUN]) for i in range(0, len(names), RUN)]
    return sorted(
        runs, key=lambda run: distance(_maps(restored(model, original, run), images), wanted)
    )


def map_distance(model: ov.Model, original: ov.Model, images: Sequence[Image]) -> float:
    """Root mean square of the difference of the clipped logits."""
    return distance(_maps(model, images), _maps(original, images))


def logit(probability: NDArray[np.float32]) -> Maps:
    """Of a map, within bounds in which differences move borders and findings."""
    inside = np.clip(probability.astype(np.float64), PROBABILITY_STEP, 1 - PROBABILITY_STEP)
    return np.clip(np.log(inside / (1 - inside)), -CLIPPED_LOGIT, CLIPPED_LOGIT)


def distance(maps: Maps, wanted: Maps) -> float:
    """Root mean square of the difference of two stacks of maps."""
    return float(np.sqrt(np.mean((maps - wanted) ** 2)))


def _maps(model: ov.Model, images: Sequence[Image]) -> Maps:
    hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    compiled = ov.Core().compile_model(model, "CPU", hints)
    return np.stack([logit(compiled(image[None])[0]) for image in images])

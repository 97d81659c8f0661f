"""Scores 8-bit ranges for TensorRT in torch, and writes them to a bundle.

The ranges are an additional file. The bundle does not change for other engines or TensorRT's
fallbacks. Torch on the CPU computes the same operations as TensorRT, so that Dice is known
without a GPU.
"""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save_file

from qlumen.calibration.calibration_images import CalibrationImages
from qlumen.calibration.comparison import score, subtract
from qlumen.calibration.quantise import RUN, distance, logit
from qlumen.calibration.range_search import METHOD, Ranges, biases_of, modelopt_version, ranges_of
from qlumen.datasets.splits import spread
from qlumen.evaluation.measure import measure
from qlumen.networks.bundle import RANGES, Bundle, RangesRecord, write_manifest
from qlumen.networks.circuit import READABLE
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.segmentation.postprocess import Postprocessor
from qlumen.realtime.segmentation.preprocess import Preprocessor
from qlumen.realtime.segmentation.segmenter import Segmenter, thresholds

if TYPE_CHECKING:
    from torch import nn

RESTORED = (1, 2, 4)
"""Numbers of runs that return to FP32, the most disturbing first, until the loss is small."""
CORRECTED_ON = 60
"""Number of images for the mean corrections of the biases."""
RANKED_ON = 8
"""Number of images for the ranking of the layers."""

Say = Callable[[str], None]


def quantise_with_ranges(
    source: Bundle, part: Path, data: Path, calibration_set: CalibrationImages, say: Say
) -> Bundle:
    """Find the ranges of `source` and write a bundle with them to `part`.

    It takes the first attempt with a small loss, so as few layers as possible have no ranges. If
    no loss is small, it takes the attempt with the smallest loss of Dice.
    """
    say(f"finding the ranges on {len(calibration_set.names)} images")
    ranges = ranges_of(source, calibration_set)
    ranges |= biases_of(source, ranges, spread(calibration_set.images, CORRECTED_ON))
    with _segmenter(source) as segmenter:
        wanted = score(segmenter, data)
    ranked: list[list[str]] = []
    tried: list[tuple[float, list[str]]] = []
    for count in (0, *RESTORED):
        if count and not ranked:
            say("ranking the layers by their effect on the map")
            ranked = rank_layers(source, ranges, spread(calibration_set.images, RANKED_ON))
        names = [name for run in ranked[:count] for name in run]
        bundle = write_ranges(part, source, ranges, calibration_set, names)
        with _segmenter(bundle) as segmenter:
            loss = subtract(wanted, score(segmenter, data))
        say(f"{len(names)} layers not in 8 bits: {loss}")
        if loss.small:
            return bundle
        tried.append((loss.dice, names))
    return write_ranges(part, source, ranges, calibration_set, min(tried)[1])


def compare_in_torch(
    source: Bundle, bundle: Bundle, data: Path, splits: Sequence[str]
) -> dict[str, Any]:
    """Return the figures of the network in FP32, and in 8 bits as TensorRT rounds."""
    figures = {}
    for name, one in (("before", source), ("after", bundle)):
        with _segmenter(one) as segmenter:
            figures[name] = measure(segmenter, data, splits)
    return figures


def write_ranges(
    folder: Path,
    source: Bundle,
    ranges: Ranges,
    calibration_set: CalibrationImages,
    left: Sequence[str] = (),
) -> Bundle:
    """Write `source` with `ranges` as a bundle in `folder`, with an empty report.

    Args:
        left: convolutions without ranges
    """
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source.folder, folder)
    kept = {n: np.asarray(value) for n, value in ranges.items() if _layer_name(n) not in left}
    save_file(kept, folder / RANGES)
    (folder / RANGES).chmod(READABLE)
    record = RangesRecord(
        bundle_sha256=source.sha256,
        pictures=len(calibration_set.names),
        pictures_sha256=calibration_set.names_sha256(),
        left=tuple(left),
        method=METHOD,
        modelopt=modelopt_version(),
        report={},
    )
    update = {"name": f"{source.manifest.name}-tensorrt-int8", "ranges": record}
    return write_manifest(folder, source.manifest.model_copy(update=update))


def rank_layers(source: Bundle, ranges: Ranges, images: Sequence[Image]) -> list[list[str]]:
    """Divide the layers into runs of four neighbours, and sort the runs as `rank_runs` does."""
    from qlumen.networks.deploy import deploy_network

    names = list(dict.fromkeys(map(_layer_name, ranges)))
    runs = [names[i : i + RUN] for i in range(0, len(names), RUN)]
    network = deploy_network(source)
    wanted = _maps(network, {}, images)

    def distance_without(run: Sequence[str]) -> float:
        rest = {name: value for name, value in ranges.items() if _layer_name(name) not in run}
        return distance(_maps(network, rest, images), wanted)

    return sorted(runs, key=distance_without)


@contextmanager
def _segmenter(bundle: Bundle) -> Iterator[Segmenter]:
    """Open the network in torch, in 8 bits if the bundle has ranges; post-process as in replay."""
    from qlumen.networks.deploy import deploy_network
    from qlumen.networks.eightbit import eight_bit_network
    from qlumen.realtime.engines.torch import TorchEngine

    spec = bundle.manifest.input
    network = eight_bit_network(bundle) if bundle.ranges else deploy_network(bundle)
    postprocess = Postprocessor(**thresholds(bundle, Settings()))
    with TorchEngine(bundle, network=network) as engine:
        yield Segmenter(Preprocessor((spec.width, spec.height), spec.fit), engine, postprocess)


def _maps(network: "nn.Module", ranges: Ranges, images: Sequence[Image]) -> np.ndarray:
    """Compute the logits of a copy of `network` with these ranges."""
    import torch

    from qlumen.networks.eightbit import quantise

    tensors = {name: torch.from_numpy(np.asarray(value)) for name, value in ranges.items()}
    changed = quantise(deepcopy(network), tensors)
    with torch.inference_mode():
        return np.stack([logit(changed(torch.from_numpy(i)[None]).numpy()) for i in images])


def _layer_name(range_name: str) -> str:
    return range_name.rpartition(".")[0]

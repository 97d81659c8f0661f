"""8-bit ranges for TensorRT: scored in torch, and written into a bundle.

The bundle stays what it is for every other engine, and for TensorRT's fallbacks: the ranges are
a file more. What TensorRT computes with them is computed here in torch on the CPU, operation by
operation, so that Dice is known without a card.
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
"""So many runs of layers are put back, those that disturb the map most, until that is kept."""
CORRECTED_ON = 60
"""Pictures over which the biases' corrections are means."""
RANKED_ON = 8
"""Pictures on which layers are ranked."""

Say = Callable[[str], None]


def quantise_with_ranges(
    source: Bundle, part: Path, data: Path, pictures: CalibrationImages, say: Say
) -> Bundle:
    """Find the ranges of `source` and write it with them to `part`: with the fewest layers without
    ranges whose loss is small; or where none is, with those that lose least Dice."""
    say(f"finding the ranges on {len(pictures.names)} pictures")
    ranges = ranges_of(source, pictures)
    ranges |= biases_of(source, ranges, spread(pictures.images, CORRECTED_ON))
    with _segmenter(source) as segmenter:
        wanted = score(segmenter, data)
    ranked: list[list[str]] = []
    tried: list[tuple[float, list[str]]] = []
    for count in (0, *RESTORED):
        if count and not ranked:
            say("ranking the layers by what they disturb")
            ranked = rank_layers(source, ranges, spread(pictures.images, RANKED_ON))
        names = [name for run in ranked[:count] for name in run]
        bundle = write_ranges(part, source, ranges, pictures, names)
        with _segmenter(bundle) as segmenter:
            loss = subtract(wanted, score(segmenter, data))
        say(f"{len(names)} layers not in 8 bits: {loss}")
        if loss.small:
            return bundle
        tried.append((loss.dice, names))
    return write_ranges(part, source, ranges, pictures, min(tried)[1])


def compare_in_torch(
    source: Bundle, bundle: Bundle, data: Path, splits: Sequence[str]
) -> dict[str, Any]:
    """Figures of the network as it is, and in 8 bits as TensorRT rounds."""
    figures = {}
    for name, one in (("before", source), ("after", bundle)):
        with _segmenter(one) as segmenter:
            figures[name] = measure(segmenter, data, splits)
    return figures


def write_ranges(
    folder: Path,
    source: Bundle,
    ranges: Ranges,
    pictures: CalibrationImages,
    left: Sequence[str] = (),
) -> Bundle:
    """`source` with `ranges`, which were found on `pictures`, as a bundle in `folder`; its report
    is empty yet.

    Args:
        left: convolutions that get none.
    """
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source.folder, folder)
    kept = {name: np.asarray(value) for name, value in ranges.items() if _layer(name) not in left}
    save_file(kept, folder / RANGES)
    (folder / RANGES).chmod(READABLE)
    record = RangesRecord(
        bundle_sha256=source.sha256,
        pictures=len(pictures.names),
        pictures_sha256=pictures.names_sha256(),
        left=tuple(left),
        method=METHOD,
        modelopt=modelopt_version(),
        report={},
    )
    update = {"name": f"{source.manifest.name}-tensorrt-int8", "ranges": record}
    return write_manifest(folder, source.manifest.model_copy(update=update))


def rank_layers(source: Bundle, ranges: Ranges, images: Sequence[Image]) -> list[list[str]]:
    """The layers in runs of four that follow each other, those runs first whose return to FP32
    brings the maps of `images` nearest to the original's. Each is tried by itself."""
    from qlumen.networks.deploy import deploy_network

    names = list(dict.fromkeys(map(_layer, ranges)))
    runs = [names[i : i + RUN] for i in range(0, len(names), RUN)]
    network = deploy_network(source)
    wanted = _maps(network, {}, images)

    def distance_without(run: Sequence[str]) -> float:
        rest = {name: value for name, value in ranges.items() if _layer(name) not in run}
        return distance(_maps(network, rest, images), wanted)

    return sorted(runs, key=distance_without)


@contextmanager
def _segmenter(bundle: Bundle) -> Iterator[Segmenter]:
    """The network in torch, in 8 bits if the bundle has ranges, and post-processing of replay."""
    from qlumen.networks.deploy import deploy_network
    from qlumen.networks.eightbit import eight_bit_network
    from qlumen.realtime.engines.torch import TorchEngine

    spec = bundle.manifest.input
    network = eight_bit_network(bundle) if bundle.ranges else deploy_network(bundle)
    postprocess = Postprocessor(**thresholds(bundle, Settings()))
    with TorchEngine(bundle, network=network) as engine:
        yield Segmenter(Preprocessor((spec.width, spec.height), spec.fit), engine, postprocess)


def _maps(network: "nn.Module", ranges: Ranges, images: Sequence[Image]) -> np.ndarray:
    """Of a copy of `network` with these ranges."""
    import torch

    from qlumen.networks.eightbit import quantise

    tensors = {name: torch.from_numpy(np.asarray(value)) for name, value in ranges.items()}
    changed = quantise(deepcopy(network), tensors)
    with torch.inference_mode():
        return np.stack([logit(changed(torch.from_numpy(i)[None]).numpy()) for i in images])


def _layer(name: str) -> str:
    """Of a range's name."""
    return name.rpartition(".")[0]

"""8-bit ranges for TensorRT: scored in torch, and written into a bundle.

The bundle stays what it is for every other engine, and for TensorRT's fallbacks: the ranges are
a file more. What TensorRT computes with them is computed here in torch on the CPU, operation by
operation, so that Dice is known without a card.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save_file

from qlumen.calibration.biases import biases_of
from qlumen.calibration.calibration_images import Pictures, calibration_pictures, spread
from qlumen.calibration.card import write_card
from qlumen.calibration.int8 import RESTORED, Say, check_loss, check_output, lost, scores
from qlumen.calibration.modelopt import (
    METHOD,
    Ranges,
    check_modelopt,
    modelopt_version,
    ranges_of,
)
from qlumen.calibration.ranking import RUN, distance, logit
from qlumen.datasets.splits import VALIDATION
from qlumen.evaluation.measure import TEST_SPLITS, measure
from qlumen.networks.bundle import RANGES, Bundle, RangesRecord, read_bundle, write_manifest
from qlumen.networks.circuit import READABLE
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.segmentation.postprocess import Postprocessor
from qlumen.realtime.segmentation.preprocess import Preprocessor
from qlumen.realtime.segmentation.segmenter import Segmenter, thresholds
from qlumen.system.files import replacing

if TYPE_CHECKING:
    from torch import nn

CORRECTED_ON = 60
"""Pictures over which the biases' corrections are means."""
RANKED_ON = 8
"""Pictures on which layers are ranked."""


def make_ranges(
    source: Bundle,
    output: Path,
    data: Path,
    *,
    pictures: int,
    test_splits: bool = False,
    force: bool = False,
    say: Say = lambda line: None,
) -> Bundle:
    """Find the ranges of a bundle's convolutions and write it with them as another bundle.

    Where validation loses too much, the layers that disturb the map most get none. The bundle
    takes its place when it is complete; one that stood there before stays until then.

    Args:
        pictures: whose values set the ranges.
        test_splits: measure on these too, for the report; nothing is chosen on them.
        force: write it whatever it loses.

    Raises:
        BundleError: in 8 bits it loses more than 0.003 Dice on a set, and `force` is not given; or
            the source is an INT8 bundle of OpenVINO, or `output` cannot be replaced.
        DatasetError: pictures are missing.
        MissingExtraError: torch or nvidia-modelopt is not installed.
    """
    check_output(source, output)
    check_modelopt()
    chosen = calibration_pictures(data, _preprocessor(source), pictures)
    with replacing(output) as part:
        bundle = _quantised(source, part, data, chosen, say)
        say("measuring both in torch on the CPU")
        splits = (VALIDATION, *(TEST_SPLITS if test_splits else ()))
        report = {
            "before": _measured(source, data, splits),
            "after": _measured(bundle, data, splits),
        }
        if not force:
            check_loss(report)
        _complete(bundle, report)
    return read_bundle(output)


def write_ranges(
    folder: Path,
    source: Bundle,
    ranges: Ranges,
    pictures: Pictures,
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
    from qlumen.networks.deploy import deployed_network

    names = list(dict.fromkeys(map(_layer, ranges)))
    runs = [names[i : i + RUN] for i in range(0, len(names), RUN)]
    network = deployed_network(source)
    wanted = _maps(network, {}, images)

    def left(run: Sequence[str]) -> float:
        rest = {name: value for name, value in ranges.items() if _layer(name) not in run}
        return distance(_maps(network, rest, images), wanted)

    return sorted(runs, key=left)


def _quantised(source: Bundle, part: Path, data: Path, pictures: Pictures, say: Say) -> Bundle:
    """The bundle in `part` with the fewest layers without ranges whose loss is small; or where
    none is, with those that lose least Dice."""
    say(f"finding the ranges on {len(pictures.names)} pictures")
    ranges = ranges_of(source, pictures)
    ranges |= biases_of(source, ranges, spread(pictures.images, CORRECTED_ON))
    with _segmenter(source) as segmenter:
        wanted = scores(segmenter, data)
    ranked: list[list[str]] = []
    tried: list[tuple[float, list[str]]] = []
    for count in (0, *RESTORED):
        if count and not ranked:
            say("ranking the layers by what they disturb")
            ranked = rank_layers(source, ranges, spread(pictures.images, RANKED_ON))
        names = [name for run in ranked[:count] for name in run]
        bundle = write_ranges(part, source, ranges, pictures, names)
        with _segmenter(bundle) as segmenter:
            loss = lost(wanted, scores(segmenter, data))
        say(f"{len(names)} layers not in 8 bits: {loss}")
        if loss.small:
            return bundle
        tried.append((loss.dice, names))
    return write_ranges(part, source, ranges, pictures, min(tried)[1])


def _measured(bundle: Bundle, data: Path, splits: Sequence[str]) -> dict[str, Any]:
    with _segmenter(bundle) as segmenter:
        return measure(segmenter, data, splits)


@contextmanager
def _segmenter(bundle: Bundle) -> Iterator[Segmenter]:
    """The network in torch, in 8 bits if the bundle has ranges, and post-processing of replay."""
    from qlumen.networks.deploy import deployed_network
    from qlumen.networks.eightbit import eight_bit_network
    from qlumen.realtime.engines.torch import TorchEngine

    network = eight_bit_network(bundle) if bundle.ranges else deployed_network(bundle)
    postprocess = Postprocessor(**thresholds(bundle, Settings()))
    with TorchEngine(bundle, network=network) as engine:
        yield Segmenter(_preprocessor(bundle), engine, postprocess)


def _maps(network: "nn.Module", ranges: Ranges, images: Sequence[Image]) -> np.ndarray:
    """Of a copy of `network` with these ranges."""
    import torch

    from qlumen.networks.eightbit import quantised

    tensors = {name: torch.from_numpy(np.asarray(value)) for name, value in ranges.items()}
    changed = quantised(deepcopy(network), tensors)
    with torch.inference_mode():
        return np.stack([logit(changed(torch.from_numpy(i)[None]).numpy()) for i in images])


def _layer(name: str) -> str:
    """Of a range's name."""
    return name.rpartition(".")[0]


def _complete(bundle: Bundle, report: dict[str, Any]) -> None:
    """Put report and card into the bundle; its metrics stay those of the other engines."""
    record = bundle.manifest.ranges
    assert record is not None
    update = {"ranges": record.model_copy(update={"report": report})}
    manifest = bundle.manifest.model_copy(update=update)
    write_card(bundle.folder, manifest)
    write_manifest(bundle.folder, manifest)


def _preprocessor(bundle: Bundle) -> Preprocessor:
    spec = bundle.manifest.input
    return Preprocessor((spec.width, spec.height), spec.fit)

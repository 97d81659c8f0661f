"""From a bundle to one whose network runs in INT8, or a refusal."""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.numpy import save_file

from qlumen.calibration.calibration_images import Pictures, calibration_pictures, spread
from qlumen.calibration.card import write_card
from qlumen.calibration.comparison import compare, worst_loss
from qlumen.calibration.quantise import (
    nncf_version,
    quantise,
    quantised_layers,
    readable,
    restored,
)
from qlumen.calibration.ranking import rank_runs
from qlumen.datasets.negatives import negative_files
from qlumen.datasets.splits import NEGATIVES, VALIDATION, split_pairs
from qlumen.errors import BundleError, UsageError
from qlumen.evaluation.measure import TEST_SPLITS
from qlumen.evaluation.negatives import evaluate_negatives
from qlumen.evaluation.run import evaluate, means
from qlumen.networks.bundle import (
    MODEL,
    TABLES,
    WEIGHTS,
    Bundle,
    QuantisedRecord,
    check_replaceable,
    read_bundle,
    write_manifest,
)
from qlumen.networks.circuit import READABLE, WEIGHTS_NAME
from qlumen.networks.openvino import ov
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.segmentation.preprocess import Preprocessor
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.system.files import replacing

DICE_LOST = 0.003
"""The mean Dice on any set that an INT8 bundle may lose."""
DICE_LOST_ON_VAL = 0.0015
NEGATIVES_GAINED = 0.0075
"""What may be lost on validation, and the share of the lesion-free pictures that may newly
have a finding, before layers are put back to FP32: half of what would be too much, since other
pictures differ."""
RESTORED = (1, 2, 4)
"""So many runs of layers are put back, those that disturb the map most, until that is kept."""
RANKED_ON = 24
"""Pictures on which layers are ranked."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Loss:
    """Of an INT8 network against its FP32 one, on `val` and the training-side lesion-free
    pictures; negative where INT8 is better."""

    dice: float
    with_findings: float

    @property
    def small(self) -> bool:
        return self.dice <= DICE_LOST_ON_VAL and self.with_findings <= NEGATIVES_GAINED

    def __str__(self) -> str:
        return (
            f"validation Dice {-self.dice:+.4f}, lesion-free pictures with a finding "
            f"{self.with_findings:+.4f}"
        )


def make_int8(
    source: Bundle,
    output: Path,
    data: Path,
    *,
    pictures: int,
    test_splits: bool = False,
    force: bool = False,
    say: Say = lambda line: None,
) -> Bundle:
    """Quantise a bundle's network and write the result as a bundle of its own.

    It takes its place when it is complete; one that stood there before stays until then.

    Args:
        pictures: how many set the ranges.
        test_splits: measure on these too, for the report; nothing is chosen on them.
        force: write it whatever it loses.

    Raises:
        BundleError: it loses more than 0.003 Dice on a set, and `force` is not given; or the
            source is INT8 already, or `output` cannot be replaced.
        DatasetError: pictures are missing.
        MissingExtraError: NNCF is not installed.
    """
    check_output(source, output)
    spec = source.manifest.input
    chosen = calibration_pictures(data, Preprocessor((spec.width, spec.height), spec.fit), pictures)
    with replacing(output) as part:
        bundle = _quantised(source, part, data, chosen, say)
        report = compare(source, bundle, data, (VALIDATION, *(TEST_SPLITS if test_splits else ())))
        if not force:
            check_loss(report)
        _complete(bundle, report)
    return read_bundle(output)


def scores(segmenter: Segmenter, data: Path) -> tuple[float, float]:
    """Mean Dice on `val`, and the share of the training-side lesion-free pictures, if there are
    any, with a finding."""
    analysis = FrameAnalysis(segmenter, Settings(), related=False)
    dice = means(evaluate(split_pairs(data, VALIDATION), analysis))["dice"]
    rows = evaluate_negatives(negative_files(data / NEGATIVES, training=True), analysis)
    found = [row.findings > 0 for row in rows]
    return float(dice or 0), sum(found) / len(found) if found else 0.0


def lost(before: tuple[float, float], after: tuple[float, float]) -> Loss:
    """From two of `scores`."""
    return Loss(before[0] - after[0], after[1] - before[1])


def check_loss(report: Mapping[str, Any]) -> None:
    """Raise BundleError where a set loses more mean Dice than it may."""
    name, dice = worst_loss(report)
    if dice > DICE_LOST:
        raise BundleError(
            f"INT8 loses {dice:.4f} Dice on {name}, more than {DICE_LOST}; nothing was "
            "written: try more --pictures, or --force"
        )


def check_output(source: Bundle, output: Path) -> None:
    """Raise, before any work, if `source` cannot be quantised or `output` not be written."""
    if source.manifest.quantised:
        raise BundleError(f"{source.folder} is INT8 already; name the bundle it was made from")
    if output.resolve() == source.folder.resolve():
        raise UsageError(f"--output {output} is the bundle itself; choose another name")
    if not output.absolute().parent.is_dir():
        raise UsageError(f"--output {output}: there is no folder {output.parent}; create it first")
    check_replaceable(output)


def write_int8(folder: Path, source: Bundle, model: ov.Model, record: QuantisedRecord) -> Bundle:
    """A bundle of `model`, which was made from `source`: the circuit's weights and tables come
    along, the other weights do not."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    ov.save_model(model, folder / MODEL, compress_to_fp16=False)
    if source.manifest.quantum:
        shutil.copyfile(source.folder / TABLES, folder / TABLES)
        with safe_open(source.folder / WEIGHTS, framework="numpy") as file:
            save_file({WEIGHTS_NAME: file.get_tensor(WEIGHTS_NAME)}, folder / WEIGHTS)
        (folder / WEIGHTS).chmod(READABLE)
    manifest = source.manifest.model_copy(
        update={"name": f"{source.manifest.name}-int8", "quantised": record, "ranges": None}
    )
    return write_manifest(folder, manifest)


def _quantised(source: Bundle, part: Path, data: Path, pictures: Pictures, say: Say) -> Bundle:
    """The bundle in `part` with the fewest layers in FP32 whose loss is small; or where none
    is, with all that may be put back."""
    original = ov.Core().read_model(source.model)
    say(f"quantising with {len(pictures.names)} pictures")
    full = quantise(original, pictures)
    wanted = _scored(source, data)
    bundle = write_int8(part, source, full, _record(source, pictures, ()))
    loss = lost(wanted, _scored(bundle, data))
    say(f"all layers in INT8: {loss}")
    if loss.small:
        return bundle
    say("ranking the layers by what they disturb")
    some = spread(pictures.images, RANKED_ON)
    ranked = rank_runs(full, original, quantised_layers(full), some)
    for count in RESTORED:
        names = [name for run in ranked[:count] for name in run]
        record = _record(source, pictures, tuple(readable(full, name) for name in names))
        bundle = write_int8(part, source, restored(full, original, names), record)
        loss = lost(wanted, _scored(bundle, data))
        say(f"{len(names)} layers in FP32: {loss}")
        if loss.small:
            break
    return bundle


def _record(source: Bundle, pictures: Pictures, left_in_f32: tuple[str, ...]) -> QuantisedRecord:
    return QuantisedRecord(
        bundle_sha256=source.sha256,
        pictures=len(pictures.names),
        pictures_sha256=pictures.names_sha256(),
        left_in_f32=left_in_f32,
        nncf=nncf_version(),
        report={},
    )


def _scored(bundle: Bundle, data: Path) -> tuple[float, float]:
    segmenter = Segmenter.open(bundle, Settings())
    try:
        return scores(segmenter, data)
    finally:
        segmenter.close()


def _complete(bundle: Bundle, report: dict[str, Any]) -> None:
    """Put figures and card into the bundle."""
    record = bundle.manifest.quantised
    assert record is not None
    update = {
        "quantised": record.model_copy(update={"report": report}),
        "metrics": report["after"],
    }
    manifest = bundle.manifest.model_copy(update=update)
    write_card(bundle.folder, manifest)
    write_manifest(bundle.folder, manifest)

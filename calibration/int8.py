"""Makes a bundle whose network runs in INT8, and refuses one that loses too much."""

import shutil
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

from safetensors import safe_open
from safetensors.numpy import save_file

from qlumen.calibration.calibration_images import CalibrationImages, read_calibration_images
from qlumen.calibration.comparison import Loss, check_loss, compare, score, subtract
from qlumen.calibration.quantise import (
    int8_layers,
    layer_place,
    nncf_version,
    quantise,
    rank_runs,
    restore_layers,
)
from qlumen.calibration.range_search import check_modelopt
from qlumen.calibration.ranges import RESTORED, Say, compare_in_torch, quantise_with_ranges
from qlumen.datasets.splits import VALIDATION, splits_to_score, spread
from qlumen.errors import BundleError, UsageError
from qlumen.evaluation.model_card import write_records
from qlumen.networks.bundle import (
    MODEL,
    TABLES,
    WEIGHTS,
    Bundle,
    Manifest,
    QuantisedRecord,
    check_replaceable,
    read_bundle,
    write_manifest,
)
from qlumen.networks.circuit import READABLE, WEIGHTS_NAME
from qlumen.networks.openvino import ov
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.segmentation.preprocess import Preprocessor
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.system.files import replacing

RANKED_ON = 24
"""Number of images for the ranking of the layers."""


def make_int8(
    source: Bundle,
    output: Path,
    data: Path,
    *,
    image_count: int,
    engine: Literal["openvino", "tensorrt"] = "openvino",
    test_splits: bool = False,
    force: bool = False,
    say: Say = lambda line: None,
) -> Bundle:
    """Quantise a bundle's network and write the result as a separate bundle.

    For TensorRT the bundle stays the same and gets the ranges of its convolutions. If validation
    loses too much, the most disturbing layers stay in FP32. A bundle that exists at `output` stays
    until the new one is complete.

    Args:
        image_count: number of images for the ranges
        engine: engine that will run the result
        test_splits: also report on the other splits that are not for training; they decide nothing
        force: write the bundle even if it loses too much

    Raises:
        BundleError: the result loses more than 0.003 Dice on a set, without `force`; or the
            source is already INT8, or `output` cannot be replaced
        DatasetError: images are missing
        MissingExtraError: NNCF, or torch or nvidia-modelopt, is not installed
    """
    check_output(source, output)
    if engine == "tensorrt":
        check_modelopt()
    spec = source.manifest.input
    preprocess = Preprocessor((spec.width, spec.height), spec.fit)
    calibration_set = read_calibration_images(data, preprocess, image_count)
    others = splits_to_score(data) if test_splits else ()
    splits = tuple(dict.fromkeys((VALIDATION, *others)))
    with replacing(output) as part:
        if engine == "tensorrt":
            bundle = quantise_with_ranges(source, part, data, calibration_set, say)
            say("measuring both in torch on the CPU")
            report = compare_in_torch(source, bundle, data, splits)
        else:
            bundle = _quantise(source, part, data, calibration_set, say)
            report = compare(source, bundle, data, splits)
        if not force:
            check_loss(report)
        write_records(part, _with_report(bundle.manifest, report))
    return read_bundle(output)


def check_output(source: Bundle, output: Path) -> None:
    """Raise an error, before any work, for a source in INT8 or an output that is not writable."""
    if source.manifest.quantised:
        raise BundleError(f"{source.folder} is already INT8; name the bundle that it comes from")
    if output.resolve() == source.folder.resolve():
        raise UsageError(f"--output {output} is the bundle itself; choose another name")
    if not output.absolute().parent.is_dir():
        raise UsageError(f"--output {output}: there is no folder {output.parent}; create it first")
    check_replaceable(output)


def _quantise(
    source: Bundle, part: Path, data: Path, calibration_set: CalibrationImages, say: Say
) -> Bundle:
    """Return layers to FP32 in `part` until the loss is small, or until all allowed ones are."""
    original = ov.Core().read_model(source.model)
    say(f"quantising with {len(calibration_set.names)} images")
    full = quantise(original, calibration_set)
    wanted = _score(source, data)

    def write(model: ov.Model, left_in_f32: tuple[str, ...]) -> tuple[Bundle, Loss]:
        record = QuantisedRecord(
            bundle_sha256=source.sha256,
            pictures=len(calibration_set.names),
            pictures_sha256=calibration_set.names_sha256(),
            left_in_f32=left_in_f32,
            nncf=nncf_version(),
            report={},
        )
        bundle = write_int8(part, source, model, record)
        return bundle, subtract(wanted, _score(bundle, data))

    bundle, loss = write(full, ())
    say(f"all layers in INT8: {loss}")
    if loss.small:
        return bundle
    say("ranking the layers by their effect on the map")
    some = spread(calibration_set.images, RANKED_ON)
    ranked = rank_runs(full, original, int8_layers(full), some)
    for count in RESTORED:
        names = [name for run in ranked[:count] for name in run]
        places = tuple(layer_place(full, name) for name in names)
        bundle, loss = write(restore_layers(full, original, names), places)
        say(f"{len(names)} layers in FP32: {loss}")
        if loss.small:
            break
    return bundle


def write_int8(folder: Path, source: Bundle, model: ov.Model, record: QuantisedRecord) -> Bundle:
    """Write `model` as a bundle; copy only the circuit's weights and tables from `source`."""
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


def _with_report(manifest: Manifest, report: dict[str, Any]) -> Manifest:
    """Add the report; with ranges for TensorRT the metrics stay those of the other engines."""
    if manifest.ranges:
        ranges = manifest.ranges.model_copy(update={"report": report})
        return manifest.model_copy(update={"ranges": ranges})
    assert manifest.quantised is not None
    record = manifest.quantised.model_copy(update={"report": report})
    changed = {"quantised": record, "metrics": report["after"], "alarms": {}}
    return manifest.model_copy(update=changed)


def _score(bundle: Bundle, data: Path) -> tuple[float, float]:
    with closing(Segmenter.open(bundle, Settings())) as segmenter:
        return score(segmenter, data)

"""From a bundle to one whose network runs in INT8, or a refusal."""

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
    nncf_version,
    quantise,
    rank_runs,
    readable,
    restore_layers,
)
from qlumen.calibration.range_search import check_modelopt
from qlumen.calibration.ranges import RESTORED, Say, compare_in_torch, quantise_with_ranges
from qlumen.datasets.splits import VALIDATION, spread
from qlumen.errors import BundleError, UsageError
from qlumen.evaluation.measure import TEST_SPLITS
from qlumen.evaluation.model_card import write_papers
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
"""Pictures on which layers are ranked."""


def make_int8(
    source: Bundle,
    output: Path,
    data: Path,
    *,
    pictures: int,
    engine: Literal["openvino", "tensorrt"] = "openvino",
    test_splits: bool = False,
    force: bool = False,
    say: Say = lambda line: None,
) -> Bundle:
    """Quantise a bundle's network and write the result as a bundle of its own.

    For TensorRT that is the bundle as it is and, beside it, the ranges of its convolutions.
    Where validation loses too much, the layers that disturb the map most stay in FP32. The
    bundle takes its place when it is complete; one that stood there before stays until then.

    Args:
        pictures: how many set the ranges.
        engine: that is to run it.
        test_splits: measure on these too, for the report; nothing is chosen on them.
        force: write it whatever it loses.

    Raises:
        BundleError: it loses more than 0.003 Dice on a set, and `force` is not given; or the
            source is INT8 already, or `output` cannot be replaced.
        DatasetError: pictures are missing.
        MissingExtraError: NNCF, or torch or nvidia-modelopt, is not installed.
    """
    check_output(source, output)
    if engine == "tensorrt":
        check_modelopt()
    spec = source.manifest.input
    chosen = read_calibration_images(
        data, Preprocessor((spec.width, spec.height), spec.fit), pictures
    )
    splits = (VALIDATION, *(TEST_SPLITS if test_splits else ()))
    with replacing(output) as part:
        if engine == "tensorrt":
            bundle = quantise_with_ranges(source, part, data, chosen, say)
            say("measuring both in torch on the CPU")
            report = compare_in_torch(source, bundle, data, splits)
        else:
            bundle = _quantise(source, part, data, chosen, say)
            report = compare(source, bundle, data, splits)
        if not force:
            check_loss(report)
        write_papers(part, _with_report(bundle.manifest, report))
    return read_bundle(output)


def check_output(source: Bundle, output: Path) -> None:
    """Raise, before any work, if `source` cannot be quantised or `output` not be written."""
    if source.manifest.quantised:
        raise BundleError(f"{source.folder} is INT8 already; name the bundle it was made from")
    if output.resolve() == source.folder.resolve():
        raise UsageError(f"--output {output} is the bundle itself; choose another name")
    if not output.absolute().parent.is_dir():
        raise UsageError(f"--output {output}: there is no folder {output.parent}; create it first")
    check_replaceable(output)


def _quantise(
    source: Bundle, part: Path, data: Path, pictures: CalibrationImages, say: Say
) -> Bundle:
    """The bundle in `part` with the fewest layers in FP32 whose loss is small; or where none
    is, with all that may be put back."""
    original = ov.Core().read_model(source.model)
    say(f"quantising with {len(pictures.names)} pictures")
    full = quantise(original, pictures)
    wanted = _score(source, data)

    def write(model: ov.Model, left_in_f32: tuple[str, ...]) -> tuple[Bundle, Loss]:
        record = QuantisedRecord(
            bundle_sha256=source.sha256,
            pictures=len(pictures.names),
            pictures_sha256=pictures.names_sha256(),
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
    say("ranking the layers by what they disturb")
    some = spread(pictures.images, RANKED_ON)
    ranked = rank_runs(full, original, int8_layers(full), some)
    for count in RESTORED:
        names = [name for run in ranked[:count] for name in run]
        places = tuple(readable(full, name) for name in names)
        bundle, loss = write(restore_layers(full, original, names), places)
        say(f"{len(names)} layers in FP32: {loss}")
        if loss.small:
            break
    return bundle


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


def _with_report(manifest: Manifest, report: dict[str, Any]) -> Manifest:
    """With ranges for TensorRT the metrics stay those of the other engines."""
    if manifest.ranges:
        ranges = manifest.ranges.model_copy(update={"report": report})
        return manifest.model_copy(update={"ranges": ranges})
    assert manifest.quantised is not None
    record = manifest.quantised.model_copy(update={"report": report})
    return manifest.model_copy(update={"quantised": record, "metrics": report["after"]})


def _score(bundle: Bundle, data: Path) -> tuple[float, float]:
    with closing(Segmenter.open(bundle, Settings())) as segmenter:
        return score(segmenter, data)

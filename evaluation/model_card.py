"""Writes the card of a bundle: its network, training, scores and limits."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qlumen.datasets.splits import (
    NEGATIVES_SCORE,
    NEGATIVES_TRAIN,
    TRAINING,
    VALIDATION,
    splits_to_score,
)
from qlumen.networks.bundle import (
    CARD,
    RESIZED_FROM,
    Bundle,
    ImportedRecord,
    Manifest,
    QuantisedRecord,
    RangesRecord,
    write_manifest,
)

LOSSES = {
    "bce_dice": "BCE + Dice",
    "structure": "BCE weighted towards borders + Dice",
    "tversky": "BCE + Tversky",
}
THRESHOLDS = {
    "val": "Thresholds and epoch were chosen on `val`.",
    "start": "The thresholds are those of the bundle that the training started from.",
    "given": "The thresholds were given, not chosen.",
}
COLUMNS = ("dice", "iou", "precision", "recall", "mae", "hd95_px")


def render_card(manifest: Manifest) -> str:
    """Write a Markdown text for people from the manifest."""
    parts = [
        f"# {manifest.name}, version {manifest.version}",
        "Segments polyps in colonoscopy images. **A research tool, not a medical device.**",
    ]
    if manifest.imported:
        parts += [_import(manifest, manifest.imported)]
        parts += [_table(manifest)] if manifest.metrics else []
    else:
        parts += [
            _network(manifest),
            _training(manifest.provenance),
            _scores(manifest),
            _limits(manifest.provenance),
            _terms(manifest.provenance),
        ]
    if origin := manifest.provenance.get(RESIZED_FROM):
        parts.append(_describe_resizing(manifest, origin))
    if manifest.quantised:
        parts.append(_describe_quantisation(manifest.quantised))
    if manifest.ranges:
        parts.append(_describe_ranges(manifest.ranges))
    if manifest.calibration:
        parts.append(_describe_calibration(manifest.calibration))
    return "\n\n".join(parts) + "\n"


def write_records(folder: Path, manifest: Manifest) -> Bundle:
    """Write `CARD.md` and, last, the manifest of the bundle in `folder`."""
    (folder / CARD).write_text(render_card(manifest), encoding="utf-8")
    return write_manifest(folder, manifest)


def trained_lists(provenance: Mapping[str, Any]) -> set[str]:
    """Return the lists that the run used, or a run that it started from or was mixed with.

    Images whose masks were not read count too: the network has seen them.
    """
    settings = provenance.get("settings", {})
    lists = {*_own_lists(settings), *settings.get("unlabelled_lists", ())}
    earlier = provenance.get("started_from"), provenance.get("encoder_from")
    for run in (*earlier, *provenance.get("mixed_with", ())):
        if run:
            lists |= trained_lists(run)
    return lists


def splits_to_measure(data: Path, provenance: Mapping[str, Any]) -> list[str]:
    """Return the splits of a data folder that a training of this provenance did not use.

    Raises:
        DatasetError: the folder has no split to score.
    """
    used = trained_lists(provenance)
    return [split for split in splits_to_score(data) if split not in used]


def _own_lists(settings: Mapping[str, Any]) -> Sequence[str]:
    """Return the lists of a run; runs of releases before these lists have `train_on`."""
    lists: Sequence[str] = settings.get("train_lists", (TRAINING,))
    return (*lists, VALIDATION) if settings.get("train_on") == "all" else lists


def _network(manifest: Manifest) -> str:
    spec, thresholds = manifest.input, manifest.thresholds
    lines = [
        "## Network",
        f"U-Net on EfficientNet-Lite0, input {spec.width}x{spec.height} ({spec.fit}), output at "
        f"half that size. Thresholds: high {thresholds.high}, low {thresholds.low}, smallest area "
        f"{thresholds.min_area_fraction:.2%} of the frame.",
    ]
    if record := manifest.quantum:
        tables = " and ".join(f"{rows}x{columns}" for rows, columns in record.table_shapes)
        lines.append(
            f"Bottleneck: the circuit `{record.circuit}` behind a gated residual. It is stored as "
            f"its exact table of {tables} coefficients, from {record.circuit_runs} runs on "
            f"`{record.device}`. Largest difference from live execution on "
            f"{record.checked_inputs} random inputs: {record.max_abs_error:.1e}."
        )
    return "\n\n".join(lines)


def _training(provenance: dict[str, Any]) -> str:
    """Write one paragraph for each run, the first run first."""
    runs: list[str] = []
    run: dict[str, Any] | None = provenance
    while run:
        runs.insert(0, _run(run))
        run = run.get("started_from")
    return "\n\n".join(["## Training", *runs])


def _run(provenance: dict[str, Any]) -> str:
    settings = provenance["settings"]
    start = "the run above" if provenance.get("started_from") else "ImageNet weights in the encoder"
    if encoder := provenance.get("encoder_from"):
        lists = sorted(trained_lists(encoder))
        start = f"an encoder that was pre-trained without masks on {_name_lists(lists)}"
    sides = settings.get("sides") or [settings["input_size"]]
    text = (
        f"{_images(provenance)}, {provenance['epochs_done']} of {settings['epochs']} epochs at "
        f"{', '.join(f'{side}x{side}' for side in sides)}, batch {settings['batch_size']}, "
        f"{LOSSES[settings.get('loss', 'bce_dice')]}, AdamW with a one-cycle rate up to "
        f"{settings['rate']:g}, starting from {start}, seed {settings['seed']}. "
        f"{_describe_choice(provenance)}"
    )
    if mixed := provenance.get("mixed_with"):
        text += f" Then the weights were mixed with {' and '.join(map(_part, mixed))}."
    return text


def _part(row: dict[str, Any]) -> str:
    kept = row.get("epoch_written", "best")
    return (
        f"{row['share']:.0%} of the bundle {row['bundle_sha256'][:8]} ({kept} epoch of the "
        f"{row['settings']['epochs']} with a rate up to {row['settings']['rate']:g})"
    )


def _describe_choice(provenance: dict[str, Any]) -> str:
    if provenance["best_validation_dice"] is None:
        return "Kept: the averaged weights of the last epoch; no image was held back to validate."
    best = (
        f"epoch {provenance['best_epoch']}, validation Dice {provenance['best_validation_dice']} "
        "at 0.5, at the training size"
    )
    if provenance.get("epoch_written") == "last":
        return f"Kept: the averaged weights of the last epoch (best was {best})."
    return f"Kept: the averaged weights of {best}."


def _images(provenance: dict[str, Any]) -> str:
    settings, free = provenance["settings"], provenance.get("lesion_free_images", 0)
    lesions = provenance["train_images"] - free
    text = f"{lesions} images with lesions ({_name_lists(_own_lists(settings))}; "
    text += f"{provenance['val_images']} other images to validate)"
    if free:
        text += f" and {free} without, repetitions counted"
    if unlabelled := settings.get("unlabelled_lists"):
        text += f", and the images of {_name_lists(unlabelled)} without their masks"
    return text


def _name_lists(lists: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in lists)


def _import(manifest: Manifest, record: ImportedRecord) -> str:
    """Write the network, its origin, its parity, what is left out, and its licence."""
    spec, thresholds, parity = manifest.input, manifest.thresholds, record.parity
    details = {**manifest.network, **record.preparation}
    listed = ", ".join(f"{k} {v}" for k, v in details.items() if k != "source_sha256" and v)
    left_out = record.left_out or ("nothing is known to be left out",)
    same = (
        f"On {parity['frames']} frames of the built-in scene, {parity['differing_share']:.1e} of "
        "the pixels have another mask than the original's in its own runtime "
        f"({parity['found_share']:.1%} of them lie in a mask). The maps differ by at most "
        f"{parity['max_difference']:.1e}."
        if parity
        else "The bundle was not compared with the original."
    )
    return "\n\n".join([
        "## Network",
        f"Imported by qlumen from `{record.source}` (SHA-256 {record.source_sha256}): {listed}. "
        f"Input {spec.width}x{spec.height} ({spec.fit}). It draws the class "
        f"`{record.drawn_class[0]}`, number {record.drawn_class[1]}; other classes are not drawn. "
        f"Thresholds: high {thresholds.high}, low {thresholds.low}, smallest area "
        f"{thresholds.min_area_fraction:.2%} of the frame. qlumen did not train this network, and "
        "does not know on which images it was trained.",
        "## Parity",
        same,
        "## What is left out",
        "\n".join(f"- {one}" for one in left_out),
        "## Licence",
        record.licence,
    ])  # fmt: skip


def _scores(manifest: Manifest) -> str:
    fitted = manifest.calibration.get("fitted_on")
    thresholds = (
        f"The thresholds were chosen on `{fitted}`, so its row is optimistic."
        if fitted
        else THRESHOLDS[manifest.provenance.get("thresholds_from", "val")]
    )
    note = (
        "Each image was judged upright and upside down, as an image that stands alone always is. "
        f"{thresholds} The frames of `test_clinicdb` share sequences with training frames, so that "
        "row is optimistic."
    )
    if VALIDATION in manifest.metrics and VALIDATION in trained_lists(manifest.provenance):
        note += (
            f" The images of `{VALIDATION}` were trained on, so its row does not measure accuracy."
        )
    paragraphs = [_table(manifest), note]
    if negatives := manifest.metrics.get(NEGATIVES_SCORE):
        paragraphs.append(
            f"The network finds something in {negatives['with_findings']:.1%} of "
            f"{negatives['images']} images without lesion that were not trained on."
        )
    return "\n\n".join(paragraphs)


def _table(manifest: Manifest) -> str:
    head = "| split | images | " + " | ".join(COLUMNS) + " |"
    rule = "|---" * (len(COLUMNS) + 2) + "|"
    rows = [
        f"| {split} | {row['images']} | " + " | ".join(str(row[c]) for c in COLUMNS) + " |"
        for split, row in manifest.metrics.items()
        if "dice" in row
    ]
    return "\n".join(["## Scores", "", head, rule, *rows])


def _limits(provenance: dict[str, Any]) -> str:
    if NEGATIVES_TRAIN in provenance.get("settings", {}).get("lesion_free_lists", ()):
        seen = SAW_WHOLE_FRAMES
    else:
        seen = SAW_NEGATIVES if provenance.get("lesion_free_images") else SAW_NO_NEGATIVES
    return f"## Limits\n\n{seen}\n{LIMITS}"


SAW_NEGATIVES = """\
Most training images without a polyp are close views of mucosa. Few are whole frames, and very few
show instruments, stool or a blurred view. The network still marks something on many video frames
without a polyp."""


SAW_WHOLE_FRAMES = """\
The whole frames without a polyp that it was trained on are few, and half of them show colitis.
Stool, foam and instruments come mostly from rendered scenes. The network still marks something on
some video frames without a polyp."""


SAW_NO_NEGATIVES = """\
All training images show a polyp. The network has not learned how a colon without a polyp looks.
It marks something on many frames without a polyp."""


LIMITS = """\
The network misses polyps below 2% of the frame, and flat and pale polyps, more often than others.
It was not tried on endoscopes other than those of its data sets, on children, or on capsule
endoscopy."""


def _terms(provenance: dict[str, Any]) -> str:
    paragraphs = [TERMS]
    if POLYPGEN in trained_lists(provenance):
        paragraphs.append(POLYPGEN_TERMS)
    if provenance.get("lesion_free_images"):
        paragraphs.append(NEGATIVES_TERMS)
    return "\n".join(["## Terms of the data", "", *paragraphs, WEIGHTS_TERMS])


TERMS = """\
Kvasir-SEG: free for research and education (Jha et al. 2020). CVC-ClinicDB: research and
education only (Bernal et al. 2015)."""


POLYPGEN = "polypgen_train"
POLYPGEN_TERMS = """\
PolypGen: CC BY 4.0 as published, for research and education by its site (Ali et al. 2023)."""


NEGATIVES_TERMS = """\
Whole frames without lesion: HyperKvasir, CC BY 4.0 (Borgli et al. 2020); Kvasir-Instrument,
Nerthus and crops of mucosa: research and education."""


WEIGHTS_TERMS = "The weights derive from these: research and education."


def _describe_resizing(manifest: Manifest, origin: str) -> str:
    spec = manifest.input
    return (
        "## Input size\n\n"
        f"Compiled for {spec.width}x{spec.height} by `qlumen calibrate budget` from the weights of "
        f"the bundle with SHA-256 {origin[:12]}...; not trained further."
    )


def _describe_quantisation(record: QuantisedRecord) -> str:
    left = "".join(f", `{name}`" for name in record.left_in_f32)
    lines = [
        "## INT8",
        f"Quantised with NNCF {record.nncf} from the bundle with SHA-256 "
        f"{record.bundle_sha256[:12]}..., which holds the trained weights. The ranges come from "
        f"{record.pictures} images of the training side. These parts stay in FP32: the head, and "
        f"the bottleneck with its circuit, where there is one{left}.",
        _before_and_after(record.report),
    ]
    return "\n\n".join(lines)


def _describe_ranges(record: RangesRecord) -> str:
    left = "".join(f", `{name.removeprefix('network.')}`" for name in record.left)
    lines = [
        "## INT8 in TensorRT",
        f"With the 8-bit ranges that nvidia-modelopt {record.modelopt} found on {record.pictures} "
        "images of the training side, TensorRT computes the convolutions of encoder and decoder in "
        "8 bits. Corrected biases restore the mean that rounding changes. These parts are not "
        f"quantised: the bottleneck with its circuit, the head{left}. The other engines run the "
        "network without a change. Both columns were computed in torch on the CPU, as TensorRT "
        "rounds, and not on a GPU.",
        _before_and_after(record.report),
    ]
    return "\n\n".join(lines)


def _before_and_after(report: dict[str, Any]) -> str:
    rows = ["| set | FP32 | INT8 |", "|---|---|---|"]
    before, after = report["before"], report["after"]
    for name, row in before.items():
        key = "dice" if "dice" in row else "with_findings"
        what = f"Dice, {name}" if key == "dice" else f"share with a finding, {name}"
        rows.append(f"| {what} | {row[key]:.4f} | {after[name][key]:.4f} |")
    if size := report.get("bytes"):
        rows.append(f"| bytes | {size['before']:,} | {size['after']:,} |")
    return "\n".join(rows)


def _describe_calibration(calibration: dict[str, Any]) -> str:
    split = calibration.get("fitted_on", VALIDATION)
    ece = calibration["ece"][split]
    return (
        "## Calibration\n\n"
        f"The head is divided by the temperature {calibration['temperature']:.4g}, fitted on "
        f"`{split}`. The calibration error in the lesion region is {ece['after']:.4f}; before it "
        f"was {ece['before']:.4f}. Thresholds: {calibration['rule']}"
    )

"""The card of a bundle after calibration: that of training, and what was changed since."""

from pathlib import Path
from typing import Any

from qlumen.evaluation.model_card import render_card
from qlumen.networks.bundle import CARD, RESIZED_FROM, Manifest, QuantisedRecord, RangesRecord


def write_card(folder: Path, manifest: Manifest) -> None:
    """Write `CARD.md` from the manifest alone."""
    text = "\n\n".join([render_card(manifest).rstrip("\n"), *_sections(manifest)])
    (folder / CARD).write_text(text + "\n", encoding="utf-8")


def _sections(manifest: Manifest) -> list[str]:
    sections = []
    if origin := manifest.provenance.get(RESIZED_FROM):
        sections.append(_resized(manifest, origin))
    if manifest.quantised:
        sections.append(_quantised(manifest.quantised))
    if manifest.ranges:
        sections.append(_in_tensorrt(manifest.ranges))
    if manifest.calibration:
        sections.append(_calibrated(manifest.calibration))
    return sections


def _resized(manifest: Manifest, origin: str) -> str:
    spec = manifest.input
    return (
        "## Input size\n\n"
        f"Compiled for {spec.width}x{spec.height} by `qlumen calibrate budget` from the weights of "
        f"the bundle with SHA-256 {origin[:12]}...; not trained further."
    )


def _quantised(record: QuantisedRecord) -> str:
    left = ", ".join(f"`{name}`" for name in record.left_in_f32) or "none further"
    lines = [
        "## INT8",
        f"Quantised with NNCF {record.nncf} from the bundle with SHA-256 "
        f"{record.bundle_sha256[:12]}..., which holds the trained weights. The ranges come from "
        f"{record.pictures} pictures of the training side. In FP32 are the bottleneck with its "
        f"circuit, the head, and of the other convolutions: {left}.",
        _before_and_after(record.report),
    ]
    return "\n\n".join(lines)


def _in_tensorrt(record: RangesRecord) -> str:
    left = ", ".join(f"`{name.removeprefix('network.')}`" for name in record.left) or "none further"
    lines = [
        "## INT8 in TensorRT",
        f"With the 8-bit ranges that nvidia-modelopt {record.modelopt} found on {record.pictures} "
        "pictures of the training side, TensorRT computes the convolutions of encoder and decoder "
        "on bytes, with biases that make up for what is rounded off in the mean. Not quantised are "
        "the bottleneck with its circuit, the head, and of the other "
        f"convolutions: {left}. The other engines run the network as it was. Both columns were "
        "computed in torch on the CPU, as TensorRT rounds; not on a card.",
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


def _calibrated(calibration: dict[str, Any]) -> str:
    ece = calibration["ece"]["val"]
    return (
        "## Calibration\n\n"
        f"The head is divided by the temperature {calibration['temperature']:.4g}, fitted on "
        f"`val`: the calibration error in the lesion region is {ece['after']:.4f}, before "
        f"{ece['before']:.4f}. Thresholds: {calibration['rule']}"
    )

r"""What \`qlumen calibrate\` shows of its figures: tables, and a picture."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from qlumen.calibration.operating_point import Fitted
from qlumen.datasets.splits import VALIDATION
from qlumen.networks.bundle import QuantisedRecord, RangesRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WAYS = {"before": "FP32", "before_bf16": "FP32 as bf16", "after": "INT8"}
INCHES = (11.0, 4.8)
DPI = 110


def print_int8(record: QuantisedRecord, console: Console) -> None:
    """FP32, FP32 in bf16 arithmetic, and INT8, side by side."""
    report = record.report
    ways = {key: title for key, title in WAYS.items() if key in report}
    table = Table("", *ways.values(), title="before and after")
    for name in report["before"]:
        table.add_row(name, *(_figure(report[key][name]) for key in ways))
    for level in ("p50", "p95"):
        table.add_row(f"ms, {level}", *(f"{report['ms'][key][level]:.1f}" for key in ways))
    table.add_row("MB", *(_megabytes(report["bytes"], key) for key in ways))
    console.print(table)
    ratio = report["ms"]["before"]["p50"] / report["ms"]["after"]["p50"]
    console.print(f"INT8 takes 1/{ratio:.2f} of FP32's time, in turns in one run", highlight=False)
    left = ", ".join(record.left_in_f32)
    if left:
        console.print(f"kept in FP32: {left}", highlight=False)


def print_ranges(record: RangesRecord, console: Console) -> None:
    """FP32 and 8 bits as TensorRT rounds, side by side."""
    table = Table("", "FP32", "INT8", title="before and after, both in torch on the CPU")
    for name, before in record.report["before"].items():
        table.add_row(name, _figure(before), _figure(record.report["after"][name]))
    console.print(table)
    if record.left:
        console.print(f"not in 8 bits: {', '.join(record.left)}", highlight=False)


def print_fitted(result: Fitted, console: Console) -> None:
    """Temperature, calibration errors, and the chosen point."""
    table = Table("split", "before", "after", title="calibration error in the lesion region")
    for split in result.before:
        errors = (result.before[split].error, result.after[split].error)
        table.add_row(split, *(f"{error:.4f}" for error in errors))
    console.print(table)
    choice, bounds = result.choice, result.choice.thresholds
    lines = [
        f"temperature {result.temperature:.4f}, fitted on val",
        f"low {bounds.low}, high {bounds.high}: validation Dice {choice.dice:.4f}, sensitivity "
        f"per lesion {choice.sensitivity:.4f}, {choice.false_findings:.4f} false findings a frame",
    ]
    if choice.with_findings is not None:
        share = f"{choice.with_findings:.4f}"
        lines.append(f"training-side pictures without lesion that have a finding: {share}")
    for line in lines:
        console.print(line, highlight=False)


def print_metrics(before: Mapping[str, Any], after: Mapping[str, Any], console: Console) -> None:
    """A bundle's own figures, as they stood and as they stand."""
    table = Table("set", "before", "now", title="the bundle's figures")
    for name, row in after.items():
        table.add_row(name, _figure(before[name]) if name in before else "-", _figure(row))
    console.print(table)


def plot(result: Fitted, path: Path) -> None:
    """Write a PNG; a file that is there is replaced."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=INCHES, layout="constrained")
    left, right = figure.subplots(1, 2)
    _diagram(left, result)
    _points(right, result)
    figure.suptitle("qlumen calibration on val - a research tool, not a medical device")
    figure.savefig(path, dpi=DPI, format="png")


def _megabytes(sizes: Mapping[str, int], key: str) -> str:
    return f"{sizes[key] / 1e6:.1f}" if key in sizes else ""


def _figure(row: dict[str, Any]) -> str:
    if "dice" in row:
        return f"Dice {row['dice']:.4f}"
    return f"{row['with_findings']:.1%} with a finding"


def _diagram(axes: "Axes", result: Fitted) -> None:
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--", label="true probability")
    rows = (("before", "tab:gray", result.before), ("after", "tab:blue", result.after))
    for name, colour, diagrams in rows:
        diagram = diagrams[VALIDATION]
        filled = diagram.weight > 0
        probability, lesion = diagram.probability[filled], diagram.lesion[filled]
        size = 12 + 400 * np.sqrt(diagram.weight[filled]) * 0.5
        label = f"{name}: error {diagram.error:.3f}"
        axes.plot(probability, lesion, color=colour, label=label)
        axes.scatter(probability, lesion, s=size, color=colour)
    axes.set(
        xlabel="mean probability in the bin",
        ylabel="share of lesion pixels",
        title=f"lesion region, temperature {result.temperature:.3g}",
        aspect="equal",
    )
    axes.legend(loc="upper left")


def _points(axes: "Axes", result: Fitted) -> None:
    for low in sorted({point.thresholds.low for point in result.points}):
        points = [point for point in result.points if point.thresholds.low == low]
        falls = [point.false_findings for point in points]
        axes.plot(falls, [p.sensitivity for p in points], marker=".", label=f"low {low:g}")
    choice = result.choice
    axes.scatter(
        [choice.false_findings], [choice.sensitivity], s=160, facecolors="none",
        edgecolors="black", zorder=3,
        label=f"chosen: low {choice.thresholds.low:g}, high {choice.thresholds.high:g}",
    )  # fmt: skip
    axes.set(
        xlabel="false findings a frame, lesion-free pictures included",
        ylabel="sensitivity per lesion",
        title=f"operating points, Dice there {choice.dice:.4f}",
    )
    axes.legend(loc="lower right", fontsize="small")

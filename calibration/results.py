"""Shows the figures of `qlumen calibrate` as tables and a plot."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.table import Table

from qlumen.calibration.operating_point import OperatingPoint
from qlumen.networks.bundle import QuantisedRecord, RangesRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMS = {"before": "FP32", "before_bf16": "FP32 as bf16", "after": "INT8"}
INCHES = (11.0, 4.8)
DPI = 110


def print_int8(record: QuantisedRecord, console: Console) -> None:
    """Print FP32, FP32 in bf16 arithmetic, and INT8 side by side."""
    report = record.report
    forms = {key: title for key, title in FORMS.items() if key in report}
    table = Table("", *forms.values(), title="before and after")
    for name in report["before"]:
        table.add_row(name, *(_figure(report[key][name]) for key in forms))
    for level in ("p50", "p95"):
        table.add_row(f"ms, {level}", *(f"{report['ms'][key][level]:.1f}" for key in forms))
    table.add_row("MB", *(_megabytes(report["bytes"], key) for key in forms))
    console.print(table)
    ratio = report["ms"]["before"]["p50"] / report["ms"]["after"]["p50"]
    console.print(f"INT8 takes 1/{ratio:.2f} of the time of FP32 in the same run", highlight=False)
    if record.left_in_f32:
        console.print(f"kept in FP32: {', '.join(record.left_in_f32)}", highlight=False)


def print_ranges(record: RangesRecord, console: Console) -> None:
    """Print FP32 and 8 bits, as TensorRT rounds, side by side."""
    table = Table("", "FP32", "INT8", title="before and after, both in torch on the CPU")
    for name, before in record.report["before"].items():
        table.add_row(name, _figure(before), _figure(record.report["after"][name]))
    console.print(table)
    if record.left:
        console.print(f"not in 8 bits: {', '.join(record.left)}", highlight=False)


def print_point(result: OperatingPoint, console: Console) -> None:
    """Print temperature, calibration errors and the chosen thresholds."""
    table = Table("split", "before", "after", title="calibration error in the lesion region")
    for split in result.before:
        errors = (result.before[split].error, result.after[split].error)
        table.add_row(split, *(f"{error:.4f}" for error in errors))
    console.print(table)
    choice, bounds = result.choice, result.choice.thresholds
    lines = [
        f"temperature {result.temperature:.4f}, fitted on val",
        f"low {bounds.low}, high {bounds.high}: validation Dice {choice.dice:.4f}, sensitivity per "
        f"lesion {choice.sensitivity:.4f}, {choice.false_findings:.4f} false findings per frame",
    ]
    if choice.with_findings is not None:
        share = f"{choice.with_findings:.4f}"
        lines.append(f"share of training-side lesion-free images with a finding: {share}")
    for line in lines:
        console.print(line, highlight=False)


def print_metrics(before: Mapping[str, Any], after: Mapping[str, Any], console: Console) -> None:
    """Print a bundle's figures before and now."""
    table = Table("set", "before", "now", title="the bundle's figures")
    for name, row in after.items():
        table.add_row(name, _figure(before[name]) if name in before else "-", _figure(row))
    console.print(table)


def plot(result: OperatingPoint, path: Path) -> None:
    """Draw reliability and operating points as a PNG; replace an existing file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=INCHES, layout="constrained")
    left, right = figure.subplots(1, 2)
    _diagram(left, result)
    _points(right, result)
    figure.suptitle(f"qlumen calibration on {result.fitted_on} - research tool, no medical device")
    figure.savefig(path, dpi=DPI, format="png")


def _megabytes(sizes: Mapping[str, int], key: str) -> str:
    return f"{sizes[key] / 1e6:.1f}" if key in sizes else ""


def _figure(row: dict[str, Any]) -> str:
    if "dice" in row:
        return f"Dice {row['dice']:.4f}"
    return f"{row['with_findings']:.1%} with a finding"


def _diagram(axes: "Axes", result: OperatingPoint) -> None:
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--", label="true probability")
    rows = (("before", "tab:gray", result.before), ("after", "tab:blue", result.after))
    for name, colour, diagrams in rows:
        diagram = diagrams[result.fitted_on]
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


def _points(axes: "Axes", result: OperatingPoint) -> None:
    for low in sorted({point.thresholds.low for point in result.points}):
        points = [point for point in result.points if point.thresholds.low == low]
        false = [point.false_findings for point in points]
        axes.plot(false, [p.sensitivity for p in points], marker=".", label=f"low {low:g}")
    choice = result.choice
    axes.scatter(
        [choice.false_findings], [choice.sensitivity], s=160, facecolors="none",
        edgecolors="black", zorder=3,
        label=f"chosen: low {choice.thresholds.low:g}, high {choice.thresholds.high:g}",
    )  # fmt: skip
    axes.set(
        xlabel="false findings per frame, with lesion-free images",
        ylabel="sensitivity per lesion",
        title=f"operating points, chosen: Dice {choice.dice:.4f}",
    )
    axes.legend(loc="lower right", fontsize="small")

"""Draws plots of evaluated sets: precision and recall, scores by threshold, reliability."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

SIDE_INCHES = 5.5
DPI = 120
NOTE = "Research tool, not a medical device"
Sets = Mapping[str, Mapping[str, Any]]


def draw_plots(folder: Path, sets: Sets) -> list[Path]:
    """Write `precision-recall.png`, `thresholds.png` and `reliability.png`, one line per set.

    Args:
        folder: folder for the plots, made if it is missing
        sets: reports of `evaluation.run.report`, by name
    """
    folder.mkdir(parents=True, exist_ok=True)
    drawn = {
        "precision-recall.png": _precision_recall,
        "thresholds.png": _thresholds,
        "reliability.png": _reliability,
    }
    return [_write(folder / name, draw, sets) for name, draw in drawn.items()]


def _write(path: Path, draw: Callable[[Axes, Sets], None], sets: Sets) -> Path:
    figure = Figure(figsize=(SIDE_INCHES, SIDE_INCHES), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    draw(axes, sets)
    axes.set(xlim=(0, 1), ylim=(0, 1.005))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left" if path.stem != "reliability" else "upper left", fontsize=8)
    figure.supxlabel(NOTE, fontsize=7, color="grey")
    figure.savefig(path)
    return path


def _precision_recall(axes: Axes, sets: Sets) -> None:
    axes.set(title="Pixels of all images", xlabel="recall", ylabel="precision")
    for name, content in sets.items():
        curve = content["curves"]
        if curve["recall"] is not None:
            label = f"{name}, average precision {curve['average_precision']:.3f}"
            axes.plot(curve["recall"], curve["precision"], label=label)


def _thresholds(axes: Axes, sets: Sets) -> None:
    title = "Bare map, without post-processing"
    axes.set(title=title, xlabel="threshold", ylabel="mean over images")
    for name, content in sets.items():
        curve = content["curves"]
        best = max(range(len(curve["dice"])), key=curve["dice"].__getitem__)
        label = f"{name}: Dice, best {curve['dice'][best]:.3f} at {curve['threshold'][best]:.2f}"
        (line,) = axes.plot(curve["threshold"], curve["dice"], label=label)
        axes.plot(curve["threshold"], curve["iou"], "--", color=line.get_color(), lw=1)
    axes.plot([], [], "--", color="grey", lw=1, label="IoU")


def _reliability(axes: Axes, sets: Sets) -> None:
    title = "Pixels around lesions and findings"
    axes.set(title=title, xlabel="mean probability", ylabel="share of lesion pixels")
    axes.plot([0, 1], [0, 1], color="grey", lw=1, label="perfectly calibrated")
    for name, content in sets.items():
        if record := content["reliability"]:
            points = [(row["probability"], row["lesion"]) for row in record["bins"]]
            axes.plot(
                *zip(*points, strict=True), "o-", ms=3, label=f"{name}, ECE {record['ece']:.3f}"
            )

"""The picture of a calibration: reliability before and after, and the operating points."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from qlumen.calibration.operating_point import Fitted
from qlumen.datasets.splits import VALIDATION
from qlumen.errors import MissingExtraError
from qlumen.evaluation.reliability import Reliability

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INCHES = (11.0, 4.8)
DPI = 110


def check_plot() -> None:
    """Raise MissingExtraError if there is no matplotlib."""
    try:
        import matplotlib  # noqa: F401 -- only whether it is there
    except ImportError as error:
        raise MissingExtraError(
            "--plot needs matplotlib, which is not installed: pip install 'qlumen[train]'"
        ) from error


def plot(result: Fitted, path: Path) -> None:
    """Write a PNG; a file that is there is replaced."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=INCHES, layout="constrained")
    left, right = figure.subplots(1, 2)
    _diagram(left, result)
    _points(right, result)
    figure.suptitle("qlumen calibration on val - a research tool, not a medical device")
    figure.savefig(path, dpi=DPI, format="png")


def _diagram(axes: "Axes", result: Fitted) -> None:
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--", label="true probability")
    rows = (("before", "tab:gray", result.before), ("after", "tab:blue", result.after))
    for name, colour, diagrams in rows:
        _curve(axes, diagrams[VALIDATION], name, colour)
    axes.set(
        xlabel="mean probability in the bin",
        ylabel="share of lesion pixels",
        title=f"lesion region, temperature {result.temperature:.3g}",
        aspect="equal",
    )
    axes.legend(loc="upper left")


def _curve(axes: "Axes", diagram: Reliability, name: str, colour: str) -> None:
    filled = diagram.weight > 0
    size = 12 + 400 * np.sqrt(diagram.weight[filled]) * 0.5
    label = f"{name}: error {diagram.error:.3f}"
    axes.plot(diagram.probability[filled], diagram.lesion[filled], color=colour, label=label)
    axes.scatter(diagram.probability[filled], diagram.lesion[filled], s=size, color=colour)


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

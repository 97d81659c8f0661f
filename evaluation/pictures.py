"""What `qlumen evaluate` draws besides its figures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qlumen.datasets.pairs import Pair
from qlumen.errors import MissingExtraError
from qlumen.evaluation.worst import draw_worst, worst
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis


def check_plotting() -> None:
    """Raise MissingExtraError where plots cannot be drawn, before anything is scored."""
    try:
        import qlumen.evaluation.plots  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"--plots needs {error.name}: pip install 'qlumen[train]'"
        ) from error


def draw(
    plots: Path | None,
    worst_file: Path | None,
    sets: Mapping[str, Mapping[str, Any]],
    pairs: Mapping[str, Sequence[Pair]],
    analysis: FrameAnalysis,
) -> list[dict[str, Any]]:
    """Draw what has a path, and return the worst images: set, name and Dice.

    Args:
        sets, pairs: reports and files by the set's name.
    """
    if plots:
        from qlumen.evaluation.plots import draw_plots

        draw_plots(plots, sets)
    files = [pair for name in sets for pair in pairs[name]]
    places = [name for name in sets for _ in pairs[name]]
    dice = [row["dice"] for name in sets for row in sets[name]["images"]]
    rows = worst(dice)
    if worst_file:
        draw_worst(worst_file, [(files[row], dice[row]) for row in rows], analysis)
    return [{"set": places[r], "name": files[r].image.name, "dice": dice[r]} for r in rows]

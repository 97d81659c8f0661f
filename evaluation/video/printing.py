"""Prints the alarms of `qlumen evaluate --video`."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

TITLES = {
    "scene": "rendered colons without polyps, with stool, bubbles, instruments and caps",
    "panned": "views that move over images without a lesion",
    "polyps": "rendered colons with polyps; false alarms while none is in view",
}


def print_video(rows: Mapping[str, Sequence[Mapping[str, Any]]], console: Console) -> None:
    """Print a table for each row of videos, one line for each threshold, rising."""
    for name, points in rows.items():
        has_lesions = any("lesions" in point for point in points)
        heads = ["threshold", "false alarms/min", "95% by cluster"]
        if has_lesions:
            heads += ["in 3 s", "at all", "delay s", "alarms each", "frames boxed", "beside"]
        title = f"{name}, {points[0]['free_minutes']:.1f} min: {TITLES[name]}"
        if has_lesions:
            title += f"; {points[0]['lesions']} lesions"
        table = Table(*heads, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title=title)
        for point in sorted(points, key=lambda one: float(one["high"])):
            table.add_row(*_cells(point, has_lesions), style="bold" if point["own"] else "")
        console.print(table)
    console.print("bold: the thresholds in use", highlight=False)


def _cells(point: Mapping[str, Any], has_lesions: bool) -> list[str]:
    span = point["false_per_minute_95"]
    cells = [
        f"{point['high']:g}",
        _text(point["false_per_minute"], 2),
        f"{span[0]:.2f} to {span[1]:.2f}" if span else "-",
    ]
    if has_lesions:
        cells += [
            _text(point.get("found_in_3_s"), 2),
            _text(point.get("found"), 2),
            _text(point.get("median_delay_s"), 2),
            _text(point.get("alarms_per_found_lesion"), 2),
            _text(point.get("boxed_frames"), 2),
            str(point.get("false_alarms_beside", "-")),
        ]
    return cells


def _text(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"

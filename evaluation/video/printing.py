"""Prints the alarms of `qlumen evaluate --video`."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from qlumen.evaluation.printing import narrow_table, say

TITLES = {
    "scene": "rendered colons without polyps",
    "panned": "views that move over images without a lesion",
    "polyps": "rendered colons with polyps",
}
LESION_HEADS = ("in 3 s", "at all", "delay s", "each", "boxed", "beside")


def print_video(rows: Mapping[str, Sequence[Mapping[str, Any]]], console: Console) -> None:
    """Print a table for each row of videos, one line for each operating point."""
    for name, points in rows.items():
        has_lesions = any("lesions" in point for point in points)
        heads = ("dial", "threshold", "false/min", "95%", *(LESION_HEADS if has_lesions else ()))
        lesions = f", {points[0]['lesions']} lesions" if has_lesions else ""
        say(console, f"{name}: {TITLES[name]}; {points[0]['free_minutes']:.1f} min{lesions}")
        table = narrow_table(heads)
        for point in points:
            table.add_row(*_cells(point, has_lesions), style="bold" if point["own"] else "")
        console.print(table)
    say(console, "false/min: false alarms a minute without a lesion in view; 95% by cluster")
    say(console, "in 3 s, at all: lesions with an alarm; each: alarms of a found lesion")
    say(console, "boxed: frames in view that are hit; beside: other alarms in these frames")
    say(console, "dial: postprocess.sensitivity; bold: the thresholds in use")


def _cells(point: Mapping[str, Any], has_lesions: bool) -> list[str]:
    span = point["false_per_minute_95"]
    cells = [
        str(point["position"] or "-"),
        f"{point['high']:g}",
        _text(point["false_per_minute"], 2),
        f"{span[0]:.2f}-{span[1]:.2f}" if span else "-",
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

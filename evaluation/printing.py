"""What `qlumen evaluate` shows of its figures."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from qlumen.evaluation.strata import LARGE_FROM, SMALL_BELOW

OPTIMISTIC = (
    "The ClinicDB test frames of the PraNet split share sequences with its training frames, "
    "so their scores are optimistic."
)


def print_images(content: Mapping[str, Any], optimistic: bool, console: Console) -> None:
    """Means, intervals, sizes and detection of images with masks."""
    console.print(_one_row(f"mean over {content['count']} images", content["mean"]))
    for metric, (low, high) in content["interval_95"].items():
        say(console, f"{metric}: 95% bootstrap interval {low:.4f} to {high:.4f}")
    bounds = f"small: below {SMALL_BELOW:.0%} of the frame, large: from {LARGE_FROM:.0%}"
    table = Table("lesion", "images", "Dice", "95%", title=bounds)
    for name, row in content["by_size"].items():
        low, high = row["dice_95"]
        table.add_row(name, str(row["images"]), f"{row['dice']:.4f}", f"{low:.4f} to {high:.4f}")
    console.print(table)
    for name, value in content["detection"].items():
        say(console, f"{name.replace('_', ' ')}: {_text(value)}")
    if optimistic:
        say(console, OPTIMISTIC)


def print_negatives(content: Mapping[str, Any], console: Console) -> None:
    """The share of lesion-free pictures with a finding."""
    low, high = content["with_findings_95"]
    say(
        console,
        f"findings in {content['with_findings']:.4f} of {content['count']} pictures without "
        f"lesion, 95% bootstrap interval {low:.4f} to {high:.4f}; "
        f"{content['findings_per_image']:.4f} a picture",
    )


def print_clip(content: Mapping[str, Any], console: Console) -> None:
    """Hits on the frames with true boxes."""
    hit = sum(row["hit"] > 0 for row in content["boxed_frames"])
    say(
        console,
        f"findings on {content['frames_with_findings']} of {content['frames']} frames; hits on "
        f"{hit} of the {len(content['boxed_frames'])} frames with true boxes (IoU 0.3), each "
        "frame by itself",
    )


def say(console: Console, line: str) -> None:
    console.print(line, highlight=False)


def _one_row(title: str, values: Mapping[str, float | int | None]) -> Table:
    table = Table(title=title)
    for name in values:
        table.add_column(name, justify="right")
    table.add_row(*(_text(value) for value in values.values()))
    return table


def _text(value: float | int | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4f}"

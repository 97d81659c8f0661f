"""Prints the figures of `qlumen evaluate`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from qlumen.evaluation.run import LARGE_FROM, SMALL_BELOW

OPTIMISTIC = (
    "The ClinicDB test frames of the PraNet split share sequences with its training frames, "
    "so their scores are optimistic."
)
FIGURES = ("lesion_sensitivity", "frame_sensitivity", "false_findings_per_frame")
SEVERITY_COLUMNS = ("1: often seen", "2", "3: barely accepted")


def print_images(content: Mapping[str, Any], where: str, console: Console) -> None:
    """Print the figures of images with masks; `where` names their list and folder."""
    means = Table(title=f"mean over {content['count']} images")
    for name in content["mean"]:
        means.add_column(name, justify="right")
    means.add_row(*map(_text, content["mean"].values()))
    console.print(means)
    for metric, (low, high) in content["interval_95"].items():
        say(console, f"{metric}: 95% bootstrap interval {low:.4f} to {high:.4f}")
    bounds = f"small: below {SMALL_BELOW:.0%} of the frame, large: from {LARGE_FROM:.0%}"
    table = Table("lesion", "images", "Dice", "95%", title=bounds)
    for name, row in content["by_size"].items():
        low, high = row["dice_95"]
        table.add_row(name, str(row["images"]), f"{row['dice']:.4f}", f"{low:.4f} to {high:.4f}")
    console.print(table)
    console.print(_detection(content))
    if record := content.get("reliability"):
        bins = len(record["bins"])
        text = f"calibration error (ECE) in the lesion regions: {record['ece']:.4f}"
        say(console, f"{text}, over {record['images']} images, {bins} bins in use")
    if is_optimistic(where):
        say(console, OPTIMISTIC)


def print_sets(content: Mapping[str, Any], console: Console) -> None:
    """Print one row for each set, and for each source of a set with several or without lesions."""
    if sets := content["sets"]:
        heads = ("set", "n", "clusters", "Dice", span_title(sets.values()), "IoU", "lesions",
                 "frames", "false", "ECE")  # fmt: skip
        table = narrow_table(heads)
        for name, row in sets.items():
            table.add_row(name, *_set_cells(row))
            if len(row["sources"]) > 1:
                for source, part in row["sources"].items():
                    table.add_row(f"  {source}", *_set_cells(part))
        console.print(table)
        text = "lesions, frames: shares that are hit; false: findings per frame without a hit"
        say(console, text)
        _explain_clusters(sets.values(), console)
    if any(is_optimistic(name) for name in sets):
        say(console, OPTIMISTIC)
    if negatives := content.get("negatives"):
        _print_sources(negatives["sources"], console)


def print_robustness(content: Mapping[str, Any], where: str, console: Console) -> None:
    """Print the Dice of each set by kind and severity, and the share that is kept."""
    for name, row in content["sets"].items():
        title = f"{name}: Dice {row['clean']['dice']:.3f} on {row['count']} unchanged images"
        table = Table("degraded by", *SEVERITY_COLUMNS, "kept", title=title)
        for kind, figures in row["kinds"].items():
            dice = (f"{one['dice']:.3f}" for one in figures["severities"])
            table.add_row(kind.replace("_", " "), *dice, _share(figures["kept"]))
        table.add_row("mean", *("" for _ in SEVERITY_COLUMNS), _share(row["kept"]))
        console.print(table)
    say(console, "kept: share of the Dice, mean over severities; the scale is qlumen's own")
    if is_optimistic(where):
        say(console, OPTIMISTIC)


def print_negatives(content: Mapping[str, Any], console: Console) -> None:
    """Print the share of lesion-free images with a finding."""
    low, high = content["with_findings_95"]
    say(
        console,
        f"findings in {content['with_findings']:.4f} of {content['count']} images without "
        f"lesion, 95% bootstrap interval {low:.4f} to {high:.4f}; "
        f"{content['findings_per_image']:.4f} findings per image",
    )


def print_clip(content: Mapping[str, Any], console: Console) -> None:
    """Print the alarms, and the hits on the frames with true boxes."""
    count = f"{content['frames_with_findings']} of {content['frames']} frames"
    times = ", ".join(f"{alarm['time_s']:.2f}" for alarm in content["alarms"])
    say(console, f"findings on {count}; alarms at {times or 'no time'} s")
    if rows := content["boxed_frames"]:
        hit = sum(row["hit"] > 0 for row in rows)
        say(
            console,
            f"hits on {hit} of the {len(rows)} frames with true boxes (IoU 0.3), each frame alone",
        )


def say(console: Console, line: str) -> None:
    console.print(line, highlight=False)


def is_optimistic(name: str) -> bool:
    """Check whether a set shares sequences with training frames, by its name."""
    return "clinicdb" in name.lower()


def narrow_table(heads: Sequence[str]) -> Table:
    """Make a table of columns that are one space apart."""
    return Table(*heads, box=SIMPLE_HEAD, padding=0, show_edge=False)


def span_title(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the title of a column of intervals."""
    return "95% by cluster" if any(row["clusters"] for row in rows) else "95%"


def choose_interval(
    row: Mapping[str, Any], by_image: Sequence[float], by_cluster: Sequence[float] | None
) -> Sequence[float] | None:
    """Return the interval by cluster, or by image where clusters are not known."""
    return by_image if row["clusters"] is None else by_cluster


def _print_sources(sources: Mapping[str, Any], console: Console) -> None:
    """Print the findings in lesion-free images of each source."""
    parts = sources.values()
    heads = ("without lesion", "n", "clusters", "with findings", span_title(parts), "an image")
    table = narrow_table(heads)
    for source, row in sources.items():
        span = _span(row, row["with_findings_95"], row["with_findings_95_by_cluster"])
        share, each = f"{row['with_findings']:.3f}", f"{row['findings_per_image']:.3f}"
        table.add_row(source, *_sizes(row), share, span, each)
    console.print(table)
    say(console, "with findings: share of the images; an image: findings an image")
    _explain_clusters(parts, console)


def _set_cells(row: Mapping[str, Any]) -> list[str]:
    """Return the figures of a set or of a source, which has no calibration error of its own."""
    record, counts = row.get("reliability"), row["detection"]
    figures = [row["mean"]["iou"], *(counts[figure] for figure in FIGURES)]
    figures.append(record and record["ece"])
    spans = row["interval_95"]["dice"], row["interval_95_by_cluster"]["dice"]
    numbers = ("-" if value is None else f"{value:.3f}" for value in figures)
    return [*_sizes(row), f"{row['mean']['dice']:.3f}", _span(row, *spans), *numbers]


def _sizes(row: Mapping[str, Any]) -> tuple[str, str]:
    return str(row["count"]), _text(row["clusters"])


def _span(
    row: Mapping[str, Any], by_image: Sequence[float], by_cluster: Sequence[float] | None
) -> str:
    bounds = choose_interval(row, by_image, by_cluster)
    return f"{bounds[0]:.3f}-{bounds[1]:.3f}" if bounds else "-"


def _explain_clusters(rows: Iterable[Mapping[str, Any]], console: Console) -> None:
    numbers = {row["clusters"] for row in rows}
    if numbers != {None}:
        text = "cluster: a sequence, video or group of images that are not independent"
        say(console, f"{text}; -: not known, each image counts alone" if None in numbers else text)


def _detection(content: Mapping[str, Any]) -> Table:
    """Build the table of findings against the true parts of the masks."""
    counts, bounds = content["detection"], content["detection_95"]
    title = f"detection: {counts['lesions']} lesions on {counts['frames']} frames, IoU 0.3"
    table = Table("figure", "value", "95%", title=title)
    for figure in FIGURES:
        span = bounds.get(figure)
        table.add_row(
            figure.replace("_", " "),
            _text(counts[figure]),
            f"{span[0]:.4f} to {span[1]:.4f}" if span else "-",
        )
    return table


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _text(value: float | int | None) -> str:
    if value is None:
        return "-"
    return str(value) if isinstance(value, int) else f"{value:.4f}"

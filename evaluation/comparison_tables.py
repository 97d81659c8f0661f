"""Prints the differences between two bundles."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from qlumen.evaluation.printing import (
    OPTIMISTIC,
    choose_interval,
    is_optimistic,
    narrow_table,
    say,
    span_title,
)

LEAST_P = 0.001
EVENTS = {"missed": "lesion missed", "false_finding": "finding on a lesion-free image"}


def print_comparison(content: Mapping[str, Any], console: Console) -> None:
    """Print the differences of Dice, of missed lesions and of findings without a lesion."""
    say(console, f"A: {_name(content['a'])} (settings)")
    say(console, f"B: {_name(content['b'])} (--compare)")
    say(console, "B-A: mean difference on the same images, with its 95% interval")
    rows = content["rows"]
    _print_dice([row for row in rows if row["dice"]], console)
    for figure, title in EVENTS.items():
        _print_events(figure, title, [row for row in rows if row[figure]], console)
    for row in rows:
        if row["kind"] is None:
            number = row["clusters"]
            clusters = "taken as independent" if number is None else f"in {number} clusters"
            say(console, f"{row['set']}: {row['images']} images, {clusters}")
    say(console, "q: p after Benjamini and Hochberg, over all rows of a table")
    if any(is_optimistic(row["set"]) for row in rows):
        say(console, OPTIMISTIC)


def _print_dice(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    if rows:
        heads = ("Dice", "A", "B-A", "95% by image", "95% by cluster", "median", "q", "p")
        table = narrow_table(heads)
        for row in rows:
            one = row["dice"]
            spans = map(_span, (one["difference_95"], one["difference_95_by_cluster"]))
            median = f"{one['hodges_lehmann']:+.3f}"
            table.add_row(_label(row), *_effect(one), *spans, median, *_tests(one))
        console.print(table)
        text = "median: of the paired differences (Hodges-Lehmann); p: signed-rank test"
        by_cluster = any(row["clusters"] for row in rows)
        say(console, f"{text} of the means of clusters" if by_cluster else text)


def _print_events(
    figure: str, title: str, rows: Sequence[Mapping[str, Any]], console: Console
) -> None:
    if rows:
        heads = ("share", "n", "A", "B-A", span_title(rows), "only A", "only B", "q", "p")
        table = narrow_table(heads)
        for row in rows:
            one = row[figure]
            bounds = choose_interval(one, one["difference_95"], one["difference_95_by_cluster"])
            only = str(one["only_a"]), str(one["only_b"])
            label, number = _label(row), str(one["images"])
            table.add_row(label, number, *_effect(one), _span(bounds), *only, *_tests(one))
        say(console, f"{title}:")
        console.print(table)
        say(console, "only A, only B: images where one bundle alone does so")
        say(console, "p: exact McNemar test, which takes the images as independent")


def _name(run: Mapping[str, Any]) -> str:
    return f"{run['bundle']['name']} {run['bundle']['sha256'][:12]}"


def _label(row: Mapping[str, Any]) -> str:
    """Return the set's name, or kind and severity below it."""
    kind = row["kind"]
    return row["set"] if kind is None else f"  {kind.replace('_', ' ')} {row['severity']}"


def _effect(one: Mapping[str, Any]) -> tuple[str, str]:
    return f"{one['a']:.3f}", f"{one['difference']:+.3f}"


def _span(bounds: Sequence[float] | None) -> str:
    return f"{bounds[0]:+.3f} {bounds[1]:+.3f}" if bounds else "-"


def _tests(one: Mapping[str, Any]) -> tuple[str, str]:
    """Return q and p."""
    q, p = (f"{v:.3f}" if v >= LEAST_P else f"<{LEAST_P}" for v in (one["q"], one["p"]))
    return q, p

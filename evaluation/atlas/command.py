"""Runs `qlumen audit`, which looks into what a network does wrong."""

from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from qlumen.evaluation.atlas.crops import collect_errors
from qlumen.evaluation.atlas.images import list_images
from qlumen.evaluation.atlas.page import check_folder, write_atlas
from qlumen.evaluation.atlas.patterns import (
    FALSE_FINDINGS,
    MISSED_LESIONS,
    Pattern,
    count_crops,
    find_patterns,
    first_sentence,
)
from qlumen.evaluation.open_run import open_run
from qlumen.realtime.config.settings import load_settings
from qlumen.system.output_paths import PATH, check_paths

TOLD_PATTERNS = 3


@click.group("audit")
def command() -> None:
    """Look into what a network does wrong."""


@command.command("alarms")
@click.option("--data", type=PATH, required=True, help="Folder with images, masks and splits/.")
@click.option("--output", type=PATH, required=True, help="Folder for index.html and alarms.json.")
@click.option("--split", "splits", multiple=True, metavar="NAME",
              help="List in splits/; default: all that are not for training.")  # fmt: skip
@click.option("--prototypes", type=click.IntRange(1, 32), default=8, show_default=True,
              help="Most patterns of each kind of error.")  # fmt: skip
@click.option("--config", type=PATH, help="YAML file with settings.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One setting.")
def alarms(
    data: Path,
    output: Path,
    splits: tuple[str, ...],
    prototypes: int,
    config: Path | None,
    overrides: tuple[str, ...],
) -> None:
    """Show which kinds of false findings and missed lesions the network makes.

    Judges images with masks, and images without a lesion (lists that begin with `negatives`), each
    as in replay. Groups crops of the errors by how they look, and writes a page with the groups.
    """
    settings = load_settings(config, overrides)
    images = list_images(data, splits)
    check_paths([data, *([config] if config else [])], [], [("--output", output)])
    check_folder(output)
    with open_run(settings, len(images), "images") as run:
        errors = collect_errors(images, run.analysis, run.show)
    console = Console()
    with console.status("grouping the errors"):
        wrong = find_patterns(errors.false_findings, prototypes)
        missed = find_patterns(errors.missed_lesions, prototypes)
    write_atlas(output, images, errors, wrong, missed, run.about)
    for patterns, what in ((wrong, FALSE_FINDINGS), (missed, MISSED_LESIONS)):
        _print_patterns(patterns, what, console)
    console.print(f"wrote {output}", highlight=False, markup=False, soft_wrap=True)


def _print_patterns(patterns: Sequence[Pattern], what: str, console: Console) -> None:
    lines = [first_sentence(patterns, what)]
    for number, pattern in enumerate(patterns[:TOLD_PATTERNS], start=1):
        count, (source, most) = len(pattern.members), pattern.sources[0]
        share = count / count_crops(patterns)
        lines.append(f"  {number}. {count} crops, {share:.0%}, of them {most} from {source}")
    console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)

"""Runs `qlumen dataset`, which imports, exports and checks images with masks."""

import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from qlumen.datasets.check import check_dataset
from qlumen.datasets.transfer import READERS, WRITERS, export_dataset, import_dataset
from qlumen.errors import UsageError
from qlumen.system.files import write_json
from qlumen.system.output_paths import PATH, check_paths

SHOWN = 3
WRONG = 1


@click.group("dataset")
def command() -> None:
    """Import, export and check images with masks."""


@command.command("import")
@click.argument("source", type=PATH)
@click.option("--format", "form", type=click.Choice(sorted(READERS)), required=True)
@click.option("--output", type=PATH, required=True, help="Data folder; may hold other sets.")
@click.option("--name", required=True, help="Name of the new folder and of its list.")
@click.option("--images", type=PATH, help="Folder of the images; default: beside the source.")
@click.option("--class", "classes", multiple=True, help="Class that is a lesion; repeatable.")
def import_(
    source: Path, form: str, output: Path, name: str, images: Path | None, classes: tuple[str, ...]
) -> None:
    """Write images, masks and a list from annotations of another tool."""
    for path in (source, images):
        if path is not None and not path.exists():
            raise UsageError(f"no file or folder {path}")
    done = import_dataset(source, form, output, name, images, classes)
    click.echo(f"wrote {output / name}: {done.images} images, {done.empty} without a lesion, "
               f"{done.objects} objects")  # fmt: skip


@command.command("export")
@click.argument("root", metavar="DIR", type=PATH)
@click.option("--list", "split", required=True, help="List of DIR/splits to write.")
@click.option("--format", "form", type=click.Choice(sorted(WRITERS)), required=True)
@click.option("--output", type=PATH, required=True, help="New folder.")
def export(root: Path, split: str, form: str, output: Path) -> None:
    """Write the images and masks of a list for another tool."""
    check_paths([], [], [("--output", output)])
    click.echo(f"wrote {output}: {export_dataset(root, split, form, output)} images")


@command.command("check")
@click.argument("root", metavar="DIR", type=PATH)
@click.option("--json", "json_file", type=PATH, help="File for all that was found.")
def check(root: Path, json_file: Path | None) -> None:
    """Check the lists of a data folder; exit code 1 if something would spoil a training."""
    console = Console()
    with console.status("reading the images"):
        report = check_dataset(root)
    if json_file:
        write_json(json_file, report)
    _print(report, console)
    if report["wrong"]:
        sys.exit(WRONG)


def _print(report: dict[str, Any], console: Console) -> None:
    table = Table("list", "images", "sizes", "5%", "median", "95%", "empty", "problems",
                  title="5%, median and 95%: quantiles of the share of lesion pixels")  # fmt: skip
    table.columns[0].overflow = "fold"
    for name, one in report["lists"].items():
        shares = (f"{one['lesion_share'].get(q, 0):.2%}" for q in ("0.05", "0.5", "0.95"))
        values = (one["images"], len(one["sizes"]), *shares, one["empty_masks"],
                  len(one["problems"]))  # fmt: skip
        table.add_row(name, *map(str, values))
    console.print(table)
    for one in report["lists"].values():
        for problem in one["problems"][:SHOWN]:
            console.print(problem, highlight=False, markup=False, soft_wrap=True)
    for one in report["overlaps"]:
        kind = one["kind"].replace("_", "-")
        mark = "wrong: " if one["leak"] else ""
        shown = f"{mark}{' and '.join(one['lists'])} share {one['count']} {kind}: "
        found = (x if isinstance(x, str) else " ~ ".join(x) for x in one["found"][:SHOWN])
        console.print(shown + "; ".join(found), highlight=False, markup=False, soft_wrap=True)
    console.print(f"{report['wrong']} wrong", highlight=False)

"""`qlumen calibrate budget`."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from qlumen.calibration.budget import Budget, Row, choose, measure_budget
from qlumen.calibration.budget_config import config_text, explain, machine_record, none_fits
from qlumen.calibration.candidates import candidates, list_shipped_bundles
from qlumen.calibration.sizes import SIDES, bundles_of_sides, check_sides
from qlumen.errors import UsageError
from qlumen.networks.bundle import Bundle, read_bundle
from qlumen.realtime.engines.presence import NAMES
from qlumen.system.files import write_bytes, write_json
from qlumen.system.output_paths import PATH, check_paths
from qlumen.system.progress import progress_bar


def _size(context: click.Context, option: click.Parameter, value: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", value)
    if match is None:
        raise click.BadParameter(f"{value!r} is no size; give one such as 1920x1080")
    return int(match[1]), int(match[2])


@click.command("budget")
@click.option("--fps", type=click.FloatRange(0.1, 1000), default=25.0, show_default=True)
@click.option("--source-size", "size", callback=_size, default="1920x1080", show_default=True)
@click.option("--output", type=PATH, required=True, help="The configuration, a new YAML file.")
@click.option("--bundle", "folders", type=PATH, multiple=True,
              help="One to try, repeatable; none: all that are shipped.")  # fmt: skip
@click.option("--engine", "engines", type=click.Choice(NAMES), multiple=True,
              help="One to try, repeatable; none: all that are here.")  # fmt: skip
@click.option("--data", type=PATH, help="Folder with images, masks and splits/: try other sizes.")
@click.option("--side", "sides", type=click.IntRange(min=32), multiple=True,
              help="An input side to try, repeatable, with --data; none: "
              f"{', '.join(map(str, SIDES))}.")  # fmt: skip
@click.option("--record", is_flag=True, help="Record the overlay meanwhile.")
@click.option("--seconds", type=click.FloatRange(min=1), default=60.0, show_default=True,
              help="Of video to measure on, all candidates together.")  # fmt: skip
@click.option("--json", "json_file", type=PATH, help="All figures.")
def budget(
    fps: float,
    size: tuple[int, int],
    output: Path,
    folders: tuple[Path, ...],
    engines: tuple[str, ...],
    data: Path | None,
    sides: tuple[int, ...],
    record: bool,
    seconds: float,
    json_file: Path | None,
) -> None:
    """Measure this machine, and write the configuration that suits it.

    Every engine, bundle, precision and number of threads is run as `qlumen live` runs it:
    decoding, the network, the overlay, and the recorder if asked for. With --data the weights
    are compiled for other input sizes, too, and scored on validation; that is done once.
    """
    _check(output, json_file, folders, data, sides)
    given = bundles = [read_bundle(folder) for folder in folders] or list_shipped_bundles()
    console, notes = Console(), Console(stderr=True)
    if data:
        bundles = bundles_of_sides(
            given, sides or SIDES, data, lambda line: notes.print(line, highlight=False)
        )
    wanted = Budget(fps, size, record)
    tried = candidates(bundles, engines or NAMES)
    if not tried:
        raise UsageError(f"no bundle here runs with {', '.join(engines)}; see qlumen doctor")
    with progress_bar("budget", len(tried), "candidates", notes) as show:
        rows = measure_budget(tried, wanted, seconds, show)
    chosen = choose(rows)
    explain(rows, chosen, wanted, console)
    if not data:
        console.print(_describe_sizes(bundles), highlight=False, soft_wrap=True)
    if json_file:
        write_json(json_file, _figures(rows, chosen, wanted))
    if chosen is None:
        raise none_fits(rows, wanted)
    settled = _keep_bundle(chosen, output, given)
    write_bytes(output, config_text(settled, wanted).encode())
    click.echo(f"wrote {output}: {chosen.candidate}")


def bundle_beside(output: Path) -> Path:
    """Where the bundle of a configuration goes if its size was made for it."""
    return output.with_name(f"{output.stem}-bundle")


def _check(
    output: Path,
    json_file: Path | None,
    inputs: Sequence[Path],
    data: Path | None,
    sides: Sequence[int],
) -> None:
    if sides and data is None:
        raise UsageError("--side compiles and scores networks; give the images with --data, too")
    named = [("--output", output), *([("--json", json_file)] if json_file else [])]
    check_paths([*inputs, *([data] if data else [])], named, [])
    if output.exists():
        raise UsageError(f"--output {output} exists; choose another name, or move it away")
    if data is None:
        return
    check_sides(sides)
    if bundle_beside(output).exists():
        raise UsageError(
            f"--output {output}: its bundle would go to {bundle_beside(output)}, which exists; "
            "choose another name, or move it away"
        )


def _keep_bundle(row: Row, output: Path, given: Sequence[Bundle]) -> Row:
    """With its bundle beside the configuration if it lies in the cache, which may be emptied."""
    bundle = row.candidate.bundle
    if bundle in given:
        return row
    copied = read_bundle(Path(shutil.copytree(bundle.folder, bundle_beside(output))))
    return replace(row, candidate=replace(row.candidate, bundle=copied))


def _describe_sizes(bundles: Sequence[Bundle]) -> str:
    specs = [bundle.manifest.input for bundle in bundles]
    sizes = ", ".join(dict.fromkeys(f"{spec.width}x{spec.height}" for spec in specs))
    return (
        f"of input sizes only those of the bundles given were compared ({sizes}): --data FOLDER "
        "adds others, where pip install 'qlumen[train]' was run"
    )


def _figures(rows: Sequence[Row], chosen: Row | None, wanted: Budget) -> dict[str, object]:
    return {
        **machine_record(),
        "fps": wanted.fps,
        "source_size": f"{wanted.size[0]}x{wanted.size[1]}",
        "played_fps": float(wanted.rate),
        "margin": wanted.margin,
        "record": wanted.record,
        "chosen": rows.index(chosen) if chosen else None,
        "candidates": [row.as_json() for row in rows],
    }

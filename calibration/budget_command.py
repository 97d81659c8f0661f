"""Runs `qlumen calibrate budget`."""

import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from qlumen.calibration.budget import Budget, Row, choose, measure_budget
from qlumen.calibration.budget_config import config_text, explain, machine_record, no_fit_error
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
        raise click.BadParameter(f"{value!r} is not a size; give one such as 1920x1080")
    return int(match[1]), int(match[2])


@click.command("budget")
@click.option("--fps", type=click.FloatRange(0.1, 1000), default=25.0, show_default=True)
@click.option("--source-size", "size", callback=_size, default="1920x1080", show_default=True)
@click.option("--output", type=PATH, required=True, help="New YAML file for the configuration.")
@click.option("--bundle", "folders", type=PATH, multiple=True,
              help="Bundle to try, repeatable; default: all shipped ones.")  # fmt: skip
@click.option("--engine", "engines", type=click.Choice(NAMES), multiple=True,
              help="Engine to try, repeatable; default: all that run here.")  # fmt: skip
@click.option("--data", type=PATH, help="Folder with images, masks and splits/: try other sizes.")
@click.option("--side", "sides", type=click.IntRange(min=32), multiple=True,
              help="Input side to try, repeatable, with --data; default: "
              f"{', '.join(map(str, SIDES))}.")  # fmt: skip
@click.option("--record", is_flag=True, help="Also record the overlay.")
@click.option("--sources", type=click.IntRange(1, 64), default=1, show_default=True,
              help="Sources of this size and rate at the same time, in one process.")  # fmt: skip
@click.option("--seconds", type=click.FloatRange(min=1), default=60.0, show_default=True,
              help="Length of the measured video, all candidates together.")  # fmt: skip
@click.option("--json", "json_file", type=PATH, help="File for all figures.")
def budget(
    fps: float,
    size: tuple[int, int],
    output: Path,
    folders: tuple[Path, ...],
    engines: tuple[str, ...],
    data: Path | None,
    sides: tuple[int, ...],
    record: bool,
    sources: int,
    seconds: float,
    json_file: Path | None,
) -> None:
    """Measure this machine, and write the configuration that suits it.

    It runs every engine, bundle, precision and number of threads as `qlumen live` does, with
    decoding, network and overlay. --record adds the recorder. --data adds other input sizes. They
    are compiled from the weights and scored on validation, only once.
    """
    _check(output, json_file, folders, data, sides)
    given = bundles = [read_bundle(folder) for folder in folders] or list_shipped_bundles()
    console, notes = Console(), Console(stderr=True)
    if data:
        bundles = bundles_of_sides(
            given, sides or SIDES, data, lambda line: notes.print(line, highlight=False)
        )
    wanted = Budget(fps, size, record, sources=sources)
    tried = candidates(bundles, engines or NAMES)
    if not tried:
        raise UsageError(f"no bundle runs here with {', '.join(engines)}; see qlumen doctor")
    with progress_bar("budget", len(tried), "candidates", notes) as show:
        rows = measure_budget(tried, wanted, seconds, show)
    chosen = choose(rows)
    explain(rows, chosen, wanted, console)
    if not data:
        console.print(_describe_sizes(bundles), highlight=False, soft_wrap=True)
    if json_file:
        write_json(json_file, _figures(rows, chosen, wanted))
    if chosen is None:
        raise no_fit_error(rows, wanted)
    kept = _keep_bundle(chosen, output, given)
    write_bytes(output, config_text(kept, wanted).encode())
    click.echo(f"wrote {output}: {chosen.candidate}")


def _bundle_folder(output: Path) -> Path:
    return output.with_name(f"{output.stem}-bundle")


def _check(
    output: Path,
    json_file: Path | None,
    inputs: Sequence[Path],
    data: Path | None,
    sides: Sequence[int],
) -> None:
    if sides and data is None:
        raise UsageError("--side compiles and scores networks; also give the images with --data")
    named = [("--output", output), *([("--json", json_file)] if json_file else [])]
    check_paths([*inputs, *([data] if data else [])], named, [])
    if output.exists():
        raise UsageError(f"--output {output} exists; choose another name, or move it away")
    if data is None:
        return
    check_sides(sides)
    if (folder := _bundle_folder(output)).exists():
        raise UsageError(
            f"--output {output} needs a folder for its bundle, {folder}, which exists; choose "
            "another name, or move it away"
        )


def _keep_bundle(row: Row, output: Path, given: Sequence[Bundle]) -> Row:
    """Copy a bundle from the cache next to the configuration, because caches may be emptied."""
    bundle = row.candidate.bundle
    if bundle in given:
        return row
    copied = read_bundle(Path(shutil.copytree(bundle.folder, _bundle_folder(output))))
    return replace(row, candidate=replace(row.candidate, bundle=copied))


def _describe_sizes(bundles: Sequence[Bundle]) -> str:
    specs = [bundle.manifest.input for bundle in bundles]
    sizes = ", ".join(dict.fromkeys(f"{spec.width}x{spec.height}" for spec in specs))
    return (
        f"compared only the input sizes of the given bundles ({sizes}); --data FOLDER adds others "
        "and needs pip install 'qlumen[train]'"
    )


def _figures(rows: Sequence[Row], chosen: Row | None, wanted: Budget) -> dict[str, object]:
    return {
        **machine_record(),
        "fps": wanted.fps,
        "source_size": f"{wanted.size[0]}x{wanted.size[1]}",
        "played_fps": float(wanted.rate),
        "margin": wanted.margin,
        "record": wanted.record,
        "sources": wanted.sources,
        "chosen": rows.index(chosen) if chosen else None,
        "candidates": [row.as_json() for row in rows],
    }

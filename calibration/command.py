"""`qlumen calibrate`: what is fitted to a trained network after training."""

import re
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from qlumen.calibration.budget import Budget, choose, measure_budget
from qlumen.calibration.budgetfile import (
    config_text,
    explain,
    machine_record,
    none_fits,
    write_config,
)
from qlumen.calibration.candidates import candidates, shipped_bundles
from qlumen.calibration.int8 import make_int8
from qlumen.calibration.operating import fit, write_fitted
from qlumen.calibration.pictures import PICTURES
from qlumen.calibration.plot import check_plot, plot
from qlumen.calibration.printing import print_fitted, print_int8, print_metrics
from qlumen.calibration.quantum import calibrate, check_writable, write_calibration
from qlumen.networks.bundle import check_replaceable, read_bundle, shipped_bundle
from qlumen.quantum.devices import DEVICES, Device
from qlumen.realtime.engines.presence import NAMES
from qlumen.realtime.errors import UsageError
from qlumen.realtime.jsonfile import write_json
from qlumen.realtime.outputs import Outputs, check_outputs, check_paths
from qlumen.realtime.progress import progress_bar

PATH = click.Path(path_type=Path)


@click.group("calibrate")
def command() -> None:
    """Fit a trained network to how it is run."""


@command.command("quantum")
@click.option("--bundle", "folder", type=PATH, help="A bundle; none: the shipped one.")
@click.option("--device", type=click.Choice(DEVICES), default="lightning.qubit", show_default=True)
@click.option("--shots", type=click.IntRange(min=1), help="Per run; none: exact values.")
@click.option("--write", is_flag=True, help="Put the tables into the bundle.")
@click.option("--json", "json_file", type=PATH, help="The figures.")
def quantum(
    folder: Path | None, device: str, shots: int | None, write: bool, json_file: Path | None
) -> None:
    """Sample the circuit on a device, and check its tables on 1,000 random inputs."""
    folder = folder or shipped_bundle()
    check_outputs([folder], Outputs(json=json_file))
    bundle = read_bundle(folder)
    if write:
        check_writable(bundle)
    calibration = calibrate(bundle, Device(device, shots))
    if write:
        write_calibration(bundle, calibration)
    summary = {**calibration.summary(), "written": write}
    if json_file:
        write_json(json_file, summary)
    for name, value in summary.items():
        click.echo(f"{name}: {value}")


@command.command("int8")
@click.option("--bundle", "folder", type=PATH, help="An FP32 bundle; none: the shipped one.")
@click.option("--output", type=PATH, required=True, help="Folder for the INT8 bundle.")
@click.option("--data", type=PATH, required=True, help="Folder with images, masks and splits/.")
@click.option("--pictures", type=click.IntRange(min=1), default=PICTURES, show_default=True,
              help="Of the training side, to take the ranges from.")  # fmt: skip
@click.option("--test-sets", is_flag=True, help="Report on the test splits, too.")
@click.option("--force", is_flag=True, help="Write it whatever it loses.")
@click.option("--json", "json_file", type=PATH, help="The report.")
def int8(
    folder: Path | None,
    output: Path,
    data: Path,
    pictures: int,
    test_sets: bool,
    force: bool,
    json_file: Path | None,
) -> None:
    """Quantise a bundle's network, but for its circuit, and compare the two.

    Where validation loses too much, the layers that disturb the map most stay in FP32. A
    bundle that loses more than 0.003 Dice on a set is not written.
    """
    folder = folder or shipped_bundle()
    check_outputs([folder], Outputs(json=json_file))
    console = Console()
    bundle = make_int8(
        read_bundle(folder),
        output,
        data,
        pictures=pictures,
        test_splits=test_sets,
        force=force,
        say=lambda line: console.print(line, highlight=False),
    )
    record = bundle.manifest.quantised
    assert record is not None
    if json_file:
        write_json(json_file, record.model_dump(mode="json"))
    print_int8(record, console)
    console.print(f"wrote {output}", highlight=False)


@command.command("threshold")
@click.option("--bundle", "folder", type=PATH, help="A bundle; none: the shipped one.")
@click.option("--data", type=PATH, required=True, help="Folder with images, masks and splits/.")
@click.option("--write", is_flag=True, help="Put temperature and thresholds into the bundle.")
@click.option("--plot", "plot_file", type=PATH, help="A picture of both, PNG.")
@click.option("--json", "json_file", type=PATH, help="All figures.")
def threshold(
    folder: Path | None, data: Path, write: bool, plot_file: Path | None, json_file: Path | None
) -> None:
    """Fit the probabilities' temperature and the operating point on validation.

    Pictures without a lesion of the training side take part; the held-out ones and the test
    splits are only reported.
    """
    folder = folder or shipped_bundle()
    check_outputs([folder], Outputs(json=json_file))
    if plot_file:
        check_paths([folder], [("--plot", plot_file)], [])
        check_plot()
    bundle = read_bundle(folder)
    if write:
        check_writable(bundle)
        check_replaceable(folder)
    console = Console()
    with console.status("running the network on the validation images"):
        result = fit(bundle, data)
    print_fitted(result, console)
    if json_file:
        write_json(json_file, result.report())
    if plot_file:
        plot(result, plot_file)
    if write:
        with console.status("measuring the bundle with what was fitted"):
            written = write_fitted(bundle, result, data)
        print_metrics(bundle.manifest.metrics, written.manifest.metrics, console)
        console.print(f"wrote {folder}", highlight=False)


def _size(context: click.Context, option: click.Parameter, value: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", value)
    if match is None:
        raise click.BadParameter(f"{value!r} is no size; give one such as 1920x1080")
    return int(match[1]), int(match[2])


@command.command("budget")
@click.option("--fps", type=click.FloatRange(0.1, 1000), default=25.0, show_default=True)
@click.option("--source-size", "size", callback=_size, default="1920x1080", show_default=True)
@click.option("--output", type=PATH, required=True, help="The configuration, a new YAML file.")
@click.option("--bundle", "folders", type=PATH, multiple=True,
              help="One to try, repeatable; none: all that are shipped.")  # fmt: skip
@click.option("--engine", "engines", type=click.Choice(NAMES), multiple=True,
              help="One to try, repeatable; none: all that are here.")  # fmt: skip
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
    record: bool,
    seconds: float,
    json_file: Path | None,
) -> None:
    """Measure this machine, and write the configuration that suits it.

    Every engine, bundle, precision and number of threads is run as `qlumen live` runs it:
    decoding, the network, the overlay, and the recorder if asked for.
    """
    _check_new(output, json_file, folders)
    bundles = [read_bundle(folder) for folder in folders] or shipped_bundles()
    wanted = Budget(fps, size, record)
    tried = candidates(bundles, engines or NAMES)
    if not tried:
        raise UsageError(f"no bundle here runs with {', '.join(engines)}; see qlumen doctor")
    with progress_bar("budget", len(tried), "candidates", Console(stderr=True)) as show:
        rows = measure_budget(tried, wanted, seconds, show)
    chosen = choose(rows)
    explain(rows, chosen, wanted, Console())
    if json_file:
        content = {
            **machine_record(),
            "fps": fps,
            "source_size": f"{size[0]}x{size[1]}",
            "played_fps": float(wanted.rate),
            "margin": wanted.margin,
            "record": record,
            "chosen": rows.index(chosen) if chosen else None,
            "candidates": [row.as_json() for row in rows],
        }
        write_json(json_file, content)
    if chosen is None:
        raise none_fits(rows, wanted)
    write_config(output, config_text(chosen, wanted))
    click.echo(f"wrote {output}: {chosen.candidate}")


def _check_new(output: Path, json_file: Path | None, inputs: Sequence[Path]) -> None:
    named = [("--output", output), *([("--json", json_file)] if json_file else [])]
    check_paths(inputs, named, [])
    if output.exists():
        raise UsageError(f"--output {output} exists; choose another name, or move it away")

"""`qlumen calibrate`: what is fitted to a trained network after training."""

from pathlib import Path

import click

from qlumen.calibration.quantum import calibrate, check_writable, write_calibration
from qlumen.networks.bundle import read_bundle, shipped_bundle
from qlumen.quantum.devices import DEVICES, Device
from qlumen.realtime.jsonfile import write_json
from qlumen.realtime.outputs import Outputs, check_outputs

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

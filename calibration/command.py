"""Runs `qlumen calibrate`, which fits a trained network to its use."""

from pathlib import Path
from typing import Literal

import click
from rich.console import Console

from qlumen.calibration.alarms_command import alarms
from qlumen.calibration.budget_command import budget
from qlumen.calibration.calibration_images import IMAGE_COUNT
from qlumen.calibration.circuit_tables import calibrate, check_writable, write_calibration
from qlumen.calibration.int8 import make_int8
from qlumen.calibration.operating_point import fit, write_point
from qlumen.calibration.results import plot, print_int8, print_metrics, print_point, print_ranges
from qlumen.calibration.threshold import MOST_FINDINGS
from qlumen.datasets.splits import NEGATIVES_TRAIN, VALIDATION
from qlumen.evaluation.drawing import check_matplotlib
from qlumen.networks.bundle import QuantisedRecord, check_replaceable, find_bundle, read_bundle
from qlumen.quantum.devices import DEVICES, Device
from qlumen.realtime.replay.outputs import Outputs, check_outputs
from qlumen.system.files import write_json
from qlumen.system.output_paths import PATH, check_paths


@click.group("calibrate")
def command() -> None:
    """Fit a trained network to its use."""


@command.command("quantum")
@click.option("--bundle", "folder", type=PATH, help="Bundle folder; default: the shipped one.")
@click.option("--device", type=click.Choice(DEVICES), default="lightning.qubit", show_default=True)
@click.option("--shots", type=click.IntRange(min=1), help="Shots per run; default: exact values.")
@click.option("--write", is_flag=True, help="Write the tables to the bundle.")
@click.option("--json", "json_file", type=PATH, help="File for the figures.")
def quantum(
    folder: Path | None, device: str, shots: int | None, write: bool, json_file: Path | None
) -> None:
    """Sample the circuit on a device, and check its tables on 1,000 random inputs."""
    folder = folder or find_bundle()
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
@click.option("--bundle", "folder", type=PATH, help="FP32 bundle folder; default: the shipped one.")
@click.option("--output", type=PATH, required=True, help="Folder for the INT8 bundle.")
@click.option("--data", type=PATH, required=True, help="Folder with images, masks and splits/.")
@click.option("--for", "engine", type=click.Choice(("openvino", "tensorrt")), default="openvino",
              show_default=True, help="Engine that will run the result.")  # fmt: skip
@click.option("--image-count", type=click.IntRange(min=1), default=IMAGE_COUNT, show_default=True,
              help="Number of training-side images for the ranges.")  # fmt: skip
@click.option("--test-sets", is_flag=True, help="Also report on the other lists not for training.")
@click.option("--force", is_flag=True, help="Write the bundle even if it loses too much.")
@click.option("--json", "json_file", type=PATH, help="File for the report.")
def int8(
    folder: Path | None,
    output: Path,
    data: Path,
    engine: Literal["openvino", "tensorrt"],
    image_count: int,
    test_sets: bool,
    force: bool,
    json_file: Path | None,
) -> None:
    """Quantise a bundle's network, except its circuit, and compare the two.

    OpenVINO uses NNCF: if validation loses too much, the most disturbing layers stay in FP32.
    TensorRT uses nvidia-modelopt: the bundle stays the same and gets ranges for an 8-bit engine.
    A bundle that loses more than 0.003 Dice on a set is not written.
    """
    folder = folder or find_bundle()
    check_outputs([folder], Outputs(json=json_file))
    console = Console()
    bundle = make_int8(
        read_bundle(folder),
        output,
        data,
        engine=engine,
        image_count=image_count,
        test_splits=test_sets,
        force=force,
        say=lambda line: console.print(line, highlight=False),
    )
    record = bundle.manifest.quantised or bundle.manifest.ranges
    assert record is not None
    if json_file:
        write_json(json_file, record.model_dump(mode="json"))
    if isinstance(record, QuantisedRecord):
        print_int8(record, console)
    else:
        print_ranges(record, console)
    console.print(f"wrote {output}", highlight=False)


@command.command("threshold")
@click.option("--bundle", "folder", type=PATH, help="Bundle folder; default: the shipped one.")
@click.option("--data", type=PATH, required=True, help="Folder with images, masks and splits/.")
@click.option("--split", default=VALIDATION, show_default=True, help="List to fit on.")
@click.option("--negatives", default=NEGATIVES_TRAIN, show_default=True,
              help="List of images without a lesion to fit on.")  # fmt: skip
@click.option("--most-findings", type=click.FloatRange(0, 1), default=MOST_FINDINGS,
              show_default=True, help="Share of these that may have a finding.")  # fmt: skip
@click.option("--write", is_flag=True, help="Write temperature and thresholds to the bundle.")
@click.option("--plot", "plot_file", type=PATH, help="PNG file for a plot of both.")
@click.option("--json", "json_file", type=PATH, help="File for all figures.")
def threshold(
    folder: Path | None,
    data: Path,
    split: str,
    negatives: str,
    most_findings: float,
    write: bool,
    plot_file: Path | None,
    json_file: Path | None,
) -> None:
    """Fit the temperature of the probabilities and the operating point.

    The fit uses one list of images with masks and one without lesions. The other lists that are
    not for training are only reported.
    """
    folder = folder or find_bundle()
    check_outputs([folder], Outputs(json=json_file))
    if plot_file:
        check_paths([folder], [("--plot", plot_file)], [])
        check_matplotlib("--plot")
    bundle = read_bundle(folder)
    if write:
        check_writable(bundle)
        check_replaceable(folder)
    console = Console()
    with console.status("running the network on the images"):
        result = fit(bundle, data, split=split, negatives=negatives, most_findings=most_findings)
    print_point(result, console)
    if json_file:
        write_json(json_file, result.report())
    if plot_file:
        plot(result, plot_file)
    if write:
        with console.status("measuring the bundle with the fitted values"):
            written = write_point(bundle, result, data)
        print_metrics(bundle.manifest.metrics, written.manifest.metrics, console)
        console.print(f"wrote {folder}", highlight=False)


command.add_command(budget)
command.add_command(alarms)

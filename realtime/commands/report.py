"""Runs `qlumen report`: reads a recording or a review, writes a report, tables and masks."""

from pathlib import Path

import click
from rich.console import Console

from qlumen.networks.bundle import Thresholds
from qlumen.realtime.commands.open_review import open_review
from qlumen.realtime.config.settings import Settings, load_settings
from qlumen.realtime.report.outputs import ReportOutputs, write_all
from qlumen.realtime.review.findings import find
from qlumen.realtime.review.review import Review
from qlumen.realtime.sources.choose import input_files
from qlumen.system.locations import show_location
from qlumen.system.output_paths import PATH
from qlumen.system.progress import progress_bar


@click.command("report")
@click.argument("source")
@click.option("--html", type=PATH, help="Report as one HTML file.")
@click.option("--pdf", type=PATH, help="Report as PDF.")
@click.option("--csv", type=PATH, help="Findings, one row each.")
@click.option("--coco", type=PATH, help="Findings as COCO annotations (RLE), JSON.")
@click.option("--events", type=PATH, help="Findings and times, one JSON line for each frame.")
@click.option("--video", type=PATH, help="Video with the overlay (H.264 MP4).")
@click.option("--masks", type=PATH, help="Folder for masks, PNG, 0 and 255.")
@click.option("--snapshots", type=PATH, help="Folder for each lesion's best frame, PNG.")
@click.option("--dicom", type=PATH, help="Folder for best frames and masks as DICOM.")
@click.option("--review", "kept", type=PATH, help="New folder to keep the review in.")
@click.option("--patient", metavar="TEXT", help="Field in the report; empty: a line to fill in.")
@click.option("--operator", metavar="TEXT", help="The same for the person who examined.")
@click.option("--config", type=PATH, help="YAML file with settings.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One setting.")
@click.option("--sequence", is_flag=True, help="The folder's images follow each other in time.")
def command(
    source: str,
    kept: Path | None,
    patient: str | None,
    operator: str | None,
    config: Path | None,
    overrides: tuple[str, ...],
    sequence: bool,
    **wanted: Path | None,
) -> int:
    """Report what was found in a recording.

    SOURCE is what qlumen replay takes, a single image, or a folder that --review made. With such
    a folder the network does not run again, and only the settings postprocess and report count.
    """
    overrides += ("source.sequence=true",) if sequence else ()
    settings = load_settings(config, overrides)
    outputs = ReportOutputs(**wanted)
    inputs = [*input_files(source, settings.model.bundle), *([config] if config else [])]
    outputs.check(inputs, kept, patient)
    if settings.report.person_fields:
        patient, operator = patient or "", operator or ""
    console = Console(stderr=True)
    with open_review(source, settings, console, kept) as review:
        findings = find(review, merge_thresholds(review, settings))
        with progress_bar("write", len(review.frames), "frames", console) as show:
            write_all(
                review,
                findings,
                outputs,
                patient=patient,
                operator=operator,
                chosen=settings.report,
                tell=lambda done, expected: show(done),
            )
        error = review.manifest.summary.get("error")
    click.echo(
        f"{show_location(source)}: {len(findings.frames)} frames, {len(findings.tracks)} lesions"
    )
    if error:
        click.echo(f"qlumen: {error}", err=True)
    return 1 if error else 0


def merge_thresholds(review: Review, settings: Settings) -> Thresholds:
    """Return the settings' thresholds, or the review's own where the settings leave them out.

    A review keeps the sensitivity that it was made with.
    """
    given = settings.postprocess.model_dump(exclude_none=True, exclude={"sensitivity"})
    return review.manifest.thresholds.model_copy(update=given)

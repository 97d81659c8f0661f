"""Runs `qlumen archive`: judges many recordings on a Ray cluster, and compares two versions."""

import os
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import click
from rich.console import Console

from qlumen.errors import ConfigError, UsageError
from qlumen.networks.bundle import read_bundle
from qlumen.realtime.archive.compare import compare
from qlumen.realtime.archive.folder import ArchiveFolder, find_version
from qlumen.realtime.archive.judge import Job
from qlumen.realtime.archive.page import write_page
from qlumen.realtime.archive.recordings import Recording, find_recordings
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.engines.choose import bundle_folder
from qlumen.realtime.report.facts import clock, size_on_disk
from qlumen.realtime.segmentation.postprocess import Postprocessor
from qlumen.realtime.segmentation.segmenter import thresholds
from qlumen.system.output_paths import PATH
from qlumen.system.progress import progress_bar

MEGABYTE = 1e6
MOST_LISTED, MOST_MOMENTS = 20, 3


@click.command("archive")
@click.argument("sources", nargs=-1, metavar="SOURCE...")
@click.option("--output", type=PATH, required=True, help="Folder of the archive.")
@click.option("--address", help="Ray cluster to join; without it one is started here.")
@click.option("--workers", type=click.IntRange(min=1), help="Recordings at once: one a core.")
@click.option("--videos", is_flag=True, help="Also write each recording with the overlay.")
@click.option("--reports", is_flag=True, help="Also write a report of each recording.")
@click.option("--retry", is_flag=True, help="Also judge what was set aside before.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
@click.option("--compare", "versions", nargs=2, metavar="VERSION VERSION", help="List differences.")
@click.option("--config", type=PATH, help="YAML file with settings.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One setting.")
def command(
    sources: tuple[str, ...],
    output: Path,
    address: str | None,
    workers: int | None,
    videos: bool,
    reports: bool,
    retry: bool,
    dry_run: bool,
    versions: tuple[str, str] | None,
    config: Path | None,
    overrides: tuple[str, ...],
) -> int:
    """Judge the recordings of folders, lists (.txt), globs and addresses, and keep tables of them.

    Run it again after any end: what is done stays. Another bundle or setting makes a new version
    beside the first.
    """
    if versions:
        if sources:
            raise UsageError("--compare takes no SOURCE; it reads the tables in --output")
        _show_differences(output, versions)
        return 0
    settings = load_settings(config, overrides)
    if reports and (settings.analysis.steps or not settings.analysis.temporal):
        raise ConfigError("--reports needs analysis.temporal=true and no analysis.steps")
    bundle = read_bundle(bundle_folder(settings))
    Postprocessor(**thresholds(bundle, settings))  # wrong thresholds end here
    folder = ArchiveFolder(output, settings)
    recordings = find_recordings(sources)
    extras = tuple(k for k, wanted in (("videos", videos), ("reports", reports)) if wanted)
    with nullcontext() if dry_run else folder.claimed():
        left = [one for one in recordings if not folder.is_done(one, extras, retry)]
        click.echo(
            f"{len(recordings)} recordings, {size_on_disk(sum(one.bytes for one in recordings))}; "
            f"{len(left)} to judge as version {folder.version}"
        )
        if dry_run:
            return 0
        if left:
            job = Job(output.absolute(), folder.version, settings, extras)
            _judge(folder, job, left, address, workers)
        page = write_page(output, folder.version, folder.entries)
    aside = sum(bool(folder.entries[one.name].error) for one in recordings)
    click.echo(f"{len(recordings) - aside} recordings judged, {aside} set aside; see {page}")
    return 1 if aside else 0


def _judge(
    folder: ArchiveFolder,
    job: Job,
    recordings: Sequence[Recording],
    address: str | None,
    workers: int | None,
) -> None:
    if address is None:  # Ray, as soon as it is imported, then keeps to this computer
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    from qlumen.realtime.archive.run import cluster, judge_all

    total, done = sum(one.bytes for one in recordings), 0
    with (
        cluster(address),
        progress_bar("archive", round(total / MEGABYTE), "MB", Console(stderr=True)) as show,
    ):
        for one, entry in judge_all(folder, job, recordings, workers):
            done += one.bytes
            show(round(done / MEGABYTE))
            if entry.error:
                name = "" if one.name in entry.error else f"{one.name}: "
                click.echo(f"set aside: {name}{entry.error}", err=True)


def _show_differences(output: Path, versions: tuple[str, str]) -> None:
    first, second = (find_version(output, name) for name in versions)
    found = compare(output, first, second)
    frames, differing = (sum(getattr(one, key) for one in found) for key in ("frames", "differing"))
    click.echo(
        f"{len(found)} recordings in both; {differing} of {frames} frames have findings in one only"
    )
    for one in [one for one in found if one.differing][:MOST_LISTED]:
        click.echo(
            f"{one.name}: {one.differing} of {one.frames} frames, "
            f"lesions {one.lesions[0]} and {one.lesions[1]}"
        )
        for moment in one.moments[:MOST_MOMENTS]:
            click.echo(
                f"    {clock(moment.start_s)} to {clock(moment.end_s)}: {moment.frames} frames, "
                f"found by {moment.found_by}"
            )

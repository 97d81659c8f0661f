"""Runs `qlumen profile`: measures where the time of a frame goes and whether it fits a budget."""

from pathlib import Path

import click
from rich.console import Console

from qlumen.realtime.config.settings import Settings, load_settings
from qlumen.realtime.latency import NS_PER_MS
from qlumen.realtime.profiling.compare import compare_profiles, read_profile
from qlumen.realtime.profiling.page import write_page
from qlumen.realtime.profiling.passes import allocation_pass, capacity_pass, steady_pass
from qlumen.realtime.profiling.report import ProfileReport, ProfileRequest, report_of
from qlumen.realtime.profiling.rig import Rig
from qlumen.realtime.profiling.spans import SpanLog
from qlumen.realtime.profiling.table import print_changes, print_report
from qlumen.realtime.profiling.trace import write_trace
from qlumen.realtime.sources.choose import SCENE, input_files
from qlumen.system.files import write_json
from qlumen.system.output_paths import PATH, check_paths

BUDGET_MISSED = 3
"""Exit code if too many frames missed the budget."""
ASSUMED_FPS = 25.0
CAPACITY_SHARE = 0.5
"""Share of `--seconds` for the pass at full speed."""


@click.command("profile")
@click.argument("source", default=SCENE)
@click.option("--seconds", type=click.FloatRange(min=1), default=10.0, show_default=True,
              help="Time of steady state, after the warm-up.")  # fmt: skip
@click.option("--fps", type=click.FloatRange(min=0.1, max=1000),
              help="Rate of frames; the default is the source's own.")  # fmt: skip
@click.option("--budget-ms", type=click.FloatRange(min=0, min_open=True),
              help="Time from due to drawn; the default is the time between frames.")  # fmt: skip
@click.option("--record", is_flag=True, help="Record as replay does, to a file that is deleted.")
@click.option("--json", "json_file", type=PATH, help="All figures, also for --compare.")
@click.option("--trace", type=PATH, help="Spans for Perfetto (ui.perfetto.dev) or Chrome.")
@click.option("--html", type=PATH, help="A page with plots.")
@click.option("--compare", type=PATH, help="Earlier file of --json; prints the ratios.")
@click.option("--config", type=PATH, help="YAML file with settings.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One setting.")
def command(
    source: str,
    seconds: float,
    fps: float | None,
    budget_ms: float | None,
    record: bool,
    json_file: Path | None,
    trace: Path | None,
    html: Path | None,
    compare: Path | None,
    config: Path | None,
    overrides: tuple[str, ...],
) -> int:
    """Measure where the time of a frame goes.

    SOURCE is what replay takes. The default is the built-in scene, as a recording. It is
    played at a steady rate, then at full speed with and without the profiler, then with all
    allocations traced. Exit code 3: more than 1% of the frames missed the budget.
    """
    settings = load_settings(config, overrides)
    inputs = [*input_files(source, settings.model.bundle), *(p for p in (config, compare) if p)]
    named = (("--json", json_file), ("--trace", trace), ("--html", html))
    check_paths(inputs, [(name, path) for name, path in named if path], [])
    before = read_profile(compare) if compare else None
    log = SpanLog() if trace else None
    report = profile(source, settings, seconds, fps, budget_ms, record=record, log=log)
    console = Console()
    print_report(report, console)
    if before:
        print_changes(compare_profiles(report, before), console)
    if json_file:
        write_json(json_file, report.as_json())
    if trace and log is not None:
        write_trace(trace, log)
        if log.left_out:
            click.echo(f"{trace} has the first spans; {log.left_out} more are left out", err=True)
    if html:
        write_page(html, report)
    return 0 if report.met else BUDGET_MISSED


def profile(
    location: str,
    settings: Settings,
    seconds: float,
    fps: float | None = None,
    budget_ms: float | None = None,
    *,
    record: bool = False,
    log: SpanLog | None = None,
) -> ProfileReport:
    """Run all passes. The command's options describe `fps` and `budget_ms`.

    Raises:
        QlumenError: the source, settings or bundle cannot be used, or the run fails.
    """
    console = Console(stderr=True)
    with console.status("preparing source, engine and kernels"):
        rig = Rig(location, settings, record=record)
    # From here on no spinner: its thread would take part in what is measured.
    with rig:
        fps = fps or float(rig.source.info.fps or ASSUMED_FPS)
        wish = ProfileRequest(seconds, fps, budget_ms or 1000 / fps, record)
        console.print(f"{seconds:g} s at {fps:g} frames/s", highlight=False)
        steady = steady_pass(rig, seconds, fps, round(wish.budget_ms * NS_PER_MS), log)
        console.print("at full speed, with and without the profiler")
        capacity = capacity_pass(rig, CAPACITY_SHARE * seconds, traced=log is not None)
        console.print("with all allocations traced")
        allocations = allocation_pass(rig)
        return report_of(rig, wish, steady, capacity, allocations, settings.sha256())

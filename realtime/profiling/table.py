"""Prints a profile in the terminal."""

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from qlumen.realtime.profiling.compare import Comparison
from qlumen.realtime.profiling.recorder import RESPONSE, Segment, merge
from qlumen.realtime.profiling.report import ProfileReport, is_work

BARS = "▁▂▃▄▅▆▇█"
HISTOGRAM_BINS = 40
THREADS_SHOWN = 12
SITES_SHOWN = 2
US_PER_MS = 1000


def print_report(report: ProfileReport, console: Console) -> None:
    """Print the stages, the threads, then a line for each other subject and the verdict."""
    console.print(_warm_up(report))
    console.print(_stages(report))
    console.print(_threads(report))
    for line in lines(report):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def print_changes(compared: Comparison, console: Console) -> None:
    """Print the ratios of now over before, and mark the clear ones."""
    title = "now over before; 95% interval of each ratio alone, bootstrap over parts of both runs"
    table = _make_table(title, ("stage", "of", "before", "now ms", "ratio", ""))
    for change in compared.changes:
        verdict = ("slower" if change.ratio.value > 1 else "faster") if change.clear else ""
        table.add_row(
            change.stage.replace("_", " "),
            f"p{change.percent:g}",
            _ms(change.old_ms),
            _ms(change.new_ms),
            str(change.ratio),
            verdict,
        )
    console.print(table)
    for name, (before, now) in compared.totals.items():
        line = f"{name}: {before:.4g} before, {now:.4g} now"
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    for line in compared.differences:
        console.print(f"not the same: {line}", highlight=False, markup=False, soft_wrap=True)


def lines(report: ProfileReport) -> list[str]:
    """Write what no table shows, one line for each subject."""
    warm, process, capacity = report.warm_up, report.process, report.capacity
    memory = report.allocations
    parts = ", ".join(f"{part} {seconds:.2f} s" for part, seconds in warm.start_up_s.items())
    first, last, most = process.rss_mib
    found = [
        f"{report.source} {report.size[0]}x{report.size[1]}, {report.frames} frames in "
        f"{report.seconds:.1f} s, {report.fps_reached:.2f} of {report.fps:g} frames/s"
        + (", recording" if report.recording else ""),
        f"start: {parts}; first frame {warm.first_response_ms:.1f} ms, "
        f"{warm.frames} frames of warm-up",
        f"response {histogram_line(report.segments_us[RESPONSE])}",
        *(
            f"slow: frame {slow.frame} took {slow.response_ms:.1f} ms: {slow.stage} "
            f"{slow.stage_ms:.1f} ms, median {slow.median_ms:.1f}"
            + (f"; garbage collector {slow.collecting_ms:.1f} ms" if slow.collecting_ms else "")
            for slow in report.slowest[:3]
        ),
        f"processor: {process.cpu_ms:.1f} ms a frame, {process.cores:.2f} cores; threads waited "
        f"{process.waited_ms:.1f} ms a frame for a core",
        f"garbage collector: {process.gc_collections} times, {process.gc_total_ms:.1f} ms in all, "
        f"longest {process.gc_longest_ms:.1f} ms",
        f"memory: {first:.0f} MiB at first, {last:.0f} at the end, {most:.0f} at most "
        f"(since the start {process.peak_rss_mib:.0f}); {process.page_faults:.0f} page faults a "
        f"frame",
        f"allocations, traced: between two frames up to {memory.swing_kib:.0f} KiB more than "
        f"after them, {memory.growth_kib:.1f} KiB kept a frame",
        *(
            f"grew in that pass: {site.place}, {site.kib:.0f} KiB in {site.blocks} blocks"
            for site in memory.sites[:SITES_SHOWN]
        ),
        f"full speed: {capacity.fps_off:.1f} frames/s, {capacity.over_engine} of the network "
        f"alone ({capacity.engine_fps:.1f}); the profiler takes "
        f"{100 * capacity.profiler_cost.value:.1f}% [{100 * capacity.profiler_cost.low:.1f}, "
        f"{100 * capacity.profiler_cost.high:.1f}] of it, {capacity.rounds} rounds",
        f"{'met' if report.met else 'MISSED'}: {report.missed} of {report.frames} frames "
        f"({100 * report.missed_share:.1f}%) took longer than {report.budget_ms:g} ms",
    ]
    return found


def histogram_line(segments: Sequence[Segment]) -> str:
    """Write the distribution as a row of bars from the least to the greatest duration."""
    counts = merge(segments)
    low, high = min(counts), max(counts)
    bins = [0] * HISTOGRAM_BINS
    for duration, count in counts.items():
        bins[(duration - low) * (HISTOGRAM_BINS - 1) // max(1, high - low)] += count
    top = max(bins)
    bars = "".join(BARS[-(-count * (len(BARS) - 1) // top)] if count else " " for count in bins)
    return f"{low / US_PER_MS:.1f} |{bars}| {high / US_PER_MS:.1f} ms"


def _make_table(title: str, columns: Iterable[str]) -> Table:
    """Make an empty table with text on the left and figures on the right of a column."""
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        words = column in ("stage", "name", "")
        table.add_column(column, justify="left" if words else "right", no_wrap=True)
    return table


def _warm_up(report: ProfileReport) -> Table:
    warm = report.warm_up
    title = f"warm-up, {warm.frames} frames, ms a frame"
    table = _make_table(title, ("stage", "p50", "p90", "max"))
    for name, stage in warm.stages_ms.items():
        figures = (_ms(value) for value in (stage.p50, stage.p90, stage.max))
        table.add_row(name.replace("_", " "), *figures, style=None if is_work(name) else "dim")
    return table


def _stages(report: ProfileReport) -> Table:
    columns = ("stage", "p50", "p90", "p95", "p99", "p99.9", "max", "cpu", "busy")
    table = _make_table("steady state, ms a frame", columns)
    for name, stage in report.stages.items():
        wall = stage.wall
        figures = (wall.p50, wall.p90, wall.p95, wall.p99, wall.p99_9, wall.max)
        shares = f"{stage.cpu_ms:.2f}", f"{stage.utilisation:.2f}"
        style = None if stage.work else "dim"
        table.add_row(name.replace("_", " "), *map(_ms, figures), *shares, style=style)
    return table


def _ms(value: float) -> str:
    """Write milliseconds with enough digits: 0.12, 12.3, 123."""
    return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}"


def _threads(report: ProfileReport) -> Table:
    table = _make_table("threads, ms a frame", ("name", "threads", "cpu", "cores", "waited"))
    for use in report.process.threads[:THREADS_SHOWN]:
        cpu_ms, waited_ms = (1000 * s / report.frames for s in (use.cpu_s, use.waited_s))
        figures = (f"{cpu_ms:.2f}", f"{use.cores:.2f}", f"{waited_ms:.2f}")
        table.add_row(use.name, str(use.threads), *figures)
    return table

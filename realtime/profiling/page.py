"""Writes a profile as one HTML page that needs no other file."""

from pathlib import Path

from markupsafe import Markup

from qlumen.errors import SinkError
from qlumen.realtime.profiling import plots
from qlumen.realtime.profiling.recorder import RESPONSE
from qlumen.realtime.profiling.report import ProfileReport, is_work
from qlumen.realtime.profiling.table import lines
from qlumen.system.templates import load_template


def write_page(path: Path, report: ProfileReport) -> None:
    """Write the page; raise SinkError if that fails."""
    try:
        path.write_text(render_page(report), encoding="utf-8")
    except OSError as error:
        raise SinkError(f"{path} cannot be written: {error.strerror}") from None


def render_page(report: ProfileReport) -> str:
    """Return the whole document with its styles and plots."""
    *about, verdict = lines(report)
    segments, stages = report.segments_us, report.stages
    colours = plots.colours_of(stages)
    working = {name: parts for name, parts in segments.items() if stages[name].work}
    on_the_way = {name: segments[name] for name in stages if stages[name].in_response}
    return load_template("qlumen.realtime.profiling", "profile.html.j2").render(
        report=report,
        is_work=is_work,
        about=about,
        verdict=verdict,
        response=Markup(plots.histogram(segments[RESPONSE], report.budget_ms)),
        percentiles=Markup(plots.percentile_curves(working, colours)),
        stacked=Markup(plots.draw_stages(on_the_way, colours, report.seconds)),
    )

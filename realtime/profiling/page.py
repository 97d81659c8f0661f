"""A profile as one HTML page without any other file."""

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from qlumen.errors import SinkError
from qlumen.realtime.profiling import plots
from qlumen.realtime.profiling.recorder import RESPONSE
from qlumen.realtime.profiling.report import ProfileReport, is_work
from qlumen.realtime.profiling.table import lines

STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --paper: #fff; --grid: #d8dce0; --bad: #b3261e;
  --good: #1b6e3c; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e7ea; --paper: #15181b; --grid: #383e44;
  --bad: #ff8a80; --good: #6fd79b; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  max-width: 900px; margin: 2rem auto; padding: 0 1rem; }
svg { width: 100%; height: auto; } svg text { font-size: 12px; fill: var(--ink); }
.grid { stroke: var(--grid); } line.budget { stroke: var(--bad); stroke-width: 2; }
svg text.budget { fill: var(--bad); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .5rem; text-align: right; border-bottom: 1px solid var(--grid); }
th:first-child, td:first-child { text-align: left; }
tr.queue td { opacity: .7; }
.legend span { margin-right: 1rem; white-space: nowrap; }
.legend i { display: inline-block; width: .8em; height: .8em; margin-right: .3em; }
.met { color: var(--good); } .missed { color: var(--bad); }
.scroll { overflow-x: auto; }
"""


def write_page(path: Path, report: ProfileReport) -> None:
    """Write the page. Raises SinkError if that fails."""
    try:
        path.write_text(page(report), encoding="utf-8")
    except OSError as error:
        raise SinkError(f"{path} cannot be written: {error.strerror}") from None


def page(report: ProfileReport) -> str:
    title = f"Profile of {escape(report.source)}"
    verdict = "met" if report.met else "missed"
    *about, last = lines(report)
    on_the_way = {
        name: report.segments_us[name] for name in report.stages if report.stages[name].in_response
    }
    colours = plots.colours_of(report.stages)
    sections = (
        f'<h1>{title}</h1><p class="{verdict}"><strong>{escape(last)}</strong></p>',
        _section("Response time", plots.histogram(report.segments_us[RESPONSE], report.budget_ms)),
        _section(
            "Percentiles",
            plots.percentile_curves(
                {n: s for n, s in report.segments_us.items() if report.stages[n].work},
                colours,
            ),
        ),
        _section("Where a frame's time goes", plots.stacked(on_the_way, colours, report.seconds)),
        _section("Stages, ms a frame", _stages(report)),
        _section("Warm-up, ms a frame", _warm_up(report)),
        _section("Threads", _threads(report)),
        _section("Slowest frames", _slowest(report)),
        _section("Other figures", "".join(f"<p>{escape(line)}</p>" for line in about)),
        _section("Measured on", _facts(report)),
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head><body>{''.join(sections)}"
        "<p>qlumen is a research tool, not a medical device.</p></body></html>\n"
    )


def _section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>{content}"


def _stages(report: ProfileReport) -> str:
    head = ("stage", "p50", "p90", "p95", "p99", "p99.9", "max", "mean", "cpu", "busy")
    rows = []
    for name, stage in report.stages.items():
        wall = stage.wall
        figures = (
            wall.p50, wall.p90, wall.p95, wall.p99, wall.p99_9, wall.max, stage.mean,
            stage.cpu_ms, stage.utilisation,
        )  # fmt: skip
        kind = "" if stage.work else "queue"
        rows.append((kind, (name.replace("_", " "), *(f"{value:.2f}" for value in figures))))
    return _table(head, rows)


def _warm_up(report: ProfileReport) -> str:
    rows = [
        (
            "" if is_work(name) else "queue",
            (name.replace("_", " "), *(f"{ms:.2f}" for ms in (kept.p50, kept.p90, kept.max))),
        )
        for name, kept in report.warm_up.stages_ms.items()
    ]
    return _table(("stage", "p50", "p90", "max"), rows)


def _threads(report: ProfileReport) -> str:
    rows = [
        (
            "",
            (
                use.name,
                str(use.threads),
                f"{use.cpu_s:.2f}",
                f"{use.cores:.3f}",
                f"{use.waited_s:.2f}",
            ),
        )
        for use in report.process.threads
    ]
    return _table(("name", "threads", "cpu s", "cores", "waited for one, s"), rows)


def _slowest(report: ProfileReport) -> str:
    rows = [
        (
            "",
            (
                str(slow.frame),
                f"{slow.response_ms:.2f}",
                slow.stage.replace("_", " "),
                f"{slow.stage_ms:.2f}",
                f"{slow.median_ms:.2f}",
                f"{slow.collecting_ms:.2f}",
            ),
        )
        for slow in report.slowest
    ]
    head = ("frame", "response ms", "what grew", "to ms", "mostly ms", "garbage collector ms")
    return _table(head, rows)


def _facts(report: ProfileReport) -> str:
    facts = {**report.machine, **{f"engine {k}": v for k, v in report.engine.items()}}
    facts |= {f"bundle {key}": value for key, value in report.bundle.items()}
    rows = [("", (str(key), str(value))) for key, value in facts.items()]
    return _table(("fact", "value"), rows)


def _table(head: Sequence[str], rows: Iterable[tuple[str, Sequence[str]]]) -> str:
    titles = "".join(f"<th>{escape(text)}</th>" for text in head)
    body = "".join(
        f'<tr class="{kind}">' + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>"
        for kind, row in rows
    )
    return f'<div class="scroll"><table><tr>{titles}</tr>{body}</table></div>'

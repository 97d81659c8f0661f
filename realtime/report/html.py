"""The report as one HTML file that asks nothing of a network."""

import base64

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from qlumen.realtime.report.charts import score_chart, sparkline, timeline
from qlumen.realtime.report.conditions import LOOKS
from qlumen.realtime.report.facts import RESEARCH, Facts, TrackFacts
from qlumen.realtime.report.svg import svg

WIDTH_PT = 560.0
SPARKLINE_PT = 210.0


def html(facts: Facts) -> str:
    """A whole document: styles, pictures and drawings are in it."""
    loader = PackageLoader("qlumen.realtime.report", "templates")
    environment = Environment(
        loader=loader,
        autoescape=select_autoescape(("j2",)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    drawings = {"timeline": timeline(facts, WIDTH_PT), "scores": score_chart(facts, WIDTH_PT)}
    return environment.get_template("report.html.j2").render(
        facts=facts,
        research=RESEARCH,
        looks=LOOKS,
        drawings={name: Markup(svg(one)) if one else "" for name, one in drawings.items()},
        cards=[(track, _data_uri(track.picture), _spark(track)) for track in facts.tracks],
    )


def _spark(track: TrackFacts) -> Markup:
    drawing = sparkline(track, SPARKLINE_PT)
    return Markup(svg(drawing) if drawing else "")


def _data_uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()

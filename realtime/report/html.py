"""Writes the report as one HTML file that loads nothing from a network."""

import base64
from html import escape

from markupsafe import Markup
from reportlab.graphics.shapes import Circle, Drawing, PolyLine, Rect, Shape
from reportlab.lib.colors import Color

from qlumen.realtime.report.charts import score_chart, sparkline, timeline
from qlumen.realtime.report.facts import LOOKS, RESEARCH, Facts, clock
from qlumen.system.templates import load_template

WIDTH_PT = 560.0
SPARKLINE_PT = 210.0


def html(facts: Facts) -> str:
    """Write a complete document that contains its styles, images and drawings."""
    length_s = facts.span.end_s - facts.span.start_s if facts.span else 0.0
    rows = f"Timeline of {clock(length_s)} with {len(facts.tracks)} lesions"
    cards = []
    for track in facts.tracks:
        image = "data:image/jpeg;base64," + base64.b64encode(track.image).decode()
        label = f"Score of lesion {track.number} over time"
        cards.append((track, image, svg(sparkline(track, SPARKLINE_PT), label)))
    return load_template("qlumen.realtime.report", "report.html.j2").render(
        facts=facts,
        research=RESEARCH,
        looks=LOOKS,
        timeline=svg(timeline(facts, WIDTH_PT), rows),
        scores=svg(score_chart(facts, WIDTH_PT), "Score of the findings over time"),
        cards=cards,
    )


def svg(drawing: Drawing | None, label: str) -> Markup:
    """Write a drawing as an element that fills the given width, and nothing for None.

    reportlab's own writer does not fit a page with several drawings. The drawings would share
    the names of their parts, and the widths of another font would place the texts.

    Args:
        label: description for screen readers.
    """
    if drawing is None:
        return Markup("")
    inner = "".join(_element(shape, drawing.height) for shape in drawing.contents)
    return Markup(
        f'<svg viewBox="0 0 {drawing.width:g} {drawing.height:g}" role="img" '
        f'aria-label="{escape(label)}">{inner}</svg>'
    )


def _element(shape: Shape, height: float) -> str:
    """Write a shape; y points down in SVG."""
    if isinstance(shape, PolyLine):
        pairs = zip(shape.points[::2], shape.points[1::2], strict=True)
        points = " ".join(f"{x:.2f},{height - y:.2f}" for x, y in pairs)
        stroke = f'stroke="{_hex(shape.strokeColor)}" stroke-width="{shape.strokeWidth:g}"'
        return f'<polyline points="{points}" fill="none" {stroke}/>'
    fill = f'fill="{_hex(shape.fillColor)}"'
    if isinstance(shape, Rect):
        corner = f'x="{shape.x:.2f}" y="{height - shape.y - shape.height:.2f}"'
        size = f'width="{shape.width:.2f}" height="{shape.height:.2f}"'
        return f"<rect {corner} {size} {fill}/>"
    if isinstance(shape, Circle):
        return f'<circle cx="{shape.cx:.2f}" cy="{height - shape.cy:.2f}" r="{shape.r:g}" {fill}/>'
    place = f'x="{shape.x:.2f}" y="{height - shape.y:.2f}" text-anchor="{shape.textAnchor}"'
    return f'<text {place} font-size="{shape.fontSize:g}" {fill}>{escape(shape.text)}</text>'


def _hex(color: Color) -> str:
    return f"#{color.hexval()[2:]}"

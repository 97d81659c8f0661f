"""Drawings as SVG."""

from collections.abc import Iterable
from html import escape

from qlumen.realtime.report.charts import Dot, Drawing, Line, Rect, Shape


def svg(drawing: Drawing) -> str:
    """An element that fills the width it is given."""
    label = escape(drawing.label)
    inner = "".join(map(_element, drawing.shapes))
    return (
        f'<svg viewBox="0 0 {drawing.width:g} {drawing.height:g}" role="img" '
        f'aria-label="{label}">{inner}</svg>'
    )


def _element(shape: Shape) -> str:
    if isinstance(shape, Rect):
        place = f'x="{shape.x:.2f}" y="{shape.y:.2f}" width="{shape.w:.2f}" height="{shape.h:.2f}"'
        return f'<rect {place} fill="{shape.fill}"/>'
    if isinstance(shape, Line):
        stroke = f'stroke="{shape.stroke}" stroke-width="{shape.width:g}"'
        return f'<polyline points="{_points(shape.points)}" fill="none" {stroke}/>'
    if isinstance(shape, Dot):
        return (
            f'<circle cx="{shape.x:.2f}" cy="{shape.y:.2f}" r="{shape.r:g}" fill="{shape.fill}"/>'
        )
    place = f'x="{shape.x:.2f}" y="{shape.y:.2f}" text-anchor="{shape.anchor}"'
    text = escape(shape.text)
    return f'<text {place} font-size="{shape.size:g}" fill="{shape.fill}">{text}</text>'


def _points(points: Iterable[tuple[float, float]]) -> str:
    return " ".join(f"{x:.2f},{y:.2f}" for x, y in points)

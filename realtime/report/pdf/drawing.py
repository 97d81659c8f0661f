"""Drawings as reportlab's."""

from reportlab.graphics import shapes
from reportlab.lib.colors import HexColor

from qlumen.realtime.report.charts import Dot, Drawing, Line, Rect, Shape
from qlumen.realtime.report.pdf.fonts import REGULAR


def graphic(drawing: Drawing) -> shapes.Drawing:
    """A flowable of the drawing's size; reportlab's y goes up."""
    made = shapes.Drawing(drawing.width, drawing.height)
    for shape in drawing.shapes:
        made.add(_shape(shape, drawing.height))
    return made


def _shape(shape: Shape, height: float) -> shapes.Shape:
    if isinstance(shape, Rect):
        y = height - shape.y - shape.h
        fill = HexColor(shape.fill)
        return shapes.Rect(shape.x, y, shape.w, shape.h, fillColor=fill, strokeColor=None)
    if isinstance(shape, Line):
        flat = [value for x, y in shape.points for value in (x, height - y)]
        line = shapes.PolyLine(flat, strokeColor=HexColor(shape.stroke), strokeWidth=shape.width)
        line.strokeLineJoin = line.strokeLineCap = 1
        return line
    if isinstance(shape, Dot):
        fill = HexColor(shape.fill)
        return shapes.Circle(shape.x, height - shape.y, shape.r, fillColor=fill, strokeColor=None)
    return shapes.String(
        shape.x,
        height - shape.y,
        shape.text,
        fontName=REGULAR,
        fontSize=shape.size,
        fillColor=HexColor(shape.fill),
        textAnchor=shape.anchor,
    )

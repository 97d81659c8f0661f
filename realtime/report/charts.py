"""Draws the report's charts as reportlab shapes for SVG and PDF. Lengths are points, y is up."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from reportlab.graphics.shapes import Circle, Drawing, PolyLine, Rect, Shape, String
from reportlab.lib.colors import Color, HexColor, white

from qlumen.realtime.frames import Condition
from qlumen.realtime.report.facts import LOOKS, Facts, TimeSpan, TrackFacts, clock

INK, MUTED = HexColor("#1b2530"), HexColor("#5b6772")
GRID, PAPER = HexColor("#dde3e8"), HexColor("#f3f6f8")
ACCENT, ACCENT_LIGHT = HexColor("#0072b2"), HexColor("#a9cfe6")
REGULAR = "SourceSansPro-Regular"
"""Font of the PDF; the HTML page uses its own fonts."""
LABEL_WIDTH = 52.0
ROW_HEIGHT, BAR_HEIGHT = 15.0, 9.0
AXIS_HEIGHT = 18.0
SMALL, TINY = 8.0, 7.0
LEAST_BAR = 1.2
MAX_TICKS = 8
TICK_STEPS_S = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)


@dataclass(frozen=True, slots=True)
class _Plot:
    """Maps values to the area of a chart: `span` lies on x0 to x1, levels 0 to 1 on y0 to y1."""

    span: TimeSpan
    x0: float
    x1: float
    y0: float
    y1: float

    def x(self, time_s: float) -> float:
        length = self.span.end_s - self.span.start_s
        return self.x0 + (self.x1 - self.x0) * (time_s - self.span.start_s) / length

    def y(self, level: float) -> float:
        return self.y0 + level * (self.y1 - self.y0)

    def bar(self, span: TimeSpan, y: float, fill: Color) -> Rect:
        left, right = self.x(span.start_s), self.x(span.end_s)
        return fill_rect(left, y, max(LEAST_BAR, right - left), BAR_HEIGHT, fill)

    def curve(self, values: Sequence[tuple[float, float]], stroke: Color, width: float) -> Shape:
        points = [(self.x(time_s), self.y(score)) for time_s, score in values]
        return _dot(*points[0], width, stroke) if len(points) == 1 else _line(points, stroke, width)


def timeline(facts: Facts, width: float) -> Drawing | None:
    """Draw a row per lesion, a row for the frames' condition, and the time; None for stills."""
    if facts.span is None:
        return None
    height = (len(facts.tracks) + 1) * ROW_HEIGHT + AXIS_HEIGHT
    plot = _Plot(facts.span, LABEL_WIDTH, width - 6, AXIS_HEIGHT, height)
    y = height + (ROW_HEIGHT - BAR_HEIGHT) / 2
    shapes = [*_axis(plot)]
    for track in facts.tracks:
        y -= ROW_HEIGHT
        shapes += _track_bars(track, plot, y)
    y -= ROW_HEIGHT
    shapes.append(_text(0, y + 1.5, "Condition", SMALL, MUTED))
    ordered = sorted(facts.conditions, key=lambda one: one[0] is not Condition.CLEAR)
    shapes += [plot.bar(span, y, HexColor(LOOKS[kind].on_paper)) for kind, span in ordered]
    return Drawing(width, height, *shapes)


def score_chart(facts: Facts, width: float, height: float = 88.0) -> Drawing | None:
    """Draw the highest score of each moment in grey and the lesions' in blue; None for stills."""
    if facts.span is None:
        return None
    plot = _Plot(facts.span, LABEL_WIDTH, width - 6, AXIS_HEIGHT, height - 5)
    shapes = [*_axis(plot), *_levels(plot)]
    for found, group in groupby(facts.best_scores, key=lambda one: one[1] > 0):
        if found:
            shapes.append(plot.curve(list(group), MUTED, 0.7))
    for track in facts.tracks:
        shapes += _curves(track, plot, 1.5)
    return Drawing(width, height, *shapes)


def sparkline(track: TrackFacts, width: float, height: float = 46.0) -> Drawing | None:
    """Draw a lesion's score from its first to its last frame; None for a single frame."""
    if len(track.scores) < 2:
        return None
    span = TimeSpan(track.scores[0][0], track.scores[-1][0])
    plot = _Plot(span, 22, width - 4, 12, height - 4)
    at_best = dict(track.scores)[track.best_s]
    shapes = [*_levels(plot), *_curves(track, plot, 1.2)]
    shapes.append(_dot(plot.x(track.best_s), plot.y(at_best), 2.4, INK))
    shapes.append(_text(plot.x0, 2, clock(span.start_s), TINY, MUTED))
    shapes.append(_text(plot.x1, 2, clock(span.end_s), TINY, MUTED, "end"))
    return Drawing(width, height, *shapes)


def ticks(span: TimeSpan) -> list[float]:
    """Choose round times within `span`, at most `MAX_TICKS`."""
    length = span.end_s - span.start_s
    fitting = (step for step in TICK_STEPS_S if length / step < MAX_TICKS)
    step = next(fitting, length / (MAX_TICKS - 1))
    first = -int(-span.start_s // step)
    count = int((span.end_s - first * step) / step) + 1
    return [(first + i) * step for i in range(count)]


def fill_rect(x: float, y: float, width: float, height: float, fill: Color) -> Rect:
    """Make a rectangle without an edge."""
    return Rect(x, y, width, height, fillColor=fill, strokeColor=None)


def _axis(plot: _Plot) -> Iterator[Shape]:
    for time_s in ticks(plot.span):
        x = plot.x(time_s)
        yield _line([(x, plot.y1), (x, plot.y0 - 3)], GRID, 0.6)
        yield _text(x, plot.y0 - 12, clock(time_s), TINY, MUTED, "middle")


def _track_bars(track: TrackFacts, plot: _Plot, y: float) -> Iterator[Shape]:
    yield _text(0, y + 1.5, track.title, SMALL, INK)
    yield plot.bar(TimeSpan(track.spans[0].start_s, track.spans[-1].end_s), y, ACCENT_LIGHT)
    for span in track.spans:
        yield plot.bar(span, y, ACCENT)
    x, middle = plot.x(track.best_s), y + BAR_HEIGHT / 2
    yield _dot(x, middle, 3.0, INK)  # a dark rim, visible where the bar ends under the dot
    yield _dot(x, middle, 2.2, white)


def _levels(plot: _Plot) -> Iterator[Shape]:
    for level in (0.0, 0.5, 1.0):
        y = plot.y(level)
        yield _line([(plot.x0, y), (plot.x1, y)], GRID, 0.6)
        yield _text(plot.x0 - 4, y - 2.4, f"{level:g}", TINY, MUTED, "end")


def _curves(track: TrackFacts, plot: _Plot, width: float) -> Iterator[Shape]:
    """Draw a curve for each span, because there is no score where the lesion was not found."""
    for span in track.spans:
        part = [one for one in track.scores if span.start_s <= one[0] < span.end_s]
        yield plot.curve(part, ACCENT, width)


def _line(points: Sequence[tuple[float, float]], stroke: Color, width: float) -> PolyLine:
    line = PolyLine([*points], strokeColor=stroke, strokeWidth=width)
    line.strokeLineJoin = line.strokeLineCap = 1
    return line


def _dot(x: float, y: float, radius: float, fill: Color) -> Circle:
    return Circle(x, y, radius, fillColor=fill, strokeColor=None)


def _text(x: float, y: float, text: str, size: float, fill: Color, anchor: str = "start") -> String:
    """Make a text with its base line at `y`; `anchor` is `start`, `middle` or `end`."""
    font = {"fontName": REGULAR, "fontSize": size, "fillColor": fill}
    return String(x, y, text, textAnchor=anchor, **font)

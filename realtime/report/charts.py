"""The report's drawings as plain shapes, for SVG and PDF alike. Lengths are points, y down."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from qlumen.realtime.frames import Condition
from qlumen.realtime.report.conditions import LOOKS
from qlumen.realtime.report.facts import Facts, Span, TrackFacts
from qlumen.realtime.report.times import clock

INK, MUTED, GRID, PAPER = "#1b2530", "#5b6772", "#dde3e8", "#f3f6f8"
ACCENT, ACCENT_LIGHT = "#0072b2", "#a9cfe6"
LABEL_WIDTH = 52.0
ROW_HEIGHT, BAR_HEIGHT = 15.0, 9.0
AXIS_HEIGHT = 18.0
SMALL, TINY = 8.0, 7.0
LEAST_BAR = 1.2
MAX_TICKS = 8
TICK_STEPS_S = (0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200)


@dataclass(frozen=True, slots=True)
class Rect:
    x: float
    y: float
    w: float
    h: float
    fill: str


@dataclass(frozen=True, slots=True)
class Line:
    points: tuple[tuple[float, float], ...]
    stroke: str
    width: float


@dataclass(frozen=True, slots=True)
class Dot:
    x: float
    y: float
    r: float
    fill: str


@dataclass(frozen=True, slots=True)
class Text:
    """`anchor` is `start`, `middle` or `end`; y is the base line."""

    x: float
    y: float
    text: str
    size: float
    fill: str
    anchor: str = "start"


Shape = Rect | Line | Dot | Text


@dataclass(frozen=True, slots=True)
class Drawing:
    """`label` says in words what is seen."""

    width: float
    height: float
    label: str
    shapes: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class _Scale:
    """From seconds to x."""

    span: Span
    x0: float
    x1: float

    def x(self, time_s: float) -> float:
        length = self.span.end_s - self.span.start_s
        return self.x0 + (self.x1 - self.x0) * (time_s - self.span.start_s) / length

    def bar(self, span: Span, y: float, height: float, fill: str) -> Rect:
        left, right = self.x(span.start_s), self.x(span.end_s)
        return Rect(left, y, max(LEAST_BAR, right - left), height, fill)


def timeline(facts: Facts, width: float) -> Drawing | None:
    """A row a lesion, a row for the pictures' condition, and the time. None for stills."""
    if facts.span is None:
        return None
    scale = _Scale(facts.span, LABEL_WIDTH, width - 6)
    rows = len(facts.tracks) + 1
    bottom = rows * ROW_HEIGHT
    shapes = [*_axis(scale, 0, bottom), *_track_bars(facts.tracks, scale)]
    shapes += _condition_bar(facts, scale, (rows - 1) * ROW_HEIGHT)
    label = f"Timeline of {clock(facts.span.end_s - facts.span.start_s)}: {len(facts.tracks)} rows"
    return Drawing(width, bottom + AXIS_HEIGHT, label, tuple(shapes))


def score_chart(facts: Facts, width: float, height: float = 88.0) -> Drawing | None:
    """The highest score of each moment in grey, those of the lesions on it. None for stills."""
    if facts.span is None:
        return None
    scale = _Scale(facts.span, LABEL_WIDTH, width - 6)
    top, bottom = 5.0, height - AXIS_HEIGHT
    shapes = [*_axis(scale, top, bottom), *_levels(scale, top, bottom)]
    for found, group in groupby(facts.best_scores, key=lambda one: one[1] > 0):
        if found:
            shapes.append(_curve(list(group), scale, top, bottom, MUTED, 0.7))
    for track in facts.tracks:
        shapes += _curves(track, scale, top, bottom, 1.5)
    return Drawing(width, height, "Score of the findings over time", tuple(shapes))


def sparkline(track: TrackFacts, width: float, height: float = 46.0) -> Drawing | None:
    """A lesion's score from its first to its last frame. None with one frame."""
    if len(track.scores) < 2:
        return None
    span = Span(track.scores[0][0], track.scores[-1][0])
    scale = _Scale(span, 22, width - 4)
    top, bottom = 4.0, height - 12
    at_best = dict(track.scores)[track.best_s]
    shapes: list[Shape] = [*_levels(scale, top, bottom)]
    shapes += _curves(track, scale, top, bottom, 1.2)
    shapes.append(Dot(scale.x(track.best_s), _y(at_best, top, bottom), 2.4, INK))
    shapes.append(Text(scale.x0, height - 2, clock(span.start_s), TINY, MUTED))
    shapes.append(Text(scale.x1, height - 2, clock(span.end_s), TINY, MUTED, "end"))
    return Drawing(width, height, f"Score of lesion {track.number} over time", tuple(shapes))


def _axis(scale: _Scale, top: float, bottom: float) -> Iterator[Shape]:
    for time_s in ticks(scale.span):
        x = scale.x(time_s)
        yield Line(((x, top), (x, bottom + 3)), GRID, 0.6)
        yield Text(x, bottom + 12, clock(time_s), TINY, MUTED, "middle")


def ticks(span: Span) -> list[float]:
    """Round times within `span`, `MAX_TICKS` at most."""
    length = span.end_s - span.start_s
    fitting = (step for step in TICK_STEPS_S if length / step < MAX_TICKS)
    step = next(fitting, length / (MAX_TICKS - 1))
    first = -int(-span.start_s // step)
    count = int((span.end_s - first * step) / step) + 1
    return [(first + i) * step for i in range(count)]


def _track_bars(tracks: Sequence[TrackFacts], scale: _Scale) -> Iterator[Shape]:
    for row, track in enumerate(tracks):
        y = row * ROW_HEIGHT + (ROW_HEIGHT - BAR_HEIGHT) / 2
        yield Text(0, y + BAR_HEIGHT - 1.5, track.title, SMALL, INK)
        whole = Span(track.spans[0].start_s, track.spans[-1].end_s)
        yield scale.bar(whole, y, BAR_HEIGHT, ACCENT_LIGHT)
        for span in track.spans:
            yield scale.bar(span, y, BAR_HEIGHT, ACCENT)
        x, middle = scale.x(track.best_s), y + BAR_HEIGHT / 2
        yield Dot(x, middle, 3.0, INK)  # a rim, for where the bar ends under the dot
        yield Dot(x, middle, 2.2, "#ffffff")


def _condition_bar(facts: Facts, scale: _Scale, top: float) -> Iterator[Shape]:
    y = top + (ROW_HEIGHT - BAR_HEIGHT) / 2
    yield Text(0, y + BAR_HEIGHT - 1.5, "Picture", SMALL, MUTED)
    ordered = sorted(facts.conditions, key=lambda one: one[0] is not Condition.CLEAR)
    for condition, span in ordered:
        yield scale.bar(span, y, BAR_HEIGHT, LOOKS[condition].on_paper)


def _levels(scale: _Scale, top: float, bottom: float) -> Iterator[Shape]:
    for level in (0.0, 0.5, 1.0):
        y = _y(level, top, bottom)
        yield Line(((scale.x0, y), (scale.x1, y)), GRID, 0.6)
        yield Text(scale.x0 - 4, y + 2.4, f"{level:g}", TINY, MUTED, "end")


def _curves(
    track: TrackFacts, scale: _Scale, top: float, bottom: float, width: float
) -> Iterator[Shape]:
    """A curve for each span: where the lesion was not found there is no score to draw."""
    for span in track.spans:
        part = [one for one in track.scores if span.start_s <= one[0] < span.end_s]
        yield _curve(part, scale, top, bottom, ACCENT, width)


def _curve(
    values: Sequence[tuple[float, float]],
    scale: _Scale,
    top: float,
    bottom: float,
    stroke: str,
    width: float,
) -> Shape:
    points = tuple((scale.x(t), _y(score, top, bottom)) for t, score in values)
    if len(points) == 1:
        return Dot(*points[0], width, stroke)
    return Line(points, stroke, width)


def _y(level: float, top: float, bottom: float) -> float:
    return bottom - level * (bottom - top)

"""Draws the plots of a profile's page as inline SVG, with the page's colours for text."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import cycle

from qlumen.realtime.profiling.recorder import Segment, merge

WIDTH, HEIGHT = 860, 320
LEFT, RIGHT, TOP, BOTTOM = 60, 20, 14, 42
US_PER_MS = 1000
COLOURS = (
    "#4c8bf5", "#e8833a", "#2aa876", "#c2539d", "#8f7ae5", "#b59a12",
    "#d1495b", "#3aa5b8", "#7d8590", "#7a9e3b", "#a5694f", "#5f6bd8",
)  # fmt: skip
PERCENTS = (0, 25, 50, 75, 90, 95, 99, 99.5, 99.9)
HISTOGRAM_BINS = 60

Point = tuple[float, float]
Colours = Mapping[str, str]


def percentile_curves(stages: Mapping[str, Sequence[Segment]], colours: Colours) -> str:
    """Draw a curve for each stage: logarithmic milliseconds over the percentile, a wide tail."""
    curves = {name: _curve(segments) for name, segments in stages.items()}
    values = [ms for curve in curves.values() for _, ms in curve]
    low = 10 ** math.floor(math.log10(max(0.01, min(values))))
    high = 10 ** math.ceil(math.log10(max(values) * 1.001))
    body = [_tick_x(_tail(percent), f"{percent:g}") for percent in PERCENTS]
    decades = round(math.log10(high / low))
    for power in range(decades + 1):
        body.append(_tick_y(power / decades, f"{low * 10**power:g}"))
    for name, curve in curves.items():
        points = [(x, math.log10(max(low, ms) / low) / decades) for x, ms in curve]
        body.append(_line(points, colours[name]))
    return _svg(body, "percentile of frames", "ms") + _legend(list(stages), colours)


def draw_stages(stages: Mapping[str, Sequence[Segment]], colours: Colours, seconds: float) -> str:
    """Draw the means of the stages on top of each other, over the parts of the run."""
    means = {name: [_mean_ms(part) for part in parts] for name, parts in stages.items()}
    count = min(len(parts) for parts in means.values())
    totals = [sum(parts[i] for parts in means.values()) for i in range(count)]
    top = _round_up(max(totals))
    body = [_tick_y(i / 4, f"{top * i / 4:g}") for i in range(5)]
    body += [_tick_x(i / 4, f"{seconds * i / 4:.3g}") for i in range(5)]
    base = [0.0] * count
    for name, parts in means.items():
        upper = [low + parts[i] for i, low in enumerate(base)]
        body.append(_band(base, upper, top, colours[name]))
        base = upper
    return _svg(body, "seconds", "ms") + _legend(list(stages), colours)


def histogram(segments: Sequence[Segment], budget_ms: float) -> str:
    """Draw how often each response time occurred, and the budget."""
    counts = merge(segments)
    high_ms = _round_up(max(max(counts) / US_PER_MS, budget_ms) * 1.02)
    bins = [0] * HISTOGRAM_BINS
    for duration, count in counts.items():
        bins[min(HISTOGRAM_BINS - 1, int(duration / US_PER_MS / high_ms * HISTOGRAM_BINS))] += count
    top = max(bins)
    body = [_tick_x(i / 4, f"{high_ms * i / 4:g}") for i in range(5)]
    body += [_tick_y(i / 2, f"{top * i / 2:g}") for i in range(3)]
    body += [_bar(i, count / top) for i, count in enumerate(bins) if count]
    x = _x(budget_ms / high_ms)
    body.append(f'<line class="budget" x1="{x}" x2="{x}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
    body.append(f'<text class="budget" x="{x + 4}" y="{TOP + 12}">budget {budget_ms:g} ms</text>')
    return _svg(body, "ms from due to drawn", "frames")


def colours_of(names: Iterable[str]) -> Colours:
    """Return a colour for each name; it is the same in all plots."""
    return dict(zip(names, cycle(COLOURS), strict=False))


def _curve(segments: Sequence[Segment]) -> list[Point]:
    """Return the place on the percentile axis and the milliseconds of each duration."""
    counts = merge(segments)
    total, seen, points = sum(counts.values()), 0, []
    for duration in sorted(counts):
        points.append((_tail(100 * seen / total), max(duration, 1) / US_PER_MS))
        seen += counts[duration]
        points.append((_tail(100 * seen / total), max(duration, 1) / US_PER_MS))
    return points


def _tail(percent: float) -> float:
    """Scale a percentile by its number of nines: 0 at 0, 1 at 99.9 and above."""
    return min(1.0, -math.log10(max(1e-9, 1 - percent / 100)) / 3)


def _mean_ms(segment: Segment) -> float:
    total = sum(duration * count for duration, count in segment.items())
    return total / sum(segment.values()) / US_PER_MS


def _round_up(value: float) -> float:
    """Round up to 1, 2, 4, 5 or 8 times a power of ten."""
    power = 10 ** math.floor(math.log10(max(value, 1e-3)))
    return next(step * power for step in (1, 2, 4, 5, 8, 10) if step * power >= value)


def _x(share: float) -> float:
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def _y(share: float) -> float:
    return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)


def _line(points: Sequence[Point], stroke: str) -> str:
    path = " ".join(f"{_x(x)},{_y(y)}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{stroke}" stroke-width="2"/>'


def _band(low: Sequence[float], high: Sequence[float], top: float, fill: str) -> str:
    last = max(1, len(low) - 1)
    there = [f"{_x(i / last)},{_y(value / top)}" for i, value in enumerate(high)]
    back = [f"{_x(i / last)},{_y(value / top)}" for i, value in enumerate(low)][::-1]
    return f'<polygon points="{" ".join(there + back)}" fill="{fill}" fill-opacity="0.85"/>'


def _bar(place: int, share: float) -> str:
    x, y = _x(place / HISTOGRAM_BINS), _y(share)
    width = (WIDTH - LEFT - RIGHT) / HISTOGRAM_BINS - 1
    height = HEIGHT - BOTTOM - y
    return f'<rect x="{x}" y="{y}" width="{width:.1f}" height="{height:.1f}" fill="{COLOURS[0]}"/>'


def _tick_x(share: float, label: str) -> str:
    x, base = _x(share), HEIGHT - BOTTOM
    grid = f'<line class="grid" x1="{x}" x2="{x}" y1="{TOP}" y2="{base}"/>'
    return f'{grid}<text x="{x}" y="{base + 16}" text-anchor="middle">{label}</text>'


def _tick_y(share: float, label: str) -> str:
    y = _y(share)
    grid = f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>'
    return f'{grid}<text x="{LEFT - 6}" y="{y + 4}" text-anchor="end">{label}</text>'


def _svg(body: Sequence[str], across: str, up: str) -> str:
    middle = (LEFT + WIDTH - RIGHT) / 2
    titles = (
        f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">{across}</text>'
        f'<text x="12" y="{HEIGHT / 2}" transform="rotate(-90 12 {HEIGHT / 2})" '
        f'text-anchor="middle">{up}</text>'
    )
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(body)}{titles}</svg>'


def _legend(names: Sequence[str], colours: Colours) -> str:
    entries = (
        f'<span><i style="background:{colours[name]}"></i>{escape(name.replace("_", " "))}</span>'
        for name in names
    )
    return f'<p class="legend">{"".join(entries)}</p>'

"""Defines the facts of a report. HTML and PDF use these facts only, so both say the same."""

from dataclasses import dataclass, replace

from qlumen.realtime.frames import Condition
from qlumen.system.locations import printable

Row = tuple[str, str]

RESEARCH = "Research tool, not a medical device."


@dataclass(frozen=True, slots=True)
class Look:
    """Holds a condition's colours `#rrggbb` for light and dark backgrounds."""

    on_paper: str
    on_dark: str


LOOKS = {
    Condition.CLEAR: Look("#cfd8de", "#46525d"),
    Condition.BLURRED: Look("#e69f00", "#e69f00"),
    Condition.RED_OUT: Look("#d55e00", "#d55e00"),
    Condition.OVEREXPOSED: Look("#f0e442", "#f0e442"),
    Condition.UNDEREXPOSED: Look("#3b4650", "#9fb4c6"),
    Condition.OUT_OF_BODY: Look("#cc79a7", "#cc79a7"),
}
"""Colours of Okabe and Ito, which people with colour blindness can distinguish, and greys."""


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """Holds the start and the end of a span in seconds of the recording."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class TrackFacts:
    """Describes one lesion.

    Attributes:
        spans: times at which the lesion was found.
        scores: time in seconds and score of each frame with the lesion.
        rows: labels and values to show.
        image: JPEG of the best frame with the outline.
    """

    number: int
    spans: tuple[TimeSpan, ...]
    scores: tuple[tuple[float, float], ...]
    best_s: float
    title: str
    rows: tuple[Row, ...]
    image: bytes


@dataclass(frozen=True, slots=True)
class Section:
    """Holds a section of the model card; `table` has its head first and may be empty."""

    title: str
    paragraphs: tuple[str, ...]
    table: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class LatencyRow:
    """Holds the latency of one stage in milliseconds."""

    stage: str
    p50: float
    p95: float
    p99: float
    max: float


@dataclass(frozen=True, slots=True)
class ConditionRow:
    condition: Condition
    label: str
    frames: int
    share: float


@dataclass(frozen=True, slots=True)
class Facts:
    """Holds all facts of a report.

    Attributes:
        recording: file name of the recording.
        persons: patient and operator; empty unless asked for. An empty value is a line to fill.
        headline: value and label of the figures at the top.
        warnings: faults of the recording and notes on it.
        span: span of the recording; None for stills.
        omitted: number of lesions that the report leaves out.
        best_scores: times in seconds with the highest score; thinned for long recordings.
    """

    title: str
    recording: str
    institution: str
    created: str
    persons: tuple[Row, ...]
    headline: tuple[Row, ...]
    procedure: tuple[Row, ...]
    warnings: tuple[str, ...]
    span: TimeSpan | None
    tracks: tuple[TrackFacts, ...]
    omitted: int
    brief: int
    best_scores: tuple[tuple[float, float], ...]
    conditions: tuple[tuple[Condition, TimeSpan], ...]
    quality: tuple[ConditionRow, ...]
    latency: tuple[LatencyRow, ...]
    latency_note: str
    model: tuple[Row, ...]
    card: tuple[Section, ...]
    hashes: tuple[Row, ...]
    limits: tuple[str, ...]

    def with_persons(self, patient: str | None, operator: str | None) -> "Facts":
        """Return the facts with persons; None leaves one out, an empty text is a line to fill."""
        named = (("Patient", patient), ("Operator", operator))
        rows = tuple((label, printable(value)) for label, value in named if value is not None)
        return replace(self, persons=rows)


def clock(seconds: float) -> str:
    """Write a time as `m:ss.s`, or as `h:mm:ss.s` from one hour on."""
    tenths = round(seconds * 10)
    sign, tenths = ("-", -tenths) if tenths < 0 else ("", tenths)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}:{minutes:02d}" if hours else str(minutes)
    return f"{sign}{head}:{rest // 10:02d}.{rest % 10}"


def percent(share: float) -> str:
    """Write a share as a percentage with one decimal."""
    return f"{100 * share:.1f}%"


def size_on_disk(count: int) -> str:
    """Write a number of bytes in MB or kB, in powers of 1000."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"

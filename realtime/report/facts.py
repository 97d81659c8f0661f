"""What a report says. HTML and PDF are made from this alone, so that they say the same."""

from dataclasses import dataclass, replace

from qlumen.realtime.frames import Condition

Row = tuple[str, str]

RESEARCH = "Research tool, not a medical device."
BLANK = ""
"""The value of a field that is to be filled by hand."""


@dataclass(frozen=True, slots=True)
class Look:
    """The label and the colours of a condition.

    Attributes:
        on_paper, on_dark: colours `#rrggbb` for a light and a dark ground.
    """

    label: str
    on_paper: str
    on_dark: str


LOOKS = {
    Condition.CLEAR: Look("clear", "#cfd8de", "#46525d"),
    Condition.BLURRED: Look("blurred", "#e69f00", "#e69f00"),
    Condition.RED_OUT: Look("lens on the wall", "#d55e00", "#d55e00"),
    Condition.OVEREXPOSED: Look("overexposed", "#f0e442", "#f0e442"),
    Condition.UNDEREXPOSED: Look("underexposed", "#3b4650", "#9fb4c6"),
    Condition.OUT_OF_BODY: Look("out of the body", "#cc79a7", "#cc79a7"),
}
"""Okabe and Ito's colours, which people with a colour deficiency can distinguish, and greys."""


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """From and to, in seconds of the recording."""

    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class TrackFacts:
    """One lesion. `picture` is a JPEG of the best frame with its outline.

    Attributes:
        spans: when it was found.
        scores: seconds and score of each frame it was found in.
        rows: label and value, for people.
    """

    number: int
    spans: tuple[TimeSpan, ...]
    scores: tuple[tuple[float, float], ...]
    best_s: float
    title: str
    rows: tuple[Row, ...]
    picture: bytes


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the model card.

    Attributes:
        table: rows of equal length, the head first; empty without one.
    """

    title: str
    paragraphs: tuple[str, ...]
    table: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class LatencyRow:
    """Milliseconds of one stage."""

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
    """Attributes:
    recording: its file's name.
    persons: patient and operator; empty unless asked for. `BLANK` values are lines.
    headline: value and label of the figures that stand first.
    span: of the recording; None for stills.
    best_scores: seconds, and the highest score found then; thinned out.
    conditions: what held when.
    omitted: tracks without a place in the report.
    warnings: what went wrong with the recording, and notes on it.
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
        """With fields for them; None leaves one out, an empty text makes a line to fill."""
        named = (("Patient", patient), ("Operator", operator))
        rows = tuple((label, value) for label, value in named if value is not None)
        return replace(self, persons=rows)


def clock(seconds: float) -> str:
    """Write a time as `m:ss.s`, with hours before it from an hour on."""
    tenths = round(seconds * 10)
    sign, tenths = ("-", -tenths) if tenths < 0 else ("", tenths)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}:{minutes:02d}" if hours else str(minutes)
    return f"{sign}{head}:{rest // 10:02d}.{rest % 10}"


def percent(share: float) -> str:
    """Write a share as a percentage with one digit after the point."""
    return f"{100 * share:.1f}%"


def size_on_disk(count: int) -> str:
    """Write a number of bytes in MB or kB of a thousand."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"

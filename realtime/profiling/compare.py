"""Compares two profiles by ratios with intervals."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qlumen.errors import UsageError
from qlumen.realtime.profiling.intervals import Interval, percentile, percentile_ratio
from qlumen.realtime.profiling.recorder import Segment, merge
from qlumen.realtime.profiling.report import FORMAT, ProfileReport

US_PER_MS = 1000
LEAST_SEGMENTS = 10
"""An interval needs at least this number of parts of a run."""
LEAST_FRAMES_FOR_P99 = 1000
"""A run with fewer frames is compared at the percentile 90: ten frames should lie above it."""


@dataclass(frozen=True, slots=True)
class OldProfile:
    """Holds the part of an older profile that a comparison needs.

    Attributes:
        segments_us: durations by stage; see `ProfileReport`.
        totals: single figures by name.
        facts: properties that must be the same in both profiles for a meaningful ratio.
    """

    segments_us: dict[str, list[Segment]]
    totals: dict[str, float]
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """Compares a percentile of a stage before and now; the ratio is now over before."""

    stage: str
    percent: float
    old_ms: float
    new_ms: float
    ratio: Interval

    @property
    def clear(self) -> bool:
        """Check whether the interval leaves out 1."""
        return self.ratio.low > 1 or self.ratio.high < 1


@dataclass(frozen=True, slots=True)
class Comparison:
    """Holds the result of a comparison.

    Attributes:
        changes: percentiles 50 and 99 (90 in a short run) of every stage of both runs.
        totals: single figures before and now by name, without an interval.
        differences: one line for each fact that is not the same in both.
    """

    changes: list[Change]
    totals: dict[str, tuple[float, float]]
    differences: list[str]


def read_profile(path: Path) -> OldProfile:
    """Read a profile that `--json` wrote.

    Raises:
        UsageError: the file cannot be read, or it is no profile.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--compare {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise UsageError(f"--compare {path} is not JSON; give a file that --json wrote") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UsageError(f"--compare {path} is no {FORMAT}; give a file that --json wrote")
    try:
        segments = {
            str(stage): [_segment(segment) for segment in parts if segment]
            for stage, parts in content["segments_us"].items()
        }
        return OldProfile(segments, _totals(content), _facts(content))
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise UsageError(f"--compare {path} is damaged ({error}); profile again") from None


def compare_profiles(report: ProfileReport, old: OldProfile) -> Comparison:
    """Compare a profile with an older one."""
    content = report.as_json()
    totals = {name: (old.totals[name], value) for name, value in _totals(content).items()}
    differences = [
        f"{name} was {old.facts.get(name)}, is {value}"
        for name, value in _facts(content).items()
        if old.facts.get(name) != value
    ]
    return Comparison(_changes(report, old), totals, differences)


def _changes(report: ProfileReport, old: OldProfile) -> list[Change]:
    found = []
    for stage, new in report.segments_us.items():
        before = old.segments_us.get(stage, [])
        if min(len(new), len(before)) < LEAST_SEGMENTS:
            continue
        frames = min(sum(merge(segments).values()) for segments in (new, before))
        for percent in (50, 99 if frames >= LEAST_FRAMES_FOR_P99 else 90):
            then, now = percentile(before, percent), percentile(new, percent)
            ratio = percentile_ratio(new, before, percent)
            found.append(Change(stage, percent, then / US_PER_MS, now / US_PER_MS, ratio))
    return found


def _segment(written: Mapping[str, Any]) -> Segment:
    segment = {int(duration): int(count) for duration, count in written.items()}
    if any(duration < 0 or count < 1 for duration, count in segment.items()):
        raise ValueError("a negative duration, or a count below 1")
    return segment


def _totals(content: Mapping[str, Any]) -> dict[str, float]:
    process, capacity = content["process"], content["capacity"]
    return {
        "frames/s at full speed": float(capacity["fps_off"]),
        "processor ms a frame": float(process["cpu_ms"]),
        "MiB at the end": float(process["rss_mib"][1]),
        "page faults a frame": float(process["page_faults"]),
        "share of frames over budget": float(content["missed_share"]),
    }


def _facts(content: Mapping[str, Any]) -> dict[str, Any]:
    facts = {name: content[name] for name in ("source", "fps", "recording", "config_sha256")}
    facts["size"] = list(content["size"])
    facts["bundle"] = content["bundle"]["sha256"]
    return facts | dict(content["machine"])

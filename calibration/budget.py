"""The way to run a bundle on this machine that keeps to a frame budget, measured."""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from qlumen.calibration.candidates import SIZE_DOUBT, Candidate
from qlumen.calibration.live_run import Live, run_live, screen, write_clip
from qlumen.errors import QlumenError
from qlumen.realtime.config.live import LiveSettings
from qlumen.realtime.config.settings import Settings, load_settings

MARGIN = 0.2
"""The clip is played so much faster than asked for, and nothing may be late even so."""
JUDGED = 0.95
"""Share of the frames that must go through the network."""
LEAST_SECONDS = 2.0
"""Of a live measurement, however little time there is."""
ALIKE = 0.001
"""Differences of the mean validation Dice below this are none."""
RATE_DENOMINATOR = 1000
LONGEST_AGE_MS = 2000.0
"""The bound of `live.max_age_ms`; in measuring, so that ages are seen and not cut off."""
MEASURED_WITH = ("source.loop=true", "source.threads=1", f"live.max_age_ms={LONGEST_AGE_MS}")


@dataclass(frozen=True, slots=True)
class Budget:
    """What is to be kept: frames a second of width x height pixels, recorded meanwhile or not."""

    fps: float
    size: tuple[int, int]
    record: bool = False
    margin: float = MARGIN

    @property
    def rate(self) -> Fraction:
        """Frames a second that are played, margin included."""
        return Fraction(self.fps * (1 + self.margin)).limit_denominator(RATE_DENOMINATOR)

    @property
    def period_ms(self) -> float:
        return 1000 / float(self.rate)

    @property
    def max_age_ms(self) -> float:
        """Findings are shown on the next frame at the earliest: the setting's default, or two
        frames' time where that is more."""
        return min(LONGEST_AGE_MS, max(LiveSettings().max_age_ms, 2 * 1000 / self.fps))


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A candidate and what was found.

    Attributes:
        alone_ms: median of the network without the rest of the video path.
        live: None where the candidate was rejected before.
        rejected: why it does not keep the budget, or was not tried; empty if it keeps it.
    """

    candidate: Candidate
    alone_ms: float | None
    live: Live | None
    rejected: str

    def as_json(self) -> dict[str, Any]:
        candidate = self.candidate
        return {
            "engine": candidate.engine,
            "bundle": candidate.bundle.manifest.name,
            "bundle_sha256": candidate.bundle.sha256,
            "weights": candidate.bundle.precision,
            "precision": candidate.precision,
            "input": "x".join(map(str, candidate.input_size)),
            "threads": candidate.threads,
            "validation_dice": candidate.accuracy,
            "lesion_free_with_findings": candidate.lesion_free,
            "network_alone_ms_p50": self.alone_ms,
            "live": self.live.as_json() if self.live else None,
            "rejected": self.rejected,
        }


def measure_budget(
    candidates: Sequence[Candidate],
    budget: Budget,
    seconds: float,
    on_row: Callable[[int], None] = lambda done: None,
) -> list[Row]:
    """Time each candidate's network alone, then play those that could do it live; the most
    accurate first.

    Args:
        seconds: for all live measurements together; each has two, however many there are.
    """
    ends = time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="qlumen-budget-") as folder:
        clip = Path(folder) / "clip.mp4"
        write_clip(clip, budget.size, budget.rate)

        def attempt(candidate: Candidate, left: int) -> Row:
            row = _alone(candidate, budget)
            if row.rejected:
                return row
            return _live(row, clip, budget, max(LEAST_SECONDS, (ends - time.monotonic()) / left))

        return in_turn(candidates, attempt, on_row)


def in_turn(
    candidates: Sequence[Candidate],
    attempt: Callable[[Candidate, int], Row],
    on_row: Callable[[int], None] = lambda done: None,
) -> list[Row]:
    """Rows of the candidates, the most accurate first. Once one keeps the budget, those that
    are less accurate by more than 0.001 could not be chosen, and are not attempted.

    Args:
        attempt: takes a candidate, and how many there still are with it.
    """
    ordered = sorted(candidates, key=lambda c: -c.assured)
    rows: list[Row] = []
    keeps: Candidate | None = None
    for number, candidate in enumerate(ordered):
        if keeps and candidate.assured < keeps.assured - ALIKE:
            doubt = f"; other sizes count {SIZE_DOUBT} less" if candidate.resized else ""
            reason = f"not tried: less accurate than {keeps}, which keeps the budget{doubt}"
            rows.append(Row(candidate, None, None, reason))
        else:
            rows.append(attempt(candidate, len(ordered) - number))
            if keeps is None and not rows[-1].rejected:
                keeps = candidate
        on_row(len(rows))
    return rows


def choose(rows: Sequence[Row]) -> Row | None:
    """Of those that keep the budget the most accurate, other sizes than the trained one counting
    0.01 less; of those within 0.001 of it, the one whose findings are youngest.

    Candidates of unknown accuracy come last. None: no one keeps the budget.
    """
    good = [row for row in rows if not row.rejected]
    if not good:
        return None
    best = max(row.candidate.assured for row in good)
    return min((row for row in good if row.candidate.assured >= best - ALIKE), key=_age)


def verdict(live: Live, budget: Budget) -> str:
    """Why a measured candidate does not keep the budget; empty if it does."""
    if live.network is None or live.age is None or live.raw is None:
        return "no frame came through the network"
    if live.judged < JUDGED:
        return f"{live.judged:.0%} of the frames judged, {JUDGED:.0%} wanted"
    if live.age.p95 > budget.max_age_ms:
        return f"findings are {live.age.p95:.0f} ms old at p95, {budget.max_age_ms:.0f} allowed"
    if live.raw.p95 > budget.period_ms:
        return f"pictures wait {live.raw.p95:.0f} ms at p95, {budget.period_ms:.0f} allowed"
    return ""


def settings_for(candidate: Candidate) -> Settings:
    """The settings that a candidate is measured with."""
    overrides = [f"engine.{key}={value}" for key, value in candidate.engine_settings().items()]
    folder = candidate.bundle.folder
    values = load_settings(None, [*overrides, *MEASURED_WITH])
    model = values.model.model_copy(update={"bundle": folder.resolve()})
    return values.model_copy(update={"model": model})


def _alone(candidate: Candidate, budget: Budget) -> Row:
    try:
        alone_ms = screen(candidate, settings_for(candidate))
    except QlumenError as error:
        return Row(candidate, None, None, f"does not run here: {error}")
    rejected = ""
    if alone_ms > budget.period_ms:
        rejected = f"the network alone takes {alone_ms:.0f} ms, {budget.period_ms:.0f} allowed"
    return Row(candidate, alone_ms, None, rejected)


def _live(row: Row, clip: Path, budget: Budget, seconds: float) -> Row:
    settings = settings_for(row.candidate)
    record = clip.with_name("recording.mp4") if budget.record else None
    try:
        live = run_live(clip, settings, seconds, record)
    except QlumenError as error:
        return Row(row.candidate, row.alone_ms, None, f"does not run here: {error}")
    finally:
        if record:
            record.unlink(missing_ok=True)
    return Row(row.candidate, row.alone_ms, live, verdict(live, budget))


def _age(row: Row) -> float:
    return row.live.age.p95 if row.live and row.live.age else float("inf")

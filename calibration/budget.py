"""Measures how this machine runs bundles, and chooses one that keeps a frame budget."""

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
"""Share by which the clip plays faster than requested. No frame may be late at that rate."""
JUDGED = 0.95
"""Share of the frames that must go through the network."""
MIN_SECONDS = 2.0
"""Shortest live measurement."""
DICE_TOLERANCE = 0.001
"""Largest difference of mean validation Dice that counts as equal."""
RATE_DENOMINATOR = 1000
MAX_AGE_MS = 2000.0
"""Largest value of `live.max_age_ms`. Measurements use it, so that they see all ages."""
MEASURED_WITH = ("source.loop=true", "source.threads=1", f"live.max_age_ms={MAX_AGE_MS}")


@dataclass(frozen=True, slots=True)
class Budget:
    """Describes the load: frames per second, width x height in pixels, recording, sources."""

    fps: float
    size: tuple[int, int]
    record: bool = False
    margin: float = MARGIN
    sources: int = 1

    @property
    def video(self) -> str:
        """Return size and number of the sources."""
        size = f"{self.size[0]}x{self.size[1]}"
        return size if self.sources == 1 else f"{self.sources} sources of {size}"

    @property
    def rate(self) -> Fraction:
        """Return the played frames per second, with the margin."""
        return Fraction(self.fps * (1 + self.margin)).limit_denominator(RATE_DENOMINATOR)

    @property
    def period_ms(self) -> float:
        return 1000 / float(self.rate)

    @property
    def max_age_ms(self) -> float:
        """Return the setting's default, or the time of two frames if that is more."""
        # Findings appear on the next frame at the earliest.
        return min(MAX_AGE_MS, max(LiveSettings().max_age_ms, 2 * 1000 / self.fps))


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """Holds a candidate and its measurements.

    Attributes:
        alone_ms: median time of the network without the rest of the video path
        live: figures of the live run; None if the candidate was rejected before
        rejected: reason why it does not keep the budget or was not tried; else empty
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
    """Time each network alone, then play the fast ones live; start with the most accurate.

    Args:
        seconds: time for all live measurements together; each takes at least two
    """
    ends = time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="qlumen-budget-") as folder:
        clip = Path(folder) / "clip.mp4"
        write_clip(clip, budget.size, budget.rate)

        def attempt(candidate: Candidate, left: int) -> Row:
            row = _measure_alone(candidate, budget)
            if row.rejected:
                return row
            seconds_left = max(MIN_SECONDS, (ends - time.monotonic()) / left)
            return _measure_live(row, clip, budget, seconds_left)

        return try_candidates(candidates, attempt, on_row)


def try_candidates(
    candidates: Sequence[Candidate],
    attempt: Callable[[Candidate, int], Row],
    on_row: Callable[[int], None] = lambda done: None,
) -> list[Row]:
    """Try the candidates, the most accurate first, and return their rows.

    After one keeps the budget, skip those that are less accurate by more than 0.001.

    Args:
        attempt: measures a candidate; also gets the number of candidates left, with this one
    """
    ordered = sorted(candidates, key=lambda c: -c.assured)
    rows: list[Row] = []
    keeps: Candidate | None = None
    for number, candidate in enumerate(ordered):
        if keeps and candidate.assured < keeps.assured - DICE_TOLERANCE:
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
    """Choose the most accurate row that keeps the budget; None if no row keeps it.

    Sizes other than the trained one count 0.01 less. Within 0.001 of the best, the youngest
    findings win. Candidates of unknown accuracy come last.
    """
    good = [row for row in rows if not row.rejected]
    if not good:
        return None
    best = max(row.candidate.assured for row in good)
    return min((row for row in good if row.candidate.assured >= best - DICE_TOLERANCE), key=_age)


def verdict(live: Live, budget: Budget) -> str:
    """Say why a measured candidate does not keep the budget; empty if it keeps it."""
    if live.network is None or live.age is None or live.raw is None:
        return "no frame came through the network"
    if live.judged < JUDGED:
        found = f"{live.judged:.0%} of the frames judged, {JUDGED:.0%} needed"
        if budget.sources == 1:
            return found
        rate, whole = live.judged * float(budget.rate), live.judged * budget.sources
        each = f"{rate:.1f}/s of each of {budget.sources} sources"
        return f"{found}; {each}, as much as all frames of {whole:.1f}"
    if live.age.p95 > budget.max_age_ms:
        return f"findings are {live.age.p95:.0f} ms old at p95, {budget.max_age_ms:.0f} allowed"
    if live.raw.p95 > budget.period_ms:
        return f"frames wait {live.raw.p95:.0f} ms at p95, {budget.period_ms:.0f} allowed"
    return ""


def _settings(candidate: Candidate) -> Settings:
    overrides = [f"engine.{key}={value}" for key, value in candidate.engine_settings().items()]
    folder = candidate.bundle.folder
    values = load_settings(None, [*overrides, *MEASURED_WITH])
    model = values.model.model_copy(update={"bundle": folder.resolve()})
    return values.model_copy(update={"model": model})


def _measure_alone(candidate: Candidate, budget: Budget) -> Row:
    try:
        alone_ms = screen(candidate, _settings(candidate))
    except QlumenError as error:
        return Row(candidate, None, None, f"does not run here: {error}")
    rejected = ""
    if alone_ms > budget.period_ms:
        rejected = f"the network alone takes {alone_ms:.0f} ms, {budget.period_ms:.0f} allowed"
    return Row(candidate, alone_ms, None, rejected)


def _measure_live(row: Row, clip: Path, budget: Budget, seconds: float) -> Row:
    record = clip.with_name("recording.mp4") if budget.record else None
    try:
        live = run_live(clip, _settings(row.candidate), seconds, record, budget.sources)
    except QlumenError as error:
        return Row(row.candidate, row.alone_ms, None, f"does not run here: {error}")
    finally:
        for written in clip.parent.glob("recording*"):
            written.unlink()
    return Row(row.candidate, row.alone_ms, live, verdict(live, budget))


def _age(row: Row) -> float:
    return row.live.age.p95 if row.live and row.live.age else float("inf")

"""Decides which finding is which lesion over time, and which lesions get an alarm."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import lap
import numpy as np
from numpy.typing import NDArray

from qlumen.errors import ConfigError
from qlumen.realtime.frames import Finding, Segmentation, Track
from qlumen.realtime.pixels.arrays import Box
from qlumen.realtime.tracking.findings import largest_first, move_finding, segment_findings
from qlumen.realtime.tracking.motion import Flow

HOLD_S = 0.24
RELEASE_S = 0.4
GAP_S = 0.0
REMEMBER_S = 5.0
MIN_OVERLAP = 0.1
MAX_DISTANCE = 1.0
STALL_S = 0.5
"""After a longer time without any update, a finding may be another lesion."""
TIME_SLACK_S = 1e-3
"""Some containers round times to milliseconds."""
FORBIDDEN = 1e6
"""Cost far above that of all pairs together, so that as many pairs as possible are made."""


class Tracker:
    """Follows lesions from frame to frame.

    Frames must come in order. Skipped ones do no harm, because all limits are times.
    """

    def __init__(
        self,
        *,
        hold_s: float = HOLD_S,
        release_s: float = RELEASE_S,
        gap_s: float = GAP_S,
        remember_s: float = REMEMBER_S,
        min_overlap: float = MIN_OVERLAP,
        max_distance: float = MAX_DISTANCE,
        numbers: Iterator[int] | None = None,
    ) -> None:
        """Set the limits.

        Args:
            hold_s: time that a track must hold before its alarm begins, in seconds.
            release_s: time that a track with alarm is returned without a finding, in seconds.
                Its last finding is moved along. At the first frame without one that comes later,
                or when the finding leaves the frame, the track is no longer returned.
            gap_s: the same time for a track without alarm, which then ends.
            remember_s: time without a finding after which a track with alarm ends. Until then a
                finding at its place, or where it left the frame, is the same lesion again.
            min_overlap: least IoU of boxes for a finding to match a track, above 0.
            max_distance: where boxes overlap less: largest distance of their centres for a
                match, as a share of the mean of their diagonals.
            numbers: track numbers, to share with a tracker that follows this one; None counts
                from 1.

        Raises:
            ConfigError: a limit is negative, or the overlap is out of bounds.
        """
        if min(hold_s, release_s, gap_s, remember_s, max_distance) < 0 or not 0 < min_overlap <= 1:
            raise ConfigError(
                f"tracks with hold_s {hold_s}, release_s {release_s}, gap_s {gap_s}, "
                f"remember_s {remember_s}, max_distance {max_distance}, min_overlap {min_overlap}: "
                "use 0 or more for each, and min_overlap above 0, up to 1"
            )
        self._hold_s, self._release_s, self._gap_s = hold_s, release_s, gap_s
        self._remember_s = max(remember_s, release_s)
        self._min_overlap, self._max_distance = min_overlap, max_distance
        self._known: list[_Known] = []
        self._numbers = count(1) if numbers is None else numbers
        self._last_s, self._last_size = 0.0, (0, 0)

    def take_over(self, earlier: "Tracker") -> None:
        """Continue with the tracks of another tracker, which is no longer used."""
        self._known, self._numbers = earlier._known, earlier._numbers
        self._last_s, self._last_size = earlier._last_s, earlier._last_size

    def update(
        self,
        findings: Sequence[Finding],
        time_s: float,
        flow: Flow | None,
        frame_size: tuple[int, int],
    ) -> tuple[Track, ...]:
        """Take the findings of the next judged frame. Return the tracks as of now, by number.

        Args:
            findings: findings in any order.
            time_s: time of the frame. If it is before the last one, or more than `STALL_S`
                after it, all tracks end.
            flow: motion from the frame of the call before to this one; None if not known:
                findings are then looked for where they were.
            frame_size: width and height in pixels. When they change, all tracks end.
        """
        if not 0 <= time_s - self._last_s <= STALL_S or frame_size != self._last_size:
            self._known = []
        self._last_s, self._last_size = time_s, frame_size
        if flow is not None:
            self._move(flow, frame_size)
        self._match(sorted(findings, key=largest_first), time_s)
        self._known = [one for one in self._known if self._lasts(one, time_s)]
        return tuple(self._track(one, time_s) for one in self._known if self._shows(one, time_s))

    def reset(self) -> None:
        """End all tracks. Their numbers are not used again."""
        self._known = []

    def _lasts(self, one: "_Known", time_s: float) -> bool:
        limit = self._remember_s if one.alarm else self._gap_s
        return time_s - one.seen_s <= limit + TIME_SLACK_S

    def _shows(self, one: "_Known", time_s: float) -> bool:
        released = one.alarm and time_s - one.seen_s > self._release_s + TIME_SLACK_S
        return not (one.left or released)

    def _move(self, flow: Flow, frame_size: tuple[int, int]) -> None:
        for one in self._known:
            finding = None if one.left else move_finding(one.finding, flow, frame_size)
            one.left = finding is None
            one.finding = finding or one.finding
        self._known = [one for one in self._known if one.alarm or not one.left]

    def _match(self, findings: Sequence[Finding], time_s: float) -> None:
        boxes = [one.finding.box for one in self._known]
        pairs = assign(pair_costs(
            boxes, [one.box for one in findings], self._min_overlap, self._max_distance
        ))  # fmt: skip
        for row, column in pairs.items():
            known = self._known[row]
            known.finding, known.seen_s, known.left = findings[column], time_s, False
        for column in sorted(set(range(len(findings))) - set(pairs.values())):
            self._known.append(_Known(next(self._numbers), findings[column], time_s, time_s))

    def _track(self, one: "_Known", time_s: float) -> Track:
        held = time_s - one.since_s >= self._hold_s - TIME_SLACK_S
        new = held and one.seen_s == time_s and not one.alarm
        one.alarm = one.alarm or new
        return Track(one.number, one.finding, one.since_s, one.alarm, new, one.seen_s == time_s)


def select_alarms(
    tracks: Sequence[Track], frame_size: tuple[int, int], probability: NDArray[np.float32]
) -> Segmentation:
    """Select the findings to draw: those of the tracks with alarm, largest first."""
    findings = (one.finding for one in tracks if one.alarm)
    return segment_findings(findings, frame_size, probability)


def pair_costs(
    before: Sequence[Box], now: Sequence[Box], min_overlap: float, max_distance: float
) -> NDArray[np.float64]:
    """Return the cost of taking each box of `now` for each of `before`: `(len, len)`.

    Where boxes overlap by `min_overlap`: 1 - IoU. Else, up to `max_distance`: 1 and the
    distance of the centres over the mean diagonal. Else `FORBIDDEN`.
    """
    a = np.array(before, np.float64).reshape(-1, 1, 4)
    b = np.array(now, np.float64).reshape(1, -1, 4)
    shared = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    overlap = np.prod(np.maximum(shared, 0), axis=-1)
    sides_a, sides_b = a[..., 2:] - a[..., :2], b[..., 2:] - b[..., :2]
    iou = overlap / (sides_a.prod(axis=-1) + sides_b.prod(axis=-1) - overlap)
    apart = np.linalg.norm(a[..., 2:] + a[..., :2] - b[..., 2:] - b[..., :2], axis=-1) / 2
    diagonal = (np.linalg.norm(sides_a, axis=-1) + np.linalg.norm(sides_b, axis=-1)) / 2
    distance = apart / diagonal
    near = np.where(distance <= max_distance, 1 + distance, FORBIDDEN)
    return np.where(iou >= min_overlap, 1 - iou, near)


def assign(costs: NDArray[np.float64]) -> dict[int, int]:
    """Choose the most pairs that are not forbidden, and of these the cheapest: row to column."""
    if not costs.size:
        return {}
    _, rows, columns = lap.lapjvx(costs, extend_cost=True)
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return {row: column for row, column in pairs if costs[row, column] < FORBIDDEN}


@dataclass(slots=True)
class _Known:
    """Holds a track between two updates.

    Attributes:
        seen_s: time of the last frame with a finding.
        left: True if its finding has left the frame.
    """

    number: int
    finding: Finding
    since_s: float
    seen_s: float
    alarm: bool = False
    left: bool = False

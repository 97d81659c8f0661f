"""Turns live frames into messages for other systems: lesions that appear and end, and the state."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from qlumen.realtime.frames import AiState, FrameResult, LiveState, Track

SCORE_DIGITS = 4


class LesionEvents:
    """Compares each frame with the one before. Frames may be left out in between."""

    def __init__(self) -> None:
        self._shown: dict[int, Track] = {}
        self._state: Mapping[str, Any] = {}

    def changes(self, result: FrameResult) -> list[dict[str, Any]]:
        """Return an event for each lesion with an alarm that is new or has ended.

        An event has `type` (`new`, `end`), `lesion`, `frame`, `at` (wall clock, UTC), `box` in
        pixels, `score`, `size` (width and height of the frame), and `label` if there is one. While
        the AI is late or off, nothing is new and nothing ends.
        """
        live = result.live
        if live is None or live.ai is not AiState.ON:
            return []
        now = {one.number: one for one in live.tracks if one.alarm}
        before, self._shown = self._shown, now
        new = [self._event("new", one, result) for n, one in now.items() if n not in before]
        ended = [self._event("end", one, result) for n, one in before.items() if n not in now]
        return ended + new

    def state(self, result: FrameResult) -> dict[str, Any] | None:
        """Return the state if it has changed: `ai`, `condition`, `signal`, `lesions`; else None."""
        if result.live is None:
            return None
        state = _describe(result.live)
        if state == self._state:
            return None
        self._state = state
        return state

    def _event(self, kind: str, track: Track, result: FrameResult) -> dict[str, Any]:
        finding = track.finding
        event = {
            "type": kind,
            "lesion": track.number,
            "frame": result.frame.index,
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "box": list(finding.box),
            "score": round(finding.score, SCORE_DIGITS),
            "size": list(result.frame.size),
        }
        if finding.label:
            event["label"] = finding.label
        return event


def _describe(live: LiveState) -> dict[str, Any]:
    return {
        "ai": live.ai.value,
        "condition": live.condition.value,
        "signal": live.signal,
        "lesions": sorted(one.number for one in live.tracks if one.alarm),
    }

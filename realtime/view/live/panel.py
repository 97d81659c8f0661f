"""What the page shows of the session that runs, and what its controls do to it."""

import threading
from typing import Any

from qlumen.realtime.actions import Action
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.frames import FrameResult, LiveState
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.live.control import THRESHOLD_BOUNDS
from qlumen.realtime.live.session import LiveSession
from qlumen.realtime.live.stage import SinkRunner
from qlumen.realtime.overlay.findings import FILL_ALPHA
from qlumen.realtime.sinks.events import Note
from qlumen.realtime.view.live.feed import Feed, WebSink
from qlumen.realtime.view.live.figures import Figures
from qlumen.realtime.view.live.gallery import Gallery
from qlumen.realtime.view.live.messages import Act, Hold, Request, Step, Threshold, Toggle
from qlumen.system.threads import MODEL_NICENESS


class LivePanel:
    """Shared by all viewers; threads may share it.

    Args:
        settings: those of `view`, and the overlay's fill.

    Attributes:
        feed: where the pictures for browsers are taken from.
        figures, gallery: receive every frame of the session.
        session: the one that runs; None while there is none.
        message: why there is no picture, for people; empty while there is one.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = chosen = settings.view
        self.feed = Feed(viewers=chosen.viewers, in_flight=chosen.frames_in_flight)
        self.figures, self.gallery = Figures(), Gallery()
        self.message = "No source is running."
        self._fill_alpha = settings.overlay.fill_alpha or FILL_ALPHA
        self.session: LiveSession | None = None
        self._one_at_a_time = threading.Lock()

    def open_runner(self, latency: LatencyRecorder, note: Note) -> SinkRunner:
        """Open the sink of a session that is shown here; one of `LiveSession`'s `runners`."""
        sink = WebSink(
            self.feed,
            width_px=self._settings.width_px,
            jpeg_quality=self._settings.jpeg_quality,
            also=(self.figures, self.gallery),
        )
        # One frame may wait to be encoded; the next takes its place.
        return SinkRunner("view", lambda: sink, latency, note, frames=1, niceness=MODEL_NICENESS)

    def show(self, session: LiveSession) -> None:
        """A session begins."""
        self.figures.begin()
        self.gallery.begin()
        self.session, self.message = session, ""

    def clear(self, message: str) -> None:
        """It is over."""
        self.session, self.message = None, message

    def do(self, request: Request) -> None:
        """Do what a control asks; nothing while no session runs."""
        session = self.session
        if session is None:
            return
        with self._one_at_a_time:
            self._do(session, request)

    def state(self) -> dict[str, Any]:
        """All that the page shows beside the picture, as JSON."""
        idle: dict[str, Any] = {
            "message": self.message,
            "viewers": self.feed.viewers,
            "threshold_bounds": THRESHOLD_BOUNDS,
            "running": False,
        }
        session = self.session
        return idle if session is None else idle | self._running(session)

    def _do(self, session: LiveSession, request: Request) -> None:
        control = session.control
        match request:
            case Toggle(what="overlay"):
                control.toggle_overlay()
            case Toggle(what="fill"):
                filled = control.settings().overlay.fill_alpha > 0
                self._change(session, "overlay", fill_alpha=0.0 if filled else self._fill_alpha)
            case Toggle(what="recording"):
                session.toggle_recording()
            case Step(up=up):
                control.step_threshold(1 if up else -1)
            case Threshold(value=value):
                control.set_threshold(value)
            case Hold(seconds=seconds):
                self._change(session, "temporal", hold_s=seconds)
            case Act(do=name):
                session.act(Action(name))

    def _change(self, session: LiveSession, section: str, **values: object) -> None:
        settings = session.control.settings()
        changed = getattr(settings, section).model_copy(update=values)
        session.control.reload(lambda: settings.model_copy(update={section: changed}))

    def _running(self, session: LiveSession) -> dict[str, Any]:
        settings, status = session.control.settings(), session.status()
        last = self.figures.last
        return {
            "running": True,
            "source": status.source,
            "overlay": session.control.overlay_visible,
            "fill": settings.overlay.fill_alpha > 0,
            "threshold": session.control.threshold(),
            "hold_s": settings.temporal.hold_s,
            "recording": status.recording,
            "can_record": status.can_record,
            "can_snapshot": status.can_snapshot,
            "rate": round(self.figures.rate(), 1),
            "drops": status.lost,
            "seconds": [[second.number, second.age_ms] for second in self.figures.seconds()],
            "tracks": self._tracks(last.live if last else None),
            **(_describe(last, last.live) if last and last.live else {}),
        }

    def _tracks(self, live: LiveState | None) -> list[dict[str, Any]]:
        now = {track.number for track in live.tracks if track.alarm} if live else set()
        return [
            {
                "number": shown.number,
                "since_s": round(shown.since_s, 1),
                "last_s": round(shown.last_s, 1),
                "score": round(shown.score, 2),
                "picture": shown.picture,
                "now": shown.number in now,
            }
            for shown in self.gallery.tracks()
        ]


def _describe(last: FrameResult, live: LiveState) -> dict[str, Any]:
    age_ms = live.annotation_age_ms
    return {
        "size": list(last.frame.size),
        "frame": last.frame.index,
        "ai": live.ai.value,
        "age_ms": None if age_ms is None else round(age_ms, 1),
        "condition": live.condition.value,
        "signal": live.signal,
    }

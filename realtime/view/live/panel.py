"""Shows the running session on the page, and applies the controls to it."""

import threading
from collections.abc import Callable
from typing import Any

from qlumen.realtime.actions import Action
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.frames import Condition, FrameResult, LiveState
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.live.session import LiveSession
from qlumen.realtime.live.stage import SinkRunner
from qlumen.realtime.overlay.findings import FILL_ALPHA
from qlumen.realtime.sinks.events import Note
from qlumen.realtime.view.live.feed import Feed, WebSink
from qlumen.realtime.view.live.figures import Figures
from qlumen.realtime.view.live.gallery import Gallery
from qlumen.realtime.view.live.messages import Act, Hold, Request, Sensitivity, Step, Toggle
from qlumen.realtime.view.live.rest import LesionNews
from qlumen.system.threads import MODEL_NICENESS


class LivePanel:
    """Holds what all viewers share. Threads may share it.

    Args:
        settings: settings of `view` and of the overlay's fill.

    Attributes:
        feed: source of the images for browsers.
        figures, gallery, news: receivers of every frame of the session.
        session: running session; None without one.
        message: reason why there is no video; empty while there is video.
        judged: rate of judged frames, /s, where sources share the network; None elsewhere.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = chosen = settings.view
        self.feed = Feed(viewers=chosen.viewers, in_flight=chosen.frames_in_flight)
        self.figures, self.gallery = Figures(), Gallery()
        self.news = LesionNews(clients=chosen.viewers)
        self.message = "No source is running."
        self._fill_alpha = settings.overlay.fill_alpha or FILL_ALPHA
        self.session: LiveSession | None = None
        self.judged: Callable[[], float] | None = None
        self._one_at_a_time = threading.Lock()

    def open_runner(self, latency: LatencyRecorder, note: Note) -> SinkRunner:
        """Open the sink of a session that is shown here; one of `LiveSession`'s `runners`."""
        sink = WebSink(
            self.feed,
            width_px=self._settings.width_px,
            jpeg_quality=self._settings.jpeg_quality,
            also=(self.figures, self.gallery, self.news),
        )
        # One frame may wait to be encoded; the next takes its place.
        return SinkRunner("view", lambda: sink, latency, note, frames=1, niceness=MODEL_NICENESS)

    def show(self, session: LiveSession) -> None:
        """Begin to show a session."""
        self.figures.begin()
        self.news.begin()
        self.gallery.begin(float(session.pixel_aspect))
        self.session, self.message = session, ""

    def clear(self, message: str) -> None:
        """Show a message because the session is over."""
        self.session, self.message = None, message

    def do(self, request: Request) -> None:
        """Do what a control asks; nothing while no session runs."""
        session = self.session
        if session is None:
            return
        with self._one_at_a_time:
            self._do(session, request)

    def state(self) -> dict[str, Any]:
        """Return all that the page shows beside the video, as JSON."""
        idle: dict[str, Any] = {
            "message": self.message,
            "viewers": self.feed.viewers,
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
                control.step_sensitivity(1 if up else -1)
            case Sensitivity(position=position):
                control.set_sensitivity(position)
            case Hold(seconds=seconds):
                self._change(session, "temporal", hold_s=seconds)
            case Act(do=name):
                session.act(Action(name))

    def _change(self, session: LiveSession, section: str, **values: object) -> None:
        def read() -> Settings:
            settings = session.control.settings()
            changed = getattr(settings, section).model_copy(update=values)
            return settings.model_copy(update={section: changed})

        session.control.reload(read)

    def _running(self, session: LiveSession) -> dict[str, Any]:
        settings, status = session.control.settings(), session.status()
        last = self.figures.last
        return {
            "running": True,
            "source": status.source,
            "pixel_aspect": float(session.pixel_aspect),
            "overlay": session.control.overlay_visible,
            "fill": settings.overlay.fill_alpha > 0,
            "sensitivity": settings.postprocess.sensitivity,
            "alarms": session.control.describe_alarms(),
            "hold_s": settings.temporal.hold_s,
            "max_age_ms": settings.live.max_age_ms,
            "recording": status.recording,
            "can_record": status.can_record,
            "can_snapshot": status.can_snapshot,
            "rate": round(self.figures.rate(), 1),
            **({"judged": round(self.judged(), 1)} if self.judged else {}),
            "drops": status.lost,
            "seconds": [[second.number, second.age_ms] for second in self.figures.seconds()],
            "tracks": self._tracks(last.live if last else None),
            **(_describe(last, last.live) if last and last.live else {}),
        }

    def _tracks(self, live: LiveState | None) -> list[dict[str, Any]]:
        now = {track.number for track in live.tracks if track.alarm} if live else set()
        return [
            {
                "number": one.number,
                "since_s": round(one.since_s, 1),
                "last_s": round(one.last_s, 1),
                "score": round(one.score, 2),
                "picture": one.version,
                "now": one.number in now,
            }
            for one in self.gallery.thumbnails()
        ]


def _describe(last: FrameResult, live: LiveState) -> dict[str, Any]:
    age_ms = live.annotation_age_ms
    return {
        "size": list(last.frame.size),
        "frame": last.frame.index,
        "ai": live.ai.value,
        "age_ms": None if age_ms is None else round(age_ms, 1),
        "condition": "" if live.condition is Condition.CLEAR else live.condition.label,
        "signal": live.signal,
    }

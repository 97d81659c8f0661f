"""Serves `--metrics`: the figures of a live session for Prometheus, and its health.

    /metrics   counters, gauges and histograms
    /health    200 while frames go out, 503 when they stand still
    /ready     200 while video, AI and all outputs work, else 503 and what does not

No answer identifies the examination. See `docs/performance.md`.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from qlumen.errors import SinkError
from qlumen.realtime.latency import NS_PER_S, DurationHistogram, LatencyRecorder, bin_values_us
from qlumen.realtime.live.counters import ANNOTATION_AGE, MODEL_BUSY, MONITOR_DELAY, RAW_DELAY
from qlumen.realtime.live.rooms import RoomRunner
from qlumen.realtime.live.status import LiveStatus
from qlumen.realtime.live.watchdog import ModelState
from qlumen.realtime.sources.choose import PATTERN, SCENE
from qlumen.realtime.sources.pages import STACK_SUFFIXES
from qlumen.system.closing import Closing
from qlumen.system.threads import start

BUCKETS_MS = (
    0.1, 0.25, 0.5, 1, 2.5, 5.75, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 120, 160, 250, 500,
    1000, 2500,
)  # fmt: skip
"""Includes the limits in `docs/safety.md`: 5.75 ms of raw delay and 120 ms of age."""
DURATIONS = {
    RAW_DELAY: "Time from grabbed to handed out.",
    ANNOTATION_AGE: "Age of shown findings.",
    MONITOR_DELAY: "Time from grabbed to shown in the window.",
}


class SessionMetrics(Collector):
    """Reads the status of a session at each request. It counts nothing itself."""

    def __init__(self, status: Callable[[], LiveStatus], latency: LatencyRecorder) -> None:
        self._status, self._latency = status, latency

    def collect(self) -> Iterator[Metric]:
        status = self._status()
        yield from _frames(status)
        yield from _count_losses(status)
        yield from _sinks(status)
        yield from _model(status)
        yield from _source(status)
        yield from self._durations()

    def _durations(self) -> Iterator[Metric]:
        stages = self._latency.stages()
        for name, text in DURATIONS.items():
            family = HistogramMetricFamily(f"qlumen_{name}_seconds", text)
            known = stages.pop(name, None)
            _add(family, [], known or DurationHistogram())
            yield family
        text = "Time of a frame in the stage."
        family = HistogramMetricFamily("qlumen_stage_seconds", text, labels=["stage"])
        for stage, kept in stages.items():
            _add(family, [stage], kept)
        yield family


class RoomMetrics(Collector):
    """Reads the sessions of all rooms; the label `source` has the name of the room."""

    def __init__(self, rooms: Sequence[RoomRunner]) -> None:
        self._rooms = rooms

    def collect(self) -> Iterator[Metric]:
        merged: dict[str, Metric] = {}
        for name, session in [(room.name, room.session) for room in self._rooms]:
            if session is None:
                continue
            for metric in SessionMetrics(session.status, session.latency).collect():
                own, metric.samples = metric.samples, []
                merged.setdefault(metric.name, metric).samples += [
                    sample._replace(labels={"source": name, **sample.labels}) for sample in own
                ]
        yield from merged.values()


def _frames(status: LiveStatus) -> Iterator[Metric]:
    yield _counter("frames_arrived", "Frames from the source.", status.arrived)
    by_state = {state.value: count for state, count in status.states.items()}
    yield _counters("frames_shown", "Frames handed to every output.", "ai", by_state)
    yield _counter(
        "frames_fresh", "Frames with findings of their own or of the frame before.", status.fresh
    )
    yield _counter("frames_held", "Frames shown again while there was no signal.", status.no_signal)


def _count_losses(status: LiveStatus) -> Iterator[Metric]:
    drops = dict.fromkeys(_source_causes(status.source), 0) | dict(status.drops)
    skipped = drops.pop(MODEL_BUSY)
    yield _counters("frames_dropped", "Frames not shown or not written, by cause.", "cause", drops)
    yield _counter("engine_frames_skipped", "Frames not seen by the AI, busy or off.", skipped)
    yield _counter("frames_damaged", "Frames delivered with missing data.", status.damaged)
    yield _counter("frames_late", "Frames that a played source made too late.", status.late_source)


def _sinks(status: LiveStatus) -> Iterator[Metric]:
    yield _counters("frames_written", "Frames written, by output.", "output", status.written)
    yield _gauges("output_attached", "1 while the output works.", "output", status.attached)
    sizes = {name: _size(path) for name, path in status.recordings.items()}
    yield _gauges("recorder_bytes", "Size of the recording on disk.", "output", sizes)


def _model(status: LiveStatus) -> Iterator[Metric]:
    yield _counter("engine_restarts", "Restarts of the AI.", status.ai_restarts)
    yield _counter(
        "engine_deadline_misses", "Frames that took the AI too long.", status.missed_deadlines
    )
    states = {state.value: state is status.ai for state in ModelState}
    yield _gauges("engine_state", "1 for the state that the AI is in.", "state", states)
    about = {key: str(value) for key, value in status.engine.items()}
    yield InfoMetricFamily("qlumen_engine", "Engine that runs the network.", about)


def _source(status: LiveStatus) -> Iterator[Metric]:
    yield _counter("source_silences", "Times that NO SIGNAL appeared.", status.silences)
    yield _counter("source_losses", "Losses of the connection.", status.losses)
    yield _counter("source_reopen_failures", "Failed reconnections.", status.failed_reopens)
    yield _counter("source_reconnects", "Successful reconnections.", status.reconnects)
    signal = GaugeMetricFamily("qlumen_source_signal", "1 while the source delivers.")
    signal.add_metric([], float(status.signal))
    yield signal


def _source_causes(location: str) -> tuple[str, ...]:
    """Return the causes by which a source can lose frames; scene and pattern lose no frame."""
    if location in (SCENE, PATTERN):
        return ()
    path = Path(location)
    if path.is_dir() or path.suffix.lower() in STACK_SUFFIXES:
        return ("unreadable_image",)
    return ("decode_error",) if path.is_file() else ("decode_error", "decode_late", "out_of_order")


def _add(family: HistogramMetricFamily, labels: list[str], kept: DurationHistogram) -> None:
    cumulative = kept.cumulative([1000 * limit for limit in BUCKETS_MS])
    total = max(kept.count, cumulative[-1])
    buckets = [(str(ms / 1000), count) for ms, count in zip(BUCKETS_MS, cumulative, strict=True)]
    family.add_metric(labels, [*buckets, ("+Inf", total)], kept.total_ns / NS_PER_S)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"qlumen_{name}", text, value=value)


def _counters(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    return _fill(CounterMetricFamily(f"qlumen_{name}", text, labels=[label]), values)


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    return _fill(GaugeMetricFamily(f"qlumen_{name}", text, labels=[label]), values)


def _fill(family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[str, float]) -> Metric:
    for label, value in values.items():
        family.add_metric([label], value)
    return family


def _size(path: Path) -> float:
    try:
        return path.stat().st_size
    except OSError:
        return 0.0


REQUEST_SECONDS = 5.0


class MetricsServer(Closing):
    """Answers requests from threads of its own.

    Their priority is not lower than that of others. A thread that waits for the processor while
    it holds Python's lock would delay the video.

    Raises:
        SinkError: the server cannot listen on the port.
    """

    def __init__(self, host: str, port: int) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._status: Callable[[], LiveStatus] | None = None
        self._rooms: Sequence[RoomRunner] = ()
        try:
            self._server = ThreadingHTTPServer((host, port), _handler(self))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise SinkError(
                f"--metrics cannot listen on {host}:{port}: {reason}; choose another port"
            ) from None
        bin_values_us()  # computed once, so that no request pays for it
        self._thread = start("metrics", self._server.serve_forever)

    def watch(self, status: Callable[[], LiveStatus], latency: LatencyRecorder) -> None:
        """Report this session from now on. Each request calls `status`."""
        self._registry.register(SessionMetrics(status, latency))
        self._status = status

    def watch_rooms(self, rooms: Sequence[RoomRunner]) -> None:
        """Report the sessions of these rooms from now on, each with the label `source`."""
        self._registry.register(RoomMetrics(rooms))
        self._rooms = rooms

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path: str, accept: str) -> tuple[int, str, bytes]:
        """Return status, content type and body for a request of `path`."""
        if path == "/metrics":
            encode, content_type = choose_encoder(accept)
            return 200, content_type, encode(self._registry)
        if path not in ("/health", "/ready"):
            return 404, "text/plain", b"unknown path; use /metrics, /health or /ready\n"
        if self._rooms:
            wrong = _faults(self._rooms, path)
        elif self._status is None:
            wrong = ["the session starts"] if path == "/ready" else []
        else:
            status = self._status()
            wrong = status.health() if path == "/health" else status.readiness()
        body = json.dumps({"ok": not wrong, "wrong": wrong}).encode() + b"\n"
        return 503 if wrong else 200, "application/json", body


def _faults(rooms: Sequence[RoomRunner], path: str) -> list[str]:
    """Return the faults of all rooms; `/health` has none before all videos stand still."""
    sessions = {room.name: room.session for room in rooms}
    if path == "/health":
        found = {name: each.status().health() for name, each in sessions.items() if each}
        found = found if all(found.values()) else {}
    else:
        absent = ["no source"]
        found = {name: s.status().readiness() if s else absent for name, s in sessions.items()}
    return [f"{name}: {fault}" for name, faults in found.items() for fault in faults]


def _handler(server: MetricsServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_SECONDS
        server_version = "qlumen"
        sys_version = ""

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            status, content_type, body = server.answer(path, self.headers.get("Accept", ""))
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing, because the terminal is for the session's events."""

    return Handler

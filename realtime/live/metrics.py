"""`--metrics`: what a live session does, for Prometheus, and whether it is well.

    /metrics   counters, gauges and histograms
    /health    200 while pictures go out, 503 when they have stood still
    /ready     200 while picture, AI and all outputs work, else 503 and what does not

Nothing of it says whose examination it is. See `docs/performance.md`.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
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

from qlumen.realtime.closing import Closing
from qlumen.realtime.errors import SinkError
from qlumen.realtime.latency import DurationHistogram, LatencyRecorder, bin_values_us
from qlumen.realtime.live.outputs import LiveOutputs, Outlets
from qlumen.realtime.live.pipeline import LivePipeline
from qlumen.realtime.live.tally import ANNOTATION_AGE, RAW_DELAY
from qlumen.realtime.live.watchdog import ModelState, Watchdog
from qlumen.realtime.sources.live import LiveSource

BUCKETS_MS = (
    0.1, 0.25, 0.5, 1, 2.5, 5.75, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 120, 160, 250, 500,
    1000, 2500,
)  # fmt: skip
"""With the limits that `docs/safety.md` names: 5.75 ms of raw delay, 120 ms of age."""
STILL_SECONDS = 5.0
"""Without a picture handed out for so long, the session is not well."""
REQUEST_SECONDS = 5.0
NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Meters:
    """The parts of a running session that count."""

    source: LiveSource
    pipeline: LivePipeline
    latency: LatencyRecorder
    outlets: Outlets
    watchdog: Watchdog
    files: Mapping[str, Path]

    def health(self) -> list[str]:
        """What is wrong with the video itself, if anything."""
        since_s = (time.monotonic_ns() - self.pipeline.tally.last_ns) / NS_PER_S
        return [f"no picture for {since_s:.1f} s"] if since_s > STILL_SECONDS else []

    def readiness(self) -> list[str]:
        """What of that which was asked for does not work, if anything."""
        found = self.health()
        if not self.pipeline.tally.signal:
            found.append("no signal from the source")
        if not self.watchdog.running:
            found.append(f"the AI is {self.watchdog.state.value}")
        lost = (each.name for each in self.outlets.everything() if not each.attached)
        return [*found, *(f"{name} is detached" for name in lost)]

    def recordings(self) -> dict[str, Path]:
        """What is being written now, by output: a recording begun on request comes and goes."""
        requested = self.outlets.recorder.path if self.outlets.recorder else None
        return dict(self.files) | ({"recorder_on_request": requested} if requested else {})


def recorded_files(outputs: LiveOutputs) -> dict[str, Path]:
    """Recordings by the name of their output."""
    named = {"recorder": outputs.record, "clean_recorder": outputs.record_clean}
    return {name: path for name, path in named.items() if path}


class MetricsServer(Closing):
    """Answers from threads of its own. They are of no lower priority than the others: one that
    the system passes over while it holds Python's lock would hold up the video.

    Raises:
        SinkError: the port cannot be listened on.
    """

    def __init__(self, host: str, port: int) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._meters: Meters | None = None
        try:
            self._server = _Server((host, port), _handler(self))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise SinkError(
                f"--metrics cannot listen on {host}:{port}: {reason}; choose another port"
            ) from None
        bin_values_us()  # computed once; so that no request pays for it
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, name="metrics", daemon=True)
        self._thread.start()

    def watch(self, meters: Meters) -> None:
        """Report of this session from now on."""
        self._registry.register(SessionCollector(meters))
        self._meters = meters

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, path: str, accept: str) -> tuple[int, str, bytes]:
        """Status, content type and body for a request of `path`."""
        if path == "/metrics":
            encode, content_type = choose_encoder(accept)
            return 200, content_type, encode(self._registry)
        if path not in ("/health", "/ready"):
            return 404, "text/plain", b"there are /metrics, /health and /ready\n"
        wrong = self._wrong(path)
        body = json.dumps({"ok": not wrong, "wrong": wrong}).encode() + b"\n"
        return 503 if wrong else 200, "application/json", body

    def _wrong(self, path: str) -> list[str]:
        if self._meters is None:
            return ["the session starts"] if path == "/ready" else []
        return self._meters.health() if path == "/health" else self._meters.readiness()


class SessionCollector(Collector):
    """Reads the session's own counters when it is asked; nothing is counted twice."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters

    def describe(self) -> Iterable[Metric]:
        """Nothing: the registry need not ask beforehand."""
        return []

    def collect(self) -> Iterator[Metric]:
        yield from self._frames()
        yield from self._outputs()
        yield from self._engine()
        yield from self._source()
        yield from self._durations()

    def _frames(self) -> Iterator[Metric]:
        tally, source = self._meters.pipeline.tally, self._meters.source
        yield _counter("frames_arrived", "From the source.", self._meters.pipeline.arrived)
        by_state = {state.value: count for state, count in tally.states.copy().items()}
        yield _counters("frames_shown", "Handed to every output.", "ai", by_state)
        yield _counter(
            "frames_fresh", "Shown with findings of their own or the frame before.", tally.fresh
        )
        yield _counter("frames_held", "Pictures shown while there was no signal.", tally.no_signal)
        drops = Counter(source.drops.copy()) + tally.drops.copy()
        for outlet in self._meters.outlets.everything():
            drops.update(outlet.drops.copy())
        yield _counters("frames_dropped", "By what lost them.", "cause", drops)
        yield _counter("frames_damaged", "Delivered with missing data.", source.damaged)
        yield _counter("frames_late", "A played source made them too late.", source.late)

    def _outputs(self) -> Iterator[Metric]:
        outlets = self._meters.outlets.everything()
        written = {outlet.name: outlet.written for outlet in outlets}
        yield _counters("frames_written", "By output.", "output", written)
        attached = {outlet.name: float(outlet.attached) for outlet in outlets}
        yield _gauges("output_attached", "1 while the output works.", "output", attached)
        sizes = {name: _size(path) for name, path in self._meters.recordings().items()}
        yield _gauges("recorder_bytes", "Of the recording on disk.", "output", sizes)

    def _engine(self) -> Iterator[Metric]:
        watchdog = self._meters.watchdog
        yield _counter("engine_restarts", "Of the AI.", watchdog.restarts)
        yield _counter(
            "engine_deadline_misses", "Frames that took the AI too long.", watchdog.missed_deadlines
        )
        states = {state.value: float(state is watchdog.state) for state in ModelState}
        yield _gauges("engine_state", "1 for the state that the AI is in.", "state", states)
        about = {key: str(value) for key, value in watchdog.engine.items()}
        yield InfoMetricFamily("qlumen_engine", "What runs the network.", about)

    def _source(self) -> Iterator[Metric]:
        tally = self._meters.pipeline.tally
        yield _counter("source_losses", "Of the signal.", tally.losses)
        yield _counter("source_reopen_failures", "Attempts to get it back.", tally.failed_reopens)
        signal = GaugeMetricFamily("qlumen_source_signal", "1 while the source delivers.")
        signal.add_metric([], float(tally.signal))
        yield signal

    def _durations(self) -> Iterator[Metric]:
        stages = self._meters.latency.stages()
        named = {RAW_DELAY: "From grabbed to handed out.", ANNOTATION_AGE: "Of shown findings."}
        for stage, text in named.items():
            kept = stages.pop(stage, None)
            family = HistogramMetricFamily(f"qlumen_{stage}_seconds", text)
            _add(family, [], kept or DurationHistogram())
            yield family
        family = HistogramMetricFamily("qlumen_stage_seconds", "Work.", labels=["stage"])
        for stage, kept in stages.items():
            _add(family, [stage], kept)
        yield family


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False


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
            """The terminal is for the session's events."""

    return Handler


def _add(family: HistogramMetricFamily, labels: list[str], kept: DurationHistogram) -> None:
    cumulative = kept.cumulative([1000 * limit for limit in BUCKETS_MS])
    total = max(kept.count, cumulative[-1])
    buckets = [(str(ms / 1000), count) for ms, count in zip(BUCKETS_MS, cumulative, strict=True)]
    family.add_metric(labels, [*buckets, ("+Inf", total)], kept.total_ns / NS_PER_S)


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(f"qlumen_{name}", text, value=value)


def _counters(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(f"qlumen_{name}", text, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family


def _gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(f"qlumen_{name}", text, labels=[label])
    for value, number in values.items():
        family.add_metric([value], number)
    return family


def _size(path: Path) -> float:
    try:
        return path.stat().st_size
    except OSError:
        return 0.0

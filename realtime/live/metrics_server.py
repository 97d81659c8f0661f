"""`--metrics`: what a live session does, for Prometheus, and whether it is well.

    /metrics   counters, gauges and histograms
    /health    200 while pictures go out, 503 when they have stood still
    /ready     200 while picture, AI and all outputs work, else 503 and what does not

Nothing of it says whose examination it is. See `docs/performance.md`.
"""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import choose_encoder

from qlumen.errors import SinkError
from qlumen.realtime.latency import LatencyRecorder, bin_values_us
from qlumen.realtime.live.prometheus import SessionMetrics
from qlumen.realtime.live.status import LiveStatus
from qlumen.system.closing import Closing
from qlumen.system.threads import start

REQUEST_SECONDS = 5.0


class MetricsServer(Closing):
    """Answers from threads of its own. They are of no lower priority than the others: one that
    the system passes over while it holds Python's lock would hold up the video.

    Raises:
        SinkError: the port cannot be listened on.
    """

    def __init__(self, host: str, port: int) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._status: Callable[[], LiveStatus] | None = None
        try:
            self._server = _Server((host, port), _handler(self))
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise SinkError(
                f"--metrics cannot listen on {host}:{port}: {reason}; choose another port"
            ) from None
        bin_values_us()  # computed once; so that no request pays for it
        self._thread = start("metrics", self._server.serve_forever)

    def watch(self, status: Callable[[], LiveStatus], latency: LatencyRecorder) -> None:
        """Report of this session from now on; `status` is called for each request."""
        self._registry.register(SessionMetrics(status, latency))
        self._status = status

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
        if self._status is None:
            return ["the session starts"] if path == "/ready" else []
        status = self._status()
        return status.health() if path == "/health" else status.readiness()


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

"""Serves JPEG pictures over HTTP as network cameras do, with faults on request."""

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Literal

Fault = Literal["cut", "frozen", "garbage", "resized"]
FAULTS: tuple[Fault, ...] = ("cut", "frozen", "garbage", "resized")
NOISE = b"\xff\xd8" + bytes(range(256)) * 64
LOOK_SECONDS = 0.05


class FaultyCamera:
    """Sends its pictures round and round to each client, from `start` of the block to its end.

    Args:
        pictures: JPEG files.
        resized: JPEG files of another size, for the fault of that name.
        rate: pictures per second.

    Attributes:
        fault: fault that is on. `cut` refuses and ends connections, `frozen` sends nothing,
            `garbage` sends noise in place of pictures, `resized` another size.
        sent: pictures sent whole, to all clients.
    """

    def __init__(self, pictures: Sequence[bytes], resized: Sequence[bytes], rate: float) -> None:
        self._pictures, self._resized, self._rate = pictures, resized, rate
        self.fault: Fault | None = None
        self.sent = 0
        self._open = True
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if camera.fault == "cut":
                    return
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
                self.end_headers()
                with suppress(OSError):
                    camera.send(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/video"

    def __enter__(self) -> "FaultyCamera":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._open = False
        self._server.shutdown()
        self._server.server_close()

    def send(self, handler: BaseHTTPRequestHandler) -> None:
        """Send pictures until the block ends or the client has left; OSError if it has."""
        due, number = time.monotonic(), 0
        while self._open and self.fault != "cut":
            if self.fault == "frozen":
                time.sleep(LOOK_SECONDS)
                due = time.monotonic()
                continue
            due += 1 / self._rate
            time.sleep(max(0.0, due - time.monotonic()))
            pictures = self._resized if self.fault == "resized" else self._pictures
            picture = NOISE if self.fault == "garbage" else pictures[number % len(pictures)]
            size = f"Content-Length: {len(picture)}"
            head = f"--picture\r\nContent-Type: image/jpeg\r\n{size}\r\n\r\n"
            handler.wfile.write(head.encode() + picture + b"\r\n")
            number += 1
            self.sent += self.fault is None

"""Serves the page in a thread of its own."""

import socket
import threading
import time
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from qlumen.errors import QlumenError, UsageError
from qlumen.system.closing import Closing
from qlumen.system.threads import start

MAX_CONNECTIONS = 200
"""Further connections get status 503."""
MAX_MESSAGE_BYTES = 4096
"""Limit of a message from a browser over a socket."""
START_SECONDS = 60.0
GRACE_SECONDS = 2
BACKLOG = 128
LOOK_SECONDS = 0.02


def open_listener(host: str, port: int) -> socket.socket:
    """Open a listening socket; port 0 takes any free port.

    Raises:
        UsageError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise UsageError(
            f"cannot listen on {host} port {port}: {error.strerror}; choose another view.port"
        ) from None
    return listener


class Server(Closing):
    """Serves the application from `start` to `close`.

    Args:
        certificate, key: PEM files for TLS; both or neither.
    """

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        certificate: Path | None = None,
        key: Path | None = None,
    ) -> None:
        self._listener = listener
        config = uvicorn.Config(
            app,
            lifespan="on",
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MAX_CONNECTIONS,
            ws="websockets-sansio",
            ws_max_size=MAX_MESSAGE_BYTES,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the server and wait until it answers; raise QlumenError if it does not start."""
        self._thread = start("server", lambda: self._server.run(sockets=[self._listener]))
        deadline = time.monotonic() + START_SECONDS
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                raise QlumenError("the page's server did not start; see the lines above")
            time.sleep(LOOK_SECONDS)

    def close(self) -> None:
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(START_SECONDS)
        self._listener.close()

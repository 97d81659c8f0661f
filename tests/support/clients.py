"""Asks and watches the page as a client, without importing qlumen."""

from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

HUNG_UP = 0


def ask(
    url: str, method: str, path: str, body: bytes = b"", kind: str = "text/plain"
) -> tuple[int, bytes]:
    """Return status and body of one request on a new connection; the path is sent as it is.

    If the server hangs up before it has read all, the status is `HUNG_UP`.
    """
    connection = HTTPConnection(urlsplit(url).netloc, timeout=60)
    connection.putrequest(method, path, skip_accept_encoding=True)
    connection.putheader("Content-Length", str(len(body)))
    connection.putheader("Content-Type", kind)
    try:
        connection.endheaders(body)
        response = connection.getresponse()
        return response.status, response.read()
    except ConnectionError:
        return HUNG_UP, b""
    finally:
        connection.close()


def watch(url: str) -> str:
    """Return what a viewer gets: `picture`, `refused` or `broken`."""
    address = f"{url.replace('http', 'ws', 1)}/live/stream"
    with connect(address, compression=None, open_timeout=60) as opened:
        try:
            while True:
                if isinstance(opened.recv(timeout=60), bytes):
                    return "picture"
        except ConnectionClosed as closed:
            return "refused" if closed.rcvd and closed.rcvd.code == 1013 else "broken"


def ask_and_watch_at_once(url: str, count: int) -> tuple[list[int], list[str]]:
    """Return the status of each of `count` requests, then what each of `count` viewers gets."""
    with ThreadPoolExecutor(count) as pool:
        asked = pool.map(lambda _: ask(url, "GET", "/config")[0], range(count))
        return list(asked), list(pool.map(lambda _: watch(url), range(count)))

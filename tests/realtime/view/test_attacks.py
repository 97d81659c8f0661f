"""The whole page under attack, over real connections: nothing leaks, and it stays up."""

import json
import socket
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from qlumen.errors import RefusedError
from qlumen.realtime.review.intake.sniff import sniff

from support.clients import HUNG_UP, ask
from support.live_process import wait_until
from support.media import start_python
from support.page import Shown

MIB = 1 << 20
PARALLEL = 50
CLIENTS = """
import json
from support.clients import ask_and_watch_at_once
print(json.dumps(ask_and_watch_at_once(sys.argv[1], int(sys.argv[2]))))
"""
LEAKS = (b"root:", b"Traceback", b"site-packages", b"/realtime/", b'File "')
UPLOAD = "/recordings/upload"
TAKING = (UPLOAD, "/recordings/pick", "/recordings/find", "/recordings/export", "/live/stream")
TRAVERSALS = (
    "/gradio_api/file=/etc/passwd",
    "/gradio_api/file=../../../../etc/passwd",
    "/gradio_api/file=%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "/gradio_api/file=/proc/self/environ",
    "/gradio_api/file=//etc/passwd",
    "/gradio_api/file=file:///etc/passwd",
    "/gradio_api/file=http://127.0.0.1:1/",
    "/static/../../../../etc/passwd",
    "/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
    "/assets/..%2f..%2f..%2fetc%2fpasswd",
    "/live/..%2f..%2f..%2f..%2fetc%2fpasswd",
    "/live/live.html%00.js",
    "/live/track/99999999999999999999",
    "/live/track/-1",
    "/gradio_api/proxy=http://127.0.0.1:1/",
)


def upload(shown: Shown, name: str, content: bytes) -> tuple[int, bytes]:
    return ask(shown.url, "POST", f"{UPLOAD}?name={quote(name)}", content)


def check_alive(shown: Shown) -> None:
    """The page answers and its picture goes on."""
    status, body = ask(shown.url, "GET", "/")
    assert status == 200
    assert b"<html" in body
    frame = shown.panel.state().get("frame", 0)
    wait_until(lambda: shown.panel.state().get("frame", 0) != frame, "the picture stands still")


@pytest.mark.parametrize("path", TRAVERSALS)
def test_no_file_is_reached_by_its_path(shown: Shown, path: str) -> None:
    """Refused, and the answer holds nothing of a file or of the server."""
    status, body = ask(shown.url, "GET", path)
    assert 400 <= status < 500
    assert not any(leak in body for leak in LEAKS)


def test_gradio_takes_and_hands_out_no_files(shown: Shown) -> None:
    """Its uploads would pile up, and all browsers share its files; its queue runs nothing here."""
    for path in ("upload", "queue/join", "run/predict", "component_server", "file=/etc/hostname"):
        for method in ("GET", "POST"):
            assert ask(shown.url, method, f"/gradio_api/{path}")[0] == 404


def test_uploads_beyond_the_limit_are_refused(shown: Shown) -> None:
    """By the gate, before they are stored; a smaller one is looked at, and is no recording."""
    status, body = upload(shown, "small.bin", b"x" * MIB)
    assert status == 400
    assert b"none of the kinds" in body
    for size in (MIB + 1, 4 * MIB):
        status, body = upload(shown, "large.bin", b"x" * size)
        assert status in (413, HUNG_UP)
        assert not any(leak in body for leak in LEAKS)
    check_alive(shown)


def begins_like_a_recording(body: bytes, folder: Path) -> bool:
    (folder / "body").write_bytes(body)
    try:
        sniff(folder / "body")
    except RefusedError:
        return False
    return True


@example(body=b"BM", name="")
@given(body=st.binary(max_size=300), name=st.text(max_size=30))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_request_makes_the_page_tell_of_itself(
    shown: Shown, tmp_path: Path, body: bytes, name: str
) -> None:
    """Broken forms, broken JSON, odd names, on the routes that take something. Only an upload that
    begins like a recording is taken; that it is broken is told when it is read."""
    for path in TAKING:
        allowed = {200} if path == UPLOAD and begins_like_a_recording(body, tmp_path) else set()
        for kind in ("multipart/form-data; boundary=x", "application/json"):
            status, answer = ask(shown.url, "POST", path, body, kind)
            assert 400 <= status < 500 or status in allowed
            assert not any(leak in answer for leak in LEAKS)
    quoted = quote(name.encode("utf-8", "replace"))
    assert ask(shown.url, "GET", f"/recordings/file/{quoted}")[0] in (404, 422)


@pytest.mark.parametrize(
    "said",
    ["", "x", "{}", "[]", '{"do":"quit"}', '{"do":"start","source":-1}', '{"do":"hold"}',
     '{"do":"threshold","value":NaN}', '{"do":"drawn","number":1,"more":2}', "{" * 2000,
     "x" * 9000],
)  # fmt: skip
def test_nonsense_ends_the_connection_and_nothing_else(shown: Shown, said: str) -> None:
    """The socket is closed with a reason; the session does not notice."""
    with connect(f"{shown.url.replace('http', 'ws', 1)}/live/stream", compression=None) as opened:
        opened.send(said)
        with pytest.raises(ConnectionClosed) as ended:
            listen(opened)
    assert ended.value.rcvd is not None
    assert ended.value.rcvd.code in (1008, 1009)
    assert shown.panel.state()["running"]


def listen(opened: ClientConnection) -> None:
    while True:
        opened.recv(timeout=30)


def test_fifty_connections_at_once(shown: Shown) -> None:
    """Pages, sockets beyond the limit, and connections that say nothing: all are answered or
    refused, and when they are gone the page is as before."""
    host = urlsplit(shown.url)
    with ExitStack() as stack:
        for _ in range(PARALLEL):
            stack.enter_context(socket.create_connection((host.hostname, host.port)))
        clients = start_python(CLIENTS, shown.url, PARALLEL)
        pages, watched = json.loads(clients.communicate(timeout=120)[0])
        assert set(pages) == {200}
        assert set(watched) <= {"picture", "refused"}
        assert "picture" in watched
    check_alive(shown)
    wait_until(lambda: shown.panel.feed.viewers <= 1, "viewers were not forgotten")

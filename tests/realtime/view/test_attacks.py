"""Attacks the whole page over real connections: nothing leaks, and the page keeps running."""

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


def upload(site: Shown, name: str, content: bytes) -> tuple[int, bytes]:
    return ask(site.url, "POST", f"{UPLOAD}?name={quote(name)}", content)


def check_alive(site: Shown) -> None:
    """Check that the page answers and its video continues."""
    status, body = ask(site.url, "GET", "/")
    assert status == 200
    assert b"<html" in body
    frame = site.panel.state().get("frame", 0)
    wait_until(lambda: site.panel.state().get("frame", 0) != frame, "the video stands still")


@pytest.mark.parametrize("path", TRAVERSALS)
def test_no_file_is_reached_by_its_path(site: Shown, path: str) -> None:
    """The path is refused, and the answer holds nothing of a file or of the server."""
    status, body = ask(site.url, "GET", path)
    assert 400 <= status < 500
    assert not any(leak in body for leak in LEAKS)


def test_gradio_stores_and_serves_no_files(site: Shown) -> None:
    """Gradio's routes for uploads, files and its queue are not found."""
    for path in ("upload", "queue/join", "run/predict", "component_server", "file=/etc/hostname"):
        for method in ("GET", "POST"):
            assert ask(site.url, method, f"/gradio_api/{path}")[0] == 404


def test_uploads_beyond_the_limit_are_refused(site: Shown) -> None:
    """The gate refuses a large upload before it is stored; a small one is checked by content."""
    status, body = upload(site, "small.bin", b"x" * MIB)
    assert status == 400
    assert b"is of an unknown kind" in body
    for size in (MIB + 1, 4 * MIB):
        status, body = upload(site, "large.bin", b"x" * size)
        assert status in (413, HUNG_UP)
        assert not any(leak in body for leak in LEAKS)
    check_alive(site)


def is_like_a_recording(body: bytes, folder: Path) -> bool:
    (folder / "body").write_bytes(body)
    try:
        sniff(folder / "body")
    except RefusedError:
        return False
    return True


@example(body=b"BM", name="")
@given(body=st.binary(max_size=300), name=st.text(max_size=30))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_request_makes_the_page_reveal_anything(
    site: Shown, tmp_path: Path, body: bytes, name: str
) -> None:
    """Broken forms, broken JSON and odd names are refused on all routes that take content.

    Only an upload that begins like a recording is taken. A worker then finds that it is broken.
    """
    for path in TAKING:
        allowed = {200} if path == UPLOAD and is_like_a_recording(body, tmp_path) else set()
        for kind in ("multipart/form-data; boundary=x", "application/json"):
            status, answer = ask(site.url, "POST", path, body, kind)
            assert 400 <= status < 500 or status in allowed
            assert not any(leak in answer for leak in LEAKS)
    quoted = quote(name.encode("utf-8", "replace"))
    assert ask(site.url, "GET", f"/recordings/file/{quoted}")[0] in (404, 422)


@pytest.mark.parametrize(
    "message",
    ["", "x", "{}", "[]", '{"do":"quit"}', '{"do":"start","source":-1}', '{"do":"hold"}',
     '{"do":"sensitivity","position":NaN}', '{"do":"drawn","number":1,"more":2}', "{" * 2000,
     "x" * 9000],
)  # fmt: skip
def test_nonsense_ends_the_connection_and_nothing_else(site: Shown, message: str) -> None:
    """The socket is closed with a reason, and the session continues."""
    with connect(f"{site.url.replace('http', 'ws', 1)}/live/stream", compression=None) as opened:
        opened.send(message)
        with pytest.raises(ConnectionClosed) as ended:
            listen(opened)
    assert ended.value.rcvd is not None
    assert ended.value.rcvd.code in (1008, 1009)
    assert site.panel.state()["running"]


def listen(opened: ClientConnection) -> None:
    while True:
        opened.recv(timeout=30)


def test_fifty_connections_at_once(site: Shown) -> None:
    """Pages, too many sockets and silent connections are answered or refused.

    After they are gone, the page is as before.
    """
    host = urlsplit(site.url)
    with ExitStack() as stack:
        for _ in range(PARALLEL):
            stack.enter_context(socket.create_connection((host.hostname, host.port)))
        clients = start_python(CLIENTS, site.url, PARALLEL)
        pages, watched = json.loads(clients.communicate(timeout=120)[0])
        assert set(pages) == {200}
        assert set(watched) <= {"picture", "refused"}
        assert "picture" in watched
    check_alive(site)
    wait_until(lambda: site.panel.feed.viewers <= 1, "viewers were not forgotten")

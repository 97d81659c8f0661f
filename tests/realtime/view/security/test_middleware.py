"""Checks sessions, the throttle and the gate on a small application that answers everything."""

import time
from collections.abc import Iterator

import pytest
from fastapi import APIRouter, FastAPI, Request, WebSocket
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.websockets import WebSocketDisconnect

from qlumen.realtime.view.security import login
from qlumen.realtime.view.security.login import Throttle, login_routes
from qlumen.realtime.view.security.middleware import MAX_BODY_BYTES, SESSION_KEY, UPLOAD_PATH, Gate
from qlumen.realtime.view.security.passwords import Password, read_password, write_password
from qlumen.realtime.view.security.sessions import MAX_SESSIONS, Sessions

SECRET = "correct horse"
HOST = "127.0.0.1:7860"
OWN = {"Origin": f"http://{HOST}"}
SOCKET = f"ws://{HOST}/live/socket"


def make_routes() -> APIRouter:
    routes = APIRouter()

    @routes.get("/")
    @routes.get("/live/x")
    @routes.get("/gradio_api/vibe-code")
    async def show_session(request: Request) -> str:
        return request.scope[SESSION_KEY].id

    @routes.post("/live/x")
    @routes.post(UPLOAD_PATH)
    async def take(request: Request) -> int:
        return len(await request.body())

    @routes.get("/live/broken")
    async def broken() -> None:
        raise RuntimeError("a secret of the server")

    @routes.websocket("/live/socket")
    async def socket(opened: WebSocket) -> None:
        await opened.accept()
        await opened.send_text("in")

    return routes


def make_gate(sessions: Sessions, password: Password | None) -> Gate:
    app = FastAPI()
    gate = Gate(
        app,
        prefixes=("/live/", "/recordings/", *(("/logout",) if password else ())),
        sessions=sessions,
        cookie="qlumen_7860",
        secure=False,
        password=password is not None,
        upload_bytes=2 * MAX_BODY_BYTES,
    )
    app.include_router(make_routes())
    if password:
        app.include_router(login_routes(password, sessions, gate.set_cookie))
    return gate


def make_client(gate: Gate, host: str = HOST) -> TestClient:
    base = f"http://{host}"
    return TestClient(gate, base, raise_server_exceptions=False, follow_redirects=False)


@pytest.fixture(scope="module")
def password(tmp_path_factory: pytest.TempPathFactory) -> Password:
    file = tmp_path_factory.mktemp("password") / "p"
    write_password(file, SECRET)
    return read_password(file)


@pytest.fixture
def sessions() -> Sessions:
    return Sessions(1.0)


@pytest.fixture
def open_page(sessions: Sessions) -> Iterator[TestClient]:
    """Serve the routes without a password."""
    with make_client(make_gate(sessions, None)) as client:
        yield client


@pytest.fixture
def locked_page(sessions: Sessions, password: Password) -> Iterator[TestClient]:
    """Serve the routes with a password."""
    with make_client(make_gate(sessions, password)) as client:
        yield client


def log_in(page: TestClient, given_: str = SECRET) -> int:
    return page.post("/login", data={"password": given_}, headers=OWN).status_code


def test_nothing_is_shown_before_the_password(locked_page: TestClient) -> None:
    """Every route and every socket is closed; the page itself leads to the form."""
    assert locked_page.get("/").headers["location"] == "/login"
    assert locked_page.get("/live/x").status_code == 401
    assert locked_page.post(UPLOAD_PATH, headers=OWN).status_code == 401
    with pytest.raises(WebSocketDisconnect), locked_page.websocket_connect(SOCKET):
        pass
    assert log_in(locked_page) == 303
    assert locked_page.get("/live/x").status_code == 200
    with locked_page.websocket_connect(SOCKET, headers=OWN) as opened:
        assert opened.receive_text() == "in"


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(locked_page: TestClient) -> None:
    """The cookie is HttpOnly and SameSite=Strict and has an end; a logout ends it on both sides."""
    answer = locked_page.post("/login", data={"password": SECRET}, headers=OWN)
    cookie = answer.headers["set-cookie"]
    for part in ("HttpOnly", "SameSite=Strict", "Max-Age=3600"):
        assert part in cookie
    token = cookie.split("=", 1)[1].split(";")[0]
    assert locked_page.post("/logout", headers=OWN).status_code == 303
    locked_page.cookies.set("qlumen_7860", token)
    assert locked_page.get("/live/x").status_code == 401


def test_a_wrong_password_costs_time(locked_page: TestClient) -> None:
    """After the free tries even the right password must wait, and the page says how long."""
    answers = [log_in(locked_page, f"wrong {turn}") for turn in range(login.FREE_TRIES)]
    assert answers == [401] * login.FREE_TRIES
    refused = locked_page.post("/login", data={"password": SECRET}, headers=OWN)
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert locked_page.get("/live/x").status_code == 401


def test_the_pause_doubles_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a test clock the pause doubles; other addresses wait only after many failures."""
    now_s = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    guard, pauses = Throttle(), []
    for _ in range(login.FREE_TRIES + 3):
        guard.record_failure("a")
        pauses.append(guard.pause_s("a"))
    assert pauses == [0.0] * (login.FREE_TRIES - 1) + [2.0, 4.0, 8.0, 16.0]
    assert guard.pause_s("b") == 0
    now_s += 16.1
    assert guard.pause_s("a") == 0
    guard.forget_failures("a")
    guard.record_failure("a")
    assert guard.pause_s("a") == 0
    for number in range(login.FREE_TRIES_OF_ALL):
        guard.record_failure(f"address {number}")
    assert guard.pause_s("somebody else") > 0


def test_sessions_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session ends after its hours, and the oldest one ends when there are too many."""
    now_s = 0.0
    monkeypatch.setattr("qlumen.realtime.view.security.sessions._now_s", lambda: now_s)
    kept = Sessions(2.0)
    token, session = kept.begin()
    now_s = 7199.0
    assert kept.find(token) == session
    now_s = 7200.0
    assert kept.find(token) is None
    assert not kept.lives(session)
    oldest, _ = kept.begin()
    tokens = [kept.begin()[0] for _ in range(MAX_SESSIONS)]
    assert kept.find(oldest) is None
    assert all(kept.find(newer) for newer in tokens)


def test_each_browser_has_a_session_without_a_password(open_page: TestClient) -> None:
    """The first answer begins a session, which stays; its id is not the cookie's secret."""
    first = open_page.get("/live/x")
    token = first.headers["set-cookie"].split("=", 1)[1].split(";")[0]
    again = open_page.get("/live/x")
    assert again.json() == first.json()
    assert "set-cookie" not in again.headers
    assert token not in first.text


@pytest.mark.parametrize("host", ["127.0.0.1:1", "localhost:7860", "[::1]:7860"])
def test_loopback_names_are_answered(sessions: Sessions, host: str) -> None:
    """Any port is answered, because a tunnel may lead here."""
    assert make_client(make_gate(sessions, None), host).get("/").status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "[::1", "", "a b"])
def test_other_names_are_refused_without_a_password(open_page: TestClient, host: str) -> None:
    """A foreign name that leads to the loopback is refused (DNS rebinding)."""
    assert open_page.get("/", headers={"Host": host}).status_code == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:9", "", "x"])
def test_other_pages_cannot_act(open_page: TestClient, origin: str) -> None:
    """Other pages can use no form and no socket; the page itself and programs can."""
    assert open_page.post("/live/x", headers={"Origin": origin}).status_code == 403
    with (
        pytest.raises(WebSocketDisconnect),
        open_page.websocket_connect(SOCKET, headers={"Origin": origin}),
    ):
        pass
    assert open_page.post("/live/x", headers=OWN).status_code == 200
    assert open_page.post("/live/x").status_code == 200


def test_only_paths_that_the_page_needs_exist(open_page: TestClient) -> None:
    """Other paths are not found; Gradio has routes that write code into the application."""
    assert open_page.get("/gradio_api/vibe-code").status_code == 404
    assert open_page.get("/elsewhere").status_code == 404
    assert open_page.get("/login").status_code == 404


@pytest.mark.parametrize(("path", "limit"), [("/live/x", 1), (UPLOAD_PATH, 2)])
def test_bodies_are_bounded(open_page: TestClient, path: str, limit: int) -> None:
    """The limit applies to the announced size, or to the received size without one."""
    fits = b"x" * (limit * MAX_BODY_BYTES)
    assert open_page.post(path, content=fits).json() == len(fits)
    assert open_page.post(path, content=fits + b"x").status_code == 413

    def endless() -> Iterator[bytes]:
        for _ in range(10):
            yield b"x" * MAX_BODY_BYTES

    assert open_page.post(path, content=endless()).status_code == 413
    for length in ("-1", "x", "9" * 50):
        headers = {"Content-Length": length}
        assert open_page.post(path, content=b"", headers=headers).status_code == 413


def test_an_error_says_nothing_of_the_server(open_page: TestClient) -> None:
    """An error gives a plain 500."""
    answer = open_page.get("/live/broken")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


def test_every_answer_forbids_what_is_not_needed(open_page: TestClient) -> None:
    """Refusals and errors also have the security headers."""
    for path in ("/", "/live/broken", "/elsewhere"):
        headers = open_page.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["x-frame-options"] == "SAMEORIGIN"
        assert headers["x-content-type-options"] == "nosniff"


SMALL = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40)


@given(cookie=SMALL, origin=SMALL, host=SMALL)
@settings(max_examples=30)
def test_no_header_gets_past_the_password(
    password: Password, cookie: str, origin: str, host: str
) -> None:
    """Any cookie, origin and host is refused without an error."""
    locked_page = make_client(make_gate(Sessions(1.0), password))
    headers = {"Cookie": cookie, "Origin": origin, "Host": host}
    assert locked_page.get("/live/x", headers=headers).status_code == 401
    assert locked_page.post("/live/x", headers=headers).status_code in (401, 403)

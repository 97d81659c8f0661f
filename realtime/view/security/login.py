"""Serves the login page with one password and a pause after wrong ones."""

import asyncio
import html
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from qlumen.realtime.view.security.middleware import LOGIN, SESSION_KEY
from qlumen.realtime.view.security.passwords import Password
from qlumen.realtime.view.security.sessions import Sessions
from qlumen.realtime.view.tabs import read_static
from qlumen.system.backoff import Backoff

FREE_TRIES = 5
PAUSES = Backoff(first_s=2.0, most_s=300.0)
FORGET_S = 900.0
MAX_ADDRESSES = 1000
EVERYBODY = ""
FREE_TRIES_OF_ALL = 50


@dataclass(slots=True)
class _Failures:
    count: int = 0
    last_s: float = 0.0
    until_s: float = 0.0


class Throttle:
    """Counts wrong passwords by address and of all addresses, because addresses are cheap.

    After the free tries, each failure doubles the pause before the next try.

    Attributes:
        one_at_a_time: lock of a try.
    """

    def __init__(self) -> None:
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._lock = threading.Lock()
        # Fifty tries at the same time must count as fifty and use the memory of one.
        self.one_at_a_time = asyncio.Lock()

    def pause_s(self, address: str) -> float:
        """Return how many seconds this address must wait before its next try."""
        now_s = time.monotonic()
        with self._lock:
            known = (self._failures.get(address), self._failures.get(EVERYBODY))
            return max(0.0, *(failures.until_s - now_s for failures in known if failures), 0.0)

    def record_failure(self, address: str) -> None:
        with self._lock:
            self._count(address, FREE_TRIES)
            self._count(EVERYBODY, FREE_TRIES_OF_ALL)
            while len(self._failures) > MAX_ADDRESSES:
                self._failures.popitem(last=False)

    def forget_failures(self, address: str) -> None:
        """Forget the failures of an address after the right password."""
        with self._lock:
            self._failures.pop(address, None)

    def _count(self, address: str, free: int) -> None:
        now_s = time.monotonic()
        failures = self._failures.setdefault(address, _Failures())
        self._failures.move_to_end(address)
        if now_s - failures.last_s > FORGET_S:
            failures.count = 0
        failures.count += 1
        failures.last_s = now_s
        beyond = failures.count - free
        if beyond >= 0:
            failures.until_s = now_s + PAUSES.pause_s(beyond + 1)


LOGOUT = "/logout"
MAX_FORM_BYTES = 16384


def login_routes(
    password: Password,
    sessions: Sessions,
    set_cookie: Callable[[str], str],
    root_path: str = "",
    throttle: Throttle | None = None,
) -> APIRouter:
    """Make the routes `/login` and `/logout`.

    Args:
        set_cookie: function that makes a token's header value.
        root_path: see `Gate`.
        throttle: counter of wrong passwords, if pages share the password.
    """
    routes = APIRouter()
    throttle = throttle or Throttle()

    @routes.get(LOGIN)
    async def form() -> Response:
        return _page("", 200)

    @routes.post(LOGIN)
    async def log_in(request: Request) -> Response:
        given = _read_password(await request.body())
        address = request.client.host if request.client else ""
        async with throttle.one_at_a_time:
            pause_s = math.ceil(throttle.pause_s(address))
            if pause_s:
                text = f"Too many wrong passwords. Try again in {pause_s} s."
                return _page(text, 429, {"Retry-After": str(pause_s)})
            right = await run_in_threadpool(password.matches, given)
            if not right:
                throttle.record_failure(address)
                return _page("Wrong password.", 401)
            throttle.forget_failures(address)
        token, _ = sessions.begin()
        return RedirectResponse(f"{root_path}/", 303, {"Set-Cookie": set_cookie(token)})

    @routes.post(LOGOUT)
    async def log_out(request: Request) -> Response:
        sessions.end(request.scope[SESSION_KEY])
        return RedirectResponse(root_path + LOGIN, 303, {"Set-Cookie": set_cookie("")})

    return routes


def _read_password(body: bytes) -> str:
    if len(body) > MAX_FORM_BYTES:
        return ""
    return parse_qs(body.decode("utf-8", "replace")).get("password", [""])[0]


def _page(message: str, status: int, headers: dict[str, str] | None = None) -> HTMLResponse:
    page = read_static("login.html")
    return HTMLResponse(page.replace("{message}", html.escape(message)), status, headers)

"""The login page: one password, and a pause after wrong ones."""

import asyncio
import html
import math
from collections.abc import Callable
from importlib.resources import files
from urllib.parse import parse_qs

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from qlumen.realtime.view.security.middleware import LOGIN, SESSION_KEY
from qlumen.realtime.view.security.passwords import Password
from qlumen.realtime.view.security.sessions import Sessions
from qlumen.realtime.view.security.throttle import Throttle

LOGOUT = "/logout"
MAX_FORM_BYTES = 16384
SetCookie = Callable[[str], str]


def login_routes(password: Password, sessions: Sessions, set_cookie: SetCookie) -> APIRouter:
    """`/login` with its form, and `/logout`.

    Args:
        set_cookie: the header's value that hands a token to the browser.
    """
    routes = APIRouter()
    throttle = Throttle()
    one_at_a_time = (
        asyncio.Lock()
    )  # fifty tries at once shall count as fifty, and take one's memory

    @routes.get(LOGIN)
    async def form() -> Response:
        return _page("", 200)

    @routes.post(LOGIN)
    async def log_in(request: Request) -> Response:
        given = _given(await request.body())
        address = request.client.host if request.client else ""
        async with one_at_a_time:
            pause_s = math.ceil(throttle.pause_s(address))
            if pause_s:
                return _wait(pause_s)
            right = await run_in_threadpool(password.matches, given)
            if not right:
                throttle.failed(address)
                return _page("Wrong password.", 401)
            throttle.passed(address)
        token, _ = sessions.begin()
        return RedirectResponse("/", 303, {"Set-Cookie": set_cookie(token)})

    @routes.post(LOGOUT)
    async def log_out(request: Request) -> Response:
        sessions.end(request.scope[SESSION_KEY])
        return RedirectResponse(LOGIN, 303, {"Set-Cookie": set_cookie("")})

    return routes


def _given(body: bytes) -> str:
    if len(body) > MAX_FORM_BYTES:
        return ""
    return parse_qs(body.decode("utf-8", "replace")).get("password", [""])[0]


def _wait(pause_s: int) -> Response:
    response = _page(f"Too many wrong passwords. Try again in {pause_s} s.", 429)
    response.headers["Retry-After"] = str(pause_s)
    return response


def _page(message: str, status: int) -> HTMLResponse:
    page = files("qlumen.realtime.view").joinpath("static/login.html").read_text(encoding="utf-8")
    return HTMLResponse(page.replace("{message}", html.escape(message)), status)

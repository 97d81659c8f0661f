"""Checks every request and every socket before any other part of the page sees it.

It checks the path, the host name, the origin, the session and the size, in this order. Refusals
are plain text. They show nothing of an error.
"""

from http.cookies import CookieError, SimpleCookie
from urllib.parse import quote, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from qlumen.realtime.view.security.sessions import Session, Sessions

LOGIN = "/login"
SESSION_KEY = "qlumen_session"
"""Key of the request's `Session` in the ASGI scope."""
LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
READING = frozenset({"GET", "HEAD"})
GRADIO_PATHS = (
    "/assets/", "/config", "/favicon.ico", "/gradio_api/app_id", "/gradio_api/heartbeat/",
    "/gradio_api/info", "/gradio_api/startup-events", "/manifest.json", "/static/", "/svelte/",
    "/theme.css",
)  # fmt: skip
"""Paths that Gradio's page needs; all others are not found. Its uploads would fill the disk, and
all browsers would share its files."""
UPLOAD_PATH = "/recordings/upload"
ASSETS = "/assets/"
"""Their names depend on their content, so browsers may keep them."""
NOT_KEPT = {"Cache-Control": "no-store"}
TOO_LARGE = "the request is too large"
MAX_BODY_BYTES = 1 << 20
"""Limit of a request that is not an upload."""
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-inline' "
    "'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; font-src 'self' data:; connect-src 'self'; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'self'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Referrer-Policy": "same-origin",  # with no referrer, a form has the origin null
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
}
"""Gradio's page needs inline scripts and `eval`; it may load nothing from other hosts."""


class Gate:
    """Checks requests as ASGI middleware.

    Args:
        app: application behind the gate.
        prefixes: path prefixes of the page's own routes, such as `/live/`.
        sessions: all open sessions.
        cookie: name of the session's cookie.
        secure: whether the page is served over TLS; the cookie then also needs TLS.
        password: whether a session begins with a password. Without it each browser gets a
            session, and only loopback names are answered. Another name that leads here is an
            attack (DNS rebinding).
        upload_bytes: largest upload in bytes.
        root_path: path at which a proxy shows the page, such as `/endo`. The proxy may pass it on
            or leave it out.
        cookie_path: path whose pages share the cookie; None: `root_path`.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        prefixes: tuple[str, ...],
        sessions: Sessions,
        cookie: str,
        secure: bool,
        password: bool,
        upload_bytes: int,
        root_path: str = "",
        cookie_path: str | None = None,
    ) -> None:
        self._app, self._sessions, self._cookie = app, sessions, cookie
        self._prefixes = (*prefixes, *GRADIO_PATHS)
        self._secure, self._password, self._upload_bytes = secure, password, upload_bytes
        self._root_path = root_path
        self._cookie_path = root_path if cookie_path is None else cookie_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["path"] == self._root_path != "":
            await RedirectResponse(f"{self._root_path}/", 308)(scope, receive, send)
            return
        scope = self._without_root(scope)
        headers = Headers(scope=scope)
        session = self._session(headers)
        token = None
        if session is None and not self._password:
            token, session = self._sessions.begin()
        refusal = self._refusal(scope, headers, session)
        if refusal is not None:
            await refusal(scope, receive, _with_headers(send, NOT_KEPT))
            return
        scope[SESSION_KEY] = session
        extra = {} if scope["path"].startswith(ASSETS) else dict(NOT_KEPT)
        if token:
            extra["Set-Cookie"] = self.set_cookie(token)
        limited = _limit_body(receive, self._limit(scope["path"]))
        await self._app(scope, limited, _with_headers(send, extra))

    def set_cookie(self, token: str) -> str:
        """Return the header value that gives a browser its token; an empty token removes it."""
        seconds = self._sessions.seconds if token else 0
        secure = "; Secure" if self._secure else ""
        return (
            f"{self._cookie}={token}; Path={self._cookie_path}/; Max-Age={seconds}; HttpOnly; "
            f"SameSite=Strict{secure}"
        )

    def _without_root(self, scope: Scope) -> Scope:
        """Return a scope with the path that the page itself knows."""
        path: str = scope["path"]
        if not self._root_path or not path.startswith(f"{self._root_path}/"):
            return scope
        inner = path.removeprefix(self._root_path)
        return {**scope, "path": inner, "raw_path": quote(inner).encode()}

    def _session(self, headers: Headers) -> Session | None:
        cookies: SimpleCookie = SimpleCookie()
        try:
            cookies.load(headers.get("cookie", ""))
        except CookieError:
            return None
        morsel = cookies.get(self._cookie)
        return self._sessions.find(morsel.value) if morsel else None

    def _refusal(self, scope: Scope, headers: Headers, session: Session | None) -> ASGIApp | None:
        path, socket = scope["path"], scope["type"] == "websocket"
        host = headers.get("host", "")
        public = path == LOGIN and self._password
        if not (path == "/" or public or path.startswith(self._prefixes)):
            return _refuse(socket, 404, "not found")
        if not self._password and _host_name(host) not in LOOPBACK_NAMES:
            return _refuse(socket, 403, "this page answers to 127.0.0.1 and localhost only")
        changes = socket or scope["method"] not in READING
        if changes and not _is_same_origin(headers.get("origin"), host):
            return _refuse(socket, 403, "the request comes from another page")
        if session is None and not public:
            if path == "/" and not socket:
                return RedirectResponse(self._root_path + LOGIN, 303)
            return _refuse(socket, 401, "log in first")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._limit(path):
            return _refuse(socket, 413, TOO_LARGE)
        return None

    def _limit(self, path: str) -> int:
        return self._upload_bytes if path == UPLOAD_PATH else MAX_BODY_BYTES


def _is_same_origin(origin: str | None, host: str) -> bool:
    """Check whether a page of this host asks; programs that are no browsers send no origin."""
    return origin is None or origin.partition("://")[2] == host


def _host_name(host: str) -> str | None:
    """Return `localhost` for `localhost:7860`, and None for an invalid host."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None


def _refuse(socket: bool, status: int, text: str) -> ASGIApp:
    if socket:
        return _close
    close = {"Connection": "close"} if status == 413 else {}
    return PlainTextResponse(text, status, close)


async def _close(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "websocket.close", "code": 1008})


def _with_headers(send: Send, extra: dict[str, str]) -> Send:
    async def send_with_headers(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
            for name, value in extra.items():
                headers.append(name, value)
        await send(message)

    return send_with_headers


def _limit_body(receive: Receive, limit: int) -> Receive:
    taken = 0

    async def receive_limited() -> Message:
        nonlocal taken
        message = await receive()
        if message["type"] == "http.request":
            taken += len(message.get("body", b""))
            if taken > limit:
                raise HTTPException(413, TOO_LARGE)
        return message

    return receive_limited

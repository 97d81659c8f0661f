"""Builds the page: Gradio with its tabs, their routes, and the gate around both."""

import os
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from qlumen.realtime.view.security.login import LOGOUT, login_routes
from qlumen.realtime.view.security.middleware import Gate
from qlumen.realtime.view.security.passwords import Password
from qlumen.realtime.view.tabs import PageContext, Tab

TITLE = "qlumen"
NOTICE = "A research tool, not a medical device."
BYTES_PER_MIB = 1 << 20
SYSTEM_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
SYSTEM_MONO = ("ui-monospace", "SFMono-Regular", "Consolas", "monospace")
MANIFEST = b'<link rel="manifest" href="/manifest.json" />'
ICON = b'<link rel="icon" href="favicon.ico" />'.ljust(len(MANIFEST))
"""Texts of the same length, as `Content-Length` says."""
BACKGROUND, DARK = "#0b0e11", "_dark"


def make_page(
    tabs: Sequence[Tab],
    context: PageContext,
    *,
    password: Password | None,
    port: int,
    secure: bool = False,
) -> ASGIApp:
    """Build the whole application.

    Args:
        password: password of the page; without it the page answers to loopback names only.
        port: port in the cookie's name, because all ports of a host share their cookies.
        secure: whether the page is served over TLS.
    """
    settings, sessions = context.settings.view, context.sessions
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.exception_handler(RequestValidationError)(_refuse_invalid)
    gate = Gate(
        _with_own_icon(app),
        prefixes=(*(tab.prefix for tab in tabs if tab.prefix), *((LOGOUT,) if password else ())),
        sessions=sessions,
        cookie=f"qlumen_{port}",
        secure=secure,
        password=password is not None,
        upload_bytes=settings.upload_mib * BYTES_PER_MIB,
        root_path=settings.root_path,
    )
    if password:
        app.include_router(login_routes(password, sessions, gate.set_cookie, settings.root_path))
    for tab in tabs:
        if tab.routes:
            app.include_router(tab.routes)
    _mount_gradio(app, tabs, context)
    return gate


def _with_own_icon(app: ASGIApp) -> ASGIApp:
    """Name the icon in Gradio's page instead of a manifest, whose address begins at the host."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_changed(message: Message) -> None:
            if message["type"] == "http.response.body":
                body = message.get("body", b"").replace(MANIFEST, ICON)
                message = {**message, "body": body}
            await send(message)

        if scope["type"] != "http" or scope["path"] != "/":
            await app(scope, receive, send)
            return
        headers = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        await app({**scope, "headers": headers}, receive, send_changed)

    return answer


async def _refuse_invalid(request: Request, error: RequestValidationError) -> Response:
    """Refuse briefly; FastAPI's own answer repeats the request and fails if it is not text."""
    return JSONResponse({"detail": "the request is not valid"}, 422)


def _mount_gradio(app: FastAPI, tabs: Sequence[Tab], context: PageContext) -> None:
    # Gradio reads both on import and when components are made.
    os.environ["GRADIO_TEMP_DIR"] = str(context.scratch)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    import gradio as gr

    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as blocks:
        for tab in tabs:
            with gr.Tab(tab.title):
                tab.build()
        gr.Markdown(NOTICE, elem_id="qlumen-notice")
    gr.mount_gradio_app(
        app,
        blocks,
        "/",
        root_path=context.settings.view.root_path or None,
        theme=_dark_theme(),
        head="\n".join(tab.head for tab in tabs),
        show_error=False,
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        enable_monitoring=False,
        mcp_server=False,
        pwa=False,
    )


def _dark_theme() -> Any:
    """Make Gradio's plain theme dark in all browser settings, for use in a dark room."""
    import gradio as gr

    theme = gr.themes.Base(
        primary_hue="cyan", neutral_hue="slate", font=SYSTEM_FONTS, font_mono=SYSTEM_MONO
    )
    for name, value in list(vars(theme).items()):
        if name.endswith(DARK) and value is not None:
            setattr(theme, name.removesuffix(DARK), value)
    return theme.set(body_background_fill=BACKGROUND, body_background_fill_dark=BACKGROUND)

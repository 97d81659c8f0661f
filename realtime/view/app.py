"""The page: Gradio with its tabs, their routes beside it, and the gate around both."""

import os
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp

from qlumen.realtime.view.security.login import LOGOUT, login_routes
from qlumen.realtime.view.security.middleware import Gate
from qlumen.realtime.view.security.passwords import Password
from qlumen.realtime.view.tabs import Surroundings, Tab

TITLE = "qlumen"
NOTICE = "A research tool, not a medical device."
BYTES_PER_MIB = 1 << 20
SYSTEM_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
SYSTEM_MONO = ("ui-monospace", "SFMono-Regular", "Consolas", "monospace")
BACKGROUND, DARK = "#0b0e11", "_dark"


def make_page(
    tabs: Sequence[Tab],
    surroundings: Surroundings,
    *,
    password: Password | None,
    port: int,
    secure: bool = False,
) -> ASGIApp:
    """The whole application.

    Args:
        password: asked for before anything is shown; None for none, then the page answers to
            the loopback's names only.
        port: names the cookie: those of one host are shared by all its ports.
        secure: whether it is served over TLS.
    """
    settings = surroundings.settings.view
    sessions = surroundings.sessions
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.exception_handler(RequestValidationError)(_not_understood)
    gate = Gate(
        app,
        prefixes=(*(tab.prefix for tab in tabs if tab.prefix), *((LOGOUT,) if password else ())),
        sessions=sessions,
        cookie=f"qlumen_{port}",
        secure=secure,
        password=password is not None,
        upload_bytes=settings.upload_mib * BYTES_PER_MIB,
    )
    if password:
        app.include_router(login_routes(password, sessions, gate.set_cookie))
    for tab in tabs:
        if tab.routes:
            app.include_router(tab.routes)
    _mount_gradio(app, tabs, surroundings)
    return gate


async def _not_understood(request: Request, error: RequestValidationError) -> Response:
    """FastAPI's own answer repeats what was sent, and fails where that is no text."""
    return JSONResponse({"detail": "not understood"}, 422)


def _mount_gradio(app: FastAPI, tabs: Sequence[Tab], surroundings: Surroundings) -> None:
    # Gradio reads both where it is imported and where components are made.
    os.environ["GRADIO_TEMP_DIR"] = str(surroundings.scratch)
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
    """Gradio's plain theme with its dark values in the place of the light ones, so that no
    setting of a browser makes the page bright in a dark room."""
    import gradio as gr

    theme = gr.themes.Base(
        primary_hue="cyan", neutral_hue="slate", font=SYSTEM_FONTS, font_mono=SYSTEM_MONO
    )
    for name, value in list(vars(theme).items()):
        if name.endswith(DARK) and value is not None:
            setattr(theme, name.removesuffix(DARK), value)
    return theme.set(body_background_fill=BACKGROUND, body_background_fill_dark=BACKGROUND)

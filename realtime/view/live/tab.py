"""The tab with the live picture, its controls and figures."""

from importlib.resources import files

from fastapi import APIRouter, Response

from qlumen.realtime.view.live.panel import LivePanel
from qlumen.realtime.view.live.stream import Steered, stream_routes
from qlumen.realtime.view.tabs import Surroundings, Tab

HEAD = (
    '<link rel="stylesheet" href="/live/live.css">'
    '<script type="module" src="/live/live.js"></script>'
)
PREFIX = "/live/"
KINDS = {"live.js": "text/javascript", "plot.js": "text/javascript", "live.css": "text/css"}


def live_tab(surroundings: Surroundings, panel: LivePanel, steered: Steered) -> Tab:
    """Make the tab.

    Args:
        panel: whose picture is shown.
        steered: what the controls reach: the panel, or a `SessionRunner`.
    """
    routes = stream_routes(panel.feed, panel.gallery, steered, surroundings.sessions.lives)
    routes.include_router(_static())
    return Tab("Live", _build, PREFIX, routes, HEAD)


def _build() -> None:
    import gradio as gr

    gr.HTML(_read("live.html"), elem_id="qlumen-live-tab", apply_default_css=False)


def _static() -> APIRouter:
    routes = APIRouter()

    @routes.get("/live/{name}")
    async def static(name: str) -> Response:
        kind = KINDS.get(name)
        return Response(_read(name), media_type=kind) if kind else Response(status_code=404)

    return routes


def _read(name: str) -> str:
    return files("qlumen.realtime.view").joinpath("static", name).read_text(encoding="utf-8")

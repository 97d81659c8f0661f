"""What a tab of the page is made of."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Response

from qlumen.realtime.config.settings import Settings
from qlumen.realtime.view.security.sessions import Sessions


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a tab may use.

    Attributes:
        settings: those the page was started with.
        sessions: of the browsers; `gate.SESSION_KEY` is a request's own in its ASGI scope.
        scratch: a folder of this run, removed at its end; what Gradio keeps lies in it.
    """

    settings: Settings
    sessions: Sessions
    scratch: Path


@dataclass(frozen=True, slots=True)
class Tab:
    """A part of the page.

    Attributes:
        title: shown on it.
        build: makes its Gradio components; called once, inside of the tab.
        prefix: such as `/live/`, which no other tab has; the paths of all `routes` begin with it.
        routes: of its own, on the page's host and behind the same checks.
        head: for the page's `<head>`, such as a style sheet of its own.
        close: called when the page ends.
    """

    title: str
    build: Callable[[], None]
    prefix: str = ""
    routes: APIRouter | None = None
    head: str = ""
    close: Callable[[], None] = lambda: None


def read_static(name: str) -> str:
    """Read a text file of the page."""
    return files("qlumen.realtime.view").joinpath("static", name).read_text(encoding="utf-8")


def build_html(name: str) -> None:
    """Make the Gradio component that holds the page's `NAME.html`, as a tab's `build`."""
    import gradio as gr

    html = read_static(f"{name}.html")
    gr.HTML(html, elem_id=f"qlumen-{name}-tab", apply_default_css=False)


def add_files(routes: APIRouter, path: str, kinds: Mapping[str, str]) -> None:
    """Serve the page's files whose names are in `kinds`, with these media types, below `path`."""

    @routes.get(path + "{name}")
    def file(name: str) -> Response:
        kind = kinds.get(name)
        return Response(read_static(name), media_type=kind) if kind else Response(status_code=404)

"""Defines the tabs of the page and what they may use."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, Response

from qlumen.realtime.config.settings import Settings
from qlumen.realtime.view.security.sessions import Sessions


@dataclass(frozen=True, slots=True)
class PageContext:
    """Holds what a tab may use.

    Attributes:
        settings: settings at the start of the page.
        sessions: sessions of the browsers; a request's own is at `SESSION_KEY` in its scope.
        scratch: folder of this run, removed at its end; it holds Gradio's files.
    """

    settings: Settings
    sessions: Sessions
    scratch: Path


@dataclass(frozen=True, slots=True)
class Tab:
    """Describes a tab of the page.

    Attributes:
        build: function that makes the Gradio components; called once, inside the tab.
        prefix: unique prefix of all `routes`, such as `/live/`.
        routes: routes on the page's host, behind the same checks.
        head: HTML for the page's `<head>`, such as a style sheet.
        close: function that is called when the page ends.
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
    """Make the Gradio component with the page's `NAME.html`, as a tab's `build`."""
    import gradio as gr

    html = read_static(f"{name}.html")
    gr.HTML(html, elem_id=f"qlumen-{name}-tab", apply_default_css=False)


def add_files(routes: APIRouter, path: str, kinds: Mapping[str, str]) -> None:
    """Serve the page's files in `kinds`, with these media types, below `path`."""

    @routes.get(path + "{name}")
    def file(name: str) -> Response:
        kind = kinds.get(name)
        return Response(read_static(name), media_type=kind) if kind else Response(status_code=404)

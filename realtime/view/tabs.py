"""What a tab of the page is made of."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fastapi import APIRouter

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


def _nothing() -> None:
    pass


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
    close: Callable[[], None] = _nothing

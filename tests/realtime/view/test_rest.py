"""Programs read the state and the lesions of a live session, as OpenAPI describes them."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlumen.errors import SinkError
from qlumen.realtime.view.live.rest import LesionEvent, LesionNews, SessionState
from qlumen.realtime.view.security.passwords import read_password, write_password

from support.live_frames import frame
from support.live_process import wait_until
from support.page import Shown, open_page


def get(site: Shown, path: str, headers: dict[str, str] | None = None) -> HTTPResponse:
    """Ask for a path; the answer's connection stays open."""
    connection = HTTPConnection(urlsplit(site.url).netloc, timeout=60)
    connection.request("GET", path, headers=headers or {})
    return connection.getresponse()


def read_events(answer: HTTPResponse) -> Iterator[tuple[int, str, LesionEvent]]:
    """Read server-sent events as the WHATWG describes them: fields, and a blank line behind."""
    fields: dict[str, str] = {}
    while line := answer.readline().decode():
        name, _, value = line.rstrip("\n").partition(": ")
        if name and not line.startswith(":"):
            fields[name] = value
        elif fields:
            event = LesionEvent.model_validate_json(fields["data"])
            yield int(fields["id"]), fields["event"], event
            fields = {}


def test_state_follows_the_session(site: Shown) -> None:
    """It is that of the page while a session runs."""
    wait_until(lambda: "ai" in site.panel.state(), "no frame was shown")
    answer = get(site, "/live/api/state")
    state = SessionState.model_validate_json(answer.read())
    page = site.panel.state()
    assert (state.running, state.source) == (True, page["source"])
    assert state.ai in ("on", "late", "off")
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"


def test_events_arrive_and_can_be_caught_up_with(site: Shown) -> None:
    """A client gets what happens from then on; with the last number, what it missed."""
    answer = get(site, "/live/api/events")
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.readline() == b": lesions\n"
    site.panel.news(frame(1, {901}))
    wanted = (event for event in read_events(answer) if event[2].lesion == 901)
    number, kind, event = next(wanted)
    assert (kind, event.type) == ("new", "new")
    site.panel.news(frame(2, set()))
    again = get(site, "/live/api/events", {"Last-Event-ID": str(number)})
    later = (event for event in read_events(again) if event[2].lesion == 901)
    missed, kind, _ = next(later)
    assert missed > number
    assert kind == "end"
    for each in (answer, again):
        each.close()


def take_all_places(news: LesionNews) -> list[Callable[[], None]]:
    places: list[Callable[[], None]] = []
    with suppress(SinkError):
        while len(places) < 100:
            places.append(news.wait(lambda: None))
    return places


def test_too_many_clients_are_refused(site: Shown) -> None:
    """One more than `view.viewers` gets 503 and the reason; a client that leaves makes room."""
    answer = get(site, "/live/api/events")
    places = take_all_places(site.panel.news)
    assert 0 < len(places) < 20
    refused = get(site, "/live/api/events")
    assert refused.status == 503
    reason = json.loads(refused.read())["detail"]
    assert reason == "20 clients follow the lesions already; raise view.viewers"
    answer.close()
    wait_until(lambda: get(site, "/live/api/events").status == 200, "nobody made room")
    for leave in places:
        leave()


def test_description_names_both(site: Shown) -> None:
    """OpenAPI 3 lists two paths that can only be read, with their fields."""
    text = json.loads(get(site, "/live/api/openapi.json").read())
    assert text["openapi"].startswith("3.")
    assert {path: list(methods) for path, methods in text["paths"].items()} == {
        "/live/api/state": ["get"],
        "/live/api/events": ["get"],
    }
    assert "lesions" in text["components"]["schemas"]["SessionState"]["properties"]


def test_a_password_is_asked_for(tmp_path: Path) -> None:
    """Without a session nothing is told, as for the page itself."""
    file = tmp_path / "password"
    write_password(file, "secret words")
    with open_page(tmp_path, password=read_password(file)) as shown:
        for path in ("state", "events", "openapi.json"):
            assert get(shown, f"/live/api/{path}").status in (303, 401)


@given(st.lists(st.sets(st.integers(1, 4)), max_size=20), st.integers(0, 30))
def test_events_have_rising_numbers(views: list[set[int]], last: int) -> None:
    """Whoever has seen number n gets the rest, in order, none twice."""
    news = LesionNews(clients=1)
    for index, lesions in enumerate(views):
        news(frame(index, lesions))
    numbers = [number for number, _ in news.after(last)]
    assert numbers == list(range(last + 1, news.newest + 1))


def test_waiting_ends() -> None:
    """Each event wakes who waits, until they leave."""
    news, woken = LesionNews(clients=1), threading.Event()
    leave = news.wait(woken.set)
    news(frame(0, {1}))
    wait_until(woken.is_set, "nobody was woken")
    leave()
    woken.clear()
    news(frame(1, set()))
    assert not woken.is_set()


pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

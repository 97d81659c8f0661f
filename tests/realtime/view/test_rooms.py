"""Tests the page of several rooms: who may see which one, and what a browser shows."""

import sys
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from fastapi.testclient import TestClient
from rich.console import Console
from selenium import webdriver
from starlette.websockets import WebSocketDisconnect

from qlumen.realtime.config.rooms import Room, load_rooms
from qlumen.realtime.live.rooms import Rooms
from qlumen.realtime.view.live.panel import LivePanel
from qlumen.realtime.view.rooms import Logins, RoomsPage, open_rooms_page
from qlumen.realtime.view.security.login import FREE_TRIES
from qlumen.realtime.view.security.passwords import Password, read_password, write_password
from qlumen.realtime.view.security.sessions import Sessions

from support.live_process import wait_until
from support.page import LEAST_CONTRAST, SMALL, contrasts
from support.small_network import small_network

BASE = "http://127.0.0.1:7860"
OWN = {"Origin": BASE}
WORDS = ("the grid's password", "the password of b")


@pytest.fixture(scope="module")
def passwords(tmp_path_factory: pytest.TempPathFactory) -> list[Password]:
    folder = tmp_path_factory.mktemp("passwords")
    for number, word in enumerate(WORDS):
        write_password(folder / str(number), word)
    return [read_password(folder / str(number)) for number in range(len(WORDS))]


def make_page(grid: Password | None, of_b: Password | None, root: str = "") -> TestClient:
    page = RoomsPage(root, False, Logins(grid, "qlumen_7860", Sessions(1.0)))
    for room, password in zip(named("a", "b", "c"), (None, of_b, None), strict=True):
        page.add(room, LivePanel(room.settings), password)
    return TestClient(page, BASE, follow_redirects=False)


def named(*names: str) -> list[Room]:
    rooms = load_rooms(None, [], ["scene"] * len(names))
    return [
        Room(room.section.model_copy(update={"name": name}), room.settings)
        for room, name in zip(rooms, names, strict=True)
    ]


def log_in(page: TestClient, path: str, word: str) -> int:
    return page.post(f"{path}/login", data={"password": word}, headers=OWN).status_code


def opens(page: TestClient, room: str, root: str = "") -> bool:
    """Check that page, state and video of a room are either all open or all closed."""
    path = f"{root}/rooms/{room}/"
    answers = [page.get(path).status_code, page.get(f"{path}live/api/state").status_code]
    socket = page.websocket_connect(f"ws://127.0.0.1:7860{path}live/stream")
    try:
        with suppress(CancelledError), socket:  # so the client ends the server's task
            answers.append(200 if "running" in socket.receive_json() else 500)
    except WebSocketDisconnect:
        answers.append(401)
    assert answers in ([200, 200, 200], [303, 401, 401])
    return answers[0] == 200


def test_without_passwords_all_is_open_on_this_computer_only(passwords: list[Password]) -> None:
    """Every room answers to a loopback name, none to another, and an unknown one is not found."""
    page = make_page(None, None)
    assert page.get("/").status_code == 200
    assert all(opens(page, room) for room in "abc")
    for path in ("/", "/rooms/a/", "/rooms/a/live/api/state"):
        assert page.get(path, headers={"Host": "evil.example"}).status_code == 403
    for path in ("/rooms/d/", "/rooms/a", "/rooms/a/../b/live", "/rooms//", "/rooms/a/rooms/b/"):
        assert page.get(path).status_code == 404


@pytest.mark.parametrize("root", ["", "/endo"])
def test_a_room_with_its_own_password_opens_with_no_other(
    passwords: list[Password], root: str
) -> None:
    """The grid's password opens the rooms without one, in one login; that of b opens b alone."""
    page = make_page(passwords[0], passwords[1], root)
    assert page.get(f"{root}/").status_code == 303
    assert not any(opens(page, room, root) for room in "abc")
    assert log_in(page, f"{root}/rooms/b", WORDS[0]) == 401
    assert log_in(page, f"{root}/rooms/b", WORDS[1]) == 303
    assert [opens(page, room, root) for room in "abc"] == [False, True, False]
    assert page.get(f"{root}/").status_code == 303
    assert log_in(page, f"{root}/rooms/c", WORDS[0]) == 303
    assert page.get(f"{root}/").status_code == 200
    assert all(opens(page, room, root) for room in "abc")
    page.post(f"{root}/logout", headers=OWN)
    assert [opens(page, room, root) for room in "abc"] == [False, True, False]


def test_a_stolen_cookie_of_one_room_does_not_open_another(passwords: list[Password]) -> None:
    """The token of b is nothing under the cookie's name of the grid, and the other way round."""
    page = make_page(passwords[0], passwords[1])
    log_in(page, "/rooms/b", WORDS[1])
    token = page.cookies["qlumen_7860_b"]
    page.cookies.clear()
    for name in ("qlumen_7860", "qlumen_7860_a"):
        answer = page.get("/rooms/a/", headers={"Cookie": f"{name}={token}"})
        assert answer.status_code == 303


def test_doors_of_one_password_share_the_pause_after_wrong_ones(passwords: list[Password]) -> None:
    """More doors give no more tries; the door with its own password still opens."""
    page = make_page(passwords[0], passwords[1])
    doors = ["", "/rooms/a", "/rooms/c"] * FREE_TRIES
    assert [log_in(page, door, "wrong") for door in doors[:FREE_TRIES]] == [401] * FREE_TRIES
    assert log_in(page, "/rooms/a", WORDS[0]) == 429
    assert log_in(page, "/rooms/b", WORDS[1]) == 303


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run two rooms and one whose file is not there; yield the address of their page."""
    interval = sys.getswitchinterval()
    file = tmp_path_factory.mktemp("rooms") / "rooms.yaml"
    listed = [
        {"name": name, "source": source}
        for name, source in (("left", "scene"), ("right", "pattern"), ("absent", "/no/file.mp4"))
    ]
    file.write_text(yaml.safe_dump({"rooms": listed}))
    chosen, lines = load_rooms(file, [*SMALL, small_network()]), Lines()
    with (
        open_rooms_page(chosen, Console(file=lines, width=200)) as panels,
        Rooms(chosen, Console(quiet=True), panels) as rooms,
    ):
        for panel, runner in zip(panels, rooms.runners, strict=True):
            panel.judged = runner.share.rate
        running = threading.Thread(target=rooms.run)
        running.start()
        yield lines.text.split("at ")[-1].strip()
        rooms.stop()
        running.join()
    sys.setswitchinterval(interval)


class Lines:
    """Keeps what a console prints."""

    text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None: ...


LIVE = "return document.getElementById('live').dataset.drawn || 0"


def test_the_grid_shows_all_rooms_and_a_click_opens_one(
    grid: str, browser: webdriver.Chrome
) -> None:
    """Both videos move and say how much is judged, the room without a source says why, and a click
    opens a room with its controls. All text can be read."""
    browser.get(grid)
    tiles = browser.find_elements("css selector", "iframe")
    assert [tile.get_attribute("src") for tile in tiles] == [
        f"{grid}/rooms/{name}/" for name in ("left", "right", "absent")
    ]
    for tile in tiles[:2]:
        browser.switch_to.frame(tile)
        wait_until(lambda: int(browser.execute_script(LIVE)) > 3, "a video stands still")
        wait_until(lambda: "judges" in browser.find_element("id", "live").text, "no rate")
        assert not browser.find_element("css selector", ".live-bar").is_displayed()
        browser.switch_to.default_content()
    browser.switch_to.frame(tiles[2])
    wait_until(lambda: "no such file" in browser.find_element("id", "live").text, "no reason")
    assert int(browser.execute_script(LIVE)) == 0
    browser.switch_to.default_content()
    browser.find_element("css selector", "main a").click()
    wait_until(lambda: browser.current_url == f"{grid}/rooms/left/", "the room did not open")
    wait_until(lambda: int(browser.execute_script(LIVE)) > 3, "no video")
    assert min(ratio for _, ratio in contrasts(browser, "body")) >= LEAST_CONTRAST
    toggle = browser.find_element("css selector", '[data-toggle="overlay"]')
    assert toggle.get_attribute("aria-pressed") == "true"
    toggle.click()
    wait_until(lambda: toggle.get_attribute("aria-pressed") == "false", "the overlay stays")


def test_unusable_password_files_end_the_command_before_it_begins(tmp_path: Path) -> None:
    """A room's password file that is missing or no hash is an error of the page."""
    rooms = named("a")
    wrong = tmp_path / "p"
    wrong.write_text("plain text")
    for file, kind in ((tmp_path / "missing", OSError), (wrong, Exception)):
        section = rooms[0].section.model_copy(update={"password_file": file})
        with pytest.raises(kind), open_rooms_page([Room(section, rooms[0].settings)], Console()):
            pass

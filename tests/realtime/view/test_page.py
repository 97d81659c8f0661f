"""The page in a real browser: the picture moves, the controls steer, nothing comes from outside."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from websockets.sync.client import connect

from qlumen.realtime.view.live.messages import Hold
from qlumen.realtime.view.live.tab import PICTURE_HEAD

from support.browser import DESKTOP, PHONE, console_errors, network_log, requested, resize
from support.live_process import wait_until
from support.media import read_video
from support.page import HEIGHT, LEAST_CONTRAST, WIDTH, Shown, contrasts

LATE = 10
OWN_SCHEMES = ("data:", "blob:", "about:", "chrome:")
PIXELS = """
const canvas = document.querySelector(".live-picture canvas");
return canvas.toDataURL("image/jpeg").length > 5000 ? canvas.toDataURL() : null;
"""


ENDLESS = """
const turns = (animation) => animation.effect.getTiming().iterations;
return document.getAnimations().filter((animation) => turns(animation) === Infinity).length;
"""
FADING = """
const seconds = (text) => Math.max(...text.split(",").map(parseFloat));
return [...document.querySelectorAll("gradio-app *")].filter((element) => {
  const { transitionDuration, animationDuration, animationName } = getComputedStyle(element);
  const lasts = animationName === "none" ? 0 : seconds(animationDuration);
  return seconds(transitionDuration) + lasts > 0;
}).map((element) => element.outerHTML.slice(0, 80));
"""


@pytest.fixture(scope="module")
def page(browser: webdriver.Chrome, shown: Shown) -> Iterator[webdriver.Chrome]:
    """The page with its picture moving; what the logs hold of other pages is dropped."""
    network_log(browser)
    console_errors(browser)
    browser.get(shown.url)
    wait_until(lambda: drawn(browser) > 0, "no picture was drawn")
    yield browser
    browser.get("about:blank")


@pytest.fixture(autouse=True)
def scene_runs(shown: Shown) -> None:
    """Each test begins with a session."""
    wait_until(lambda: shown.panel.state()["running"], "no session runs")


def drawn(page: webdriver.Chrome) -> int:
    return int(page.execute_script("return document.getElementById('live')?.dataset.drawn || 0"))


def press(page: webdriver.Chrome, key: str) -> None:
    page.find_element(By.TAG_NAME, "body").send_keys(key)


def control(page: webdriver.Chrome, selector: str) -> Any:
    return page.find_element(By.CSS_SELECTOR, f"#live {selector}")


def until(shown: Shown, true: Callable[[dict[str, Any]], bool], message: str) -> None:
    wait_until(lambda: true(shown.panel.state()), message)


def test_the_picture_moves_and_is_the_one_that_was_sent(page: webdriver.Chrome) -> None:
    """Later pixels on the canvas differ from earlier ones, and the count goes up."""
    before, first = drawn(page), page.execute_script(PIXELS)
    wait_until(lambda: drawn(page) > before + 10, "the picture stands still")
    assert first is not None
    assert page.execute_script(PIXELS) != first


def test_nothing_is_asked_of_any_other_host(page: webdriver.Chrome, shown: Shown) -> None:
    """Neither fonts nor scripts nor telemetry; and the page's scripts work under its policy."""
    wait_until(lambda: drawn(page) > 0, "no picture")
    host = urlsplit(shown.url).netloc
    addresses = requested(network_log(page))
    assert any(address.startswith("ws://") for address in addresses)
    own = [a for a in addresses if not a.startswith(OWN_SCHEMES)]
    assert {urlsplit(address).netloc for address in own} == {host}
    assert console_errors(page) == []


def test_switches_act_and_show_the_state(page: webdriver.Chrome, shown: Shown) -> None:
    """Overlay and fill, by click and by key; the buttons say so to screen readers."""
    button = control(page, '[data-toggle="overlay"]')
    button.click()
    until(shown, lambda state: not state["overlay"], "the overlay stays")
    wait_until(lambda: button.get_attribute("aria-pressed") == "false", "the button stays")
    page.execute_script("document.activeElement.blur()")
    press(page, Keys.SPACE)
    until(shown, lambda state: state["overlay"], "the overlay does not come back")
    press(page, "c")
    until(shown, lambda state: not state["fill"], "the fill stays")
    press(page, "c")
    until(shown, lambda state: state["fill"], "the fill does not come back")


def test_threshold_and_hold_move(page: webdriver.Chrome, shown: Shown) -> None:
    """By keys and by sliders; the figure beside them follows."""
    before = shown.panel.state()["threshold"]
    press(page, "-")
    until(shown, lambda state: state["threshold"] < before, "the threshold stays")
    press(page, "+")
    until(shown, lambda state: abs(state["threshold"] - before) < 0.02, "it does not come back")
    page.execute_script(
        "const hold = arguments[0]; hold.value = 0.48; hold.dispatchEvent(new Event('change'))",
        control(page, '[data-range="hold"]'),
    )
    until(shown, lambda state: state["hold_s"] == pytest.approx(0.48), "the hold stays")
    figure = control(page, '[data-out="hold"]')
    wait_until(lambda: figure.text == "0.48 s", "the hold's figure stays")
    shown.panel.do(Hold(do="hold", seconds=0.04))


def test_a_snapshot_and_a_recording_are_written(page: webdriver.Chrome, shown: Shown) -> None:
    """The picture can be read; the recording plays and has the frames of its time."""
    page.execute_script("document.activeElement.blur()")
    press(page, "s")
    wait_until(lambda: bool(list(shown.snapshots.glob("*.png"))), "no snapshot")
    wait_until(lambda: readable(next(shown.snapshots.glob("*.png"))), "the snapshot is no picture")
    others = set(shown.recordings.glob("*.mp4"))
    control(page, '[data-toggle="recording"]').click()
    until(shown, lambda state: state["recording"], "no recording began")
    before = drawn(page)
    wait_until(lambda: drawn(page) > before + 30, "the picture stands still")
    control(page, '[data-toggle="recording"]').click()
    until(shown, lambda state: not state["recording"], "the recording goes on")
    (file,) = set(shown.recordings.glob("*.mp4")) - others
    seconds, images = read_video(file)
    assert len(seconds) >= 10
    assert images[0].shape == (HEIGHT, WIDTH, 3)


def readable(file: Path) -> bool:
    image = cv2.imread(str(file))
    return image is not None and image.shape == (HEIGHT, WIDTH, 3)


def test_the_figures_are_those_of_the_session(page: webdriver.Chrome, shown: Shown) -> None:
    """Rate, delay and plot are filled, with units."""
    wait_until(lambda: "frames/s" in control(page, '[data-figure="rate"]').text, "no rate")
    wait_until(lambda: control(page, '[data-figure="delay"]').text.endswith("ms"), "no delay")
    plot = control(page, ".live-plot canvas")
    wait_until(lambda: "at most" in (plot.get_attribute("aria-label") or ""), "no plot")
    assert shown.panel.state()["rate"] > 1


def test_lesions_appear_with_their_pictures(page: webdriver.Chrome, shown: Shown) -> None:
    """Each has a thumbnail that loads, and a name for who cannot see it."""
    until(shown, lambda state: bool(state.get("tracks")), "no lesion was shown")
    loaded = "const i = document.querySelector('[data-tracks] img'); return i && i.naturalWidth > 0"
    wait_until(lambda: bool(page.execute_script(loaded)), "no thumbnail was loaded")
    image = control(page, "[data-tracks] img")
    assert image.get_attribute("alt").startswith("Lesion ")


def test_another_source_is_shown_when_chosen(page: webdriver.Chrome, shown: Shown) -> None:
    """The test pattern appears, the page keeps its connection; stopping says so."""
    choose(page, 1)
    until(shown, lambda state: state.get("source") == "pattern", "the pattern is not shown")
    canvas = control(page, ".live-picture canvas")
    wait_until(lambda: canvas.get_property("width") == 256, "its picture does not come")
    control(page, "[data-stop]").click()
    until(shown, lambda state: not state["running"], "the session goes on")
    message = control(page, ".live-message")
    wait_until(lambda: "over" in message.text, "the page does not say so")
    choose(page, 0)
    until(shown, lambda state: state.get("source") == "scene", "the scene does not come back")
    wait_until(lambda: canvas.get_property("width") == WIDTH, "its picture does not come")


def choose(page: webdriver.Chrome, index: int) -> None:
    page.execute_script(f"document.querySelector('#live select').value = {index}")
    control(page, '[type="submit"]').click()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["1280x720", "phone"])
def test_nothing_is_wider_than_the_screen(page: webdriver.Chrome, size: tuple[int, int]) -> None:
    """No sideways scrolling, the picture within the first screen and large, controls reachable."""
    resize(page, size)
    width, height = size
    time.sleep(0.5)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    box = page.execute_script(
        "return document.querySelector('.live-picture').getBoundingClientRect().toJSON()"
    )
    assert box["left"] >= 0
    assert box["right"] <= width
    assert box["bottom"] <= height
    assert box["width"] > 0.6 * width
    for button in page.find_elements(By.CSS_SELECTOR, "#live button"):
        if button.is_displayed():
            assert button.rect["x"] + button.rect["width"] <= width
    notice = page.find_element(By.ID, "qlumen-notice").rect
    assert size == PHONE or notice["y"] + notice["height"] <= height
    resize(page, DESKTOP)


def test_every_control_has_a_name(page: webdriver.Chrome) -> None:
    """Buttons, sliders, lists and canvases: by Chromium's own computation."""
    selector = "button, input, select, canvas"  # lesions come and go; they have their own test
    for element in page.find_elements(By.CSS_SELECTOR, f"#live :is({selector})"):
        if element.is_displayed():
            assert element.accessible_name, element.get_attribute("outerHTML")


def test_what_is_written_can_be_read(page: webdriver.Chrome) -> None:
    """Every text of the live tab stands out from its ground, by WCAG's formula."""
    written = contrasts(page, "#live")
    assert {"Overlay", "Age of findings", "Lesions"} <= {text for text, _ in written}
    assert [one for one in written if one[1] < LEAST_CONTRAST] == []


def test_an_alarm_is_said_at_once(page: webdriver.Chrome, shown: Shown) -> None:
    """A lesion that comes into view is told to screen readers, in words, without a wait."""
    spoken = control(page, "[data-alarm]")
    assert (spoken.aria_role, spoken.get_attribute("aria-live")) == ("alert", "assertive")
    alarm = "return document.querySelector('[data-alarm]').textContent"
    wait_until(lambda: "in view" in page.execute_script(alarm), "nothing was said")


def test_nothing_moves_where_motion_is_unwelcome(page: webdriver.Chrome) -> None:
    """Nothing repeats without end; with the system's wish for less motion nothing fades either."""
    assert page.execute_script(ENDLESS) == 0
    wish = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wish})
    fading = page.execute_script(FADING)
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert page.execute_script(FADING) != []
    assert fading == []


@contextmanager
def watching(url: str) -> Iterator[Any]:
    with connect(f"{url.replace('http', 'ws', 1)}/live/stream", compression=None) as opened:
        yield opened


def test_a_viewer_who_does_not_draw_holds_up_nobody(page: webdriver.Chrome, shown: Shown) -> None:
    """It is sent two pictures and no more; the browser beside it goes on, and so does the rest."""
    with watching(shown.url) as idle:
        pictures = 0
        before, frame = drawn(page), shown.panel.state()["frame"]
        end = time.monotonic() + 2.0
        while time.monotonic() < end:
            pictures += isinstance(idle.recv(), bytes)
        wait_until(lambda: drawn(page) > before + 10, "the browser's picture stands still")
        assert pictures == shown.panel.feed.in_flight
        assert shown.panel.state()["frame"] > frame + 10


def test_a_throttled_viewer_gets_new_pictures(page: webdriver.Chrome, shown: Shown) -> None:
    """One that answers ten frames late misses those between: what it is sent then is newer
    than all that was there before it answered."""
    frames: list[int] = []
    with watching(shown.url) as slow:
        while len(frames) < 4:
            message = slow.recv()
            if not isinstance(message, bytes):
                continue
            number, frame = PICTURE_HEAD.unpack_from(message)
            image = cv2.imdecode(np.frombuffer(message[PICTURE_HEAD.size :], np.uint8), 1)
            assert image.shape == (HEIGHT, WIDTH, 3)
            frames.append(frame)
            until(shown, lambda state: state["frame"] >= frames[-1] + LATE, "no more frames")
            slow.send(json.dumps({"do": "drawn", "number": number}))
    before, after = frames[:2], frames[2:]
    # the newest frame is told of a moment before its picture is there
    assert all(new >= old + LATE - 1 for old, new in zip(before, after, strict=True))


def test_a_dead_connection_is_noticed_and_left(shown: Shown) -> None:
    """A viewer whose socket is cut is forgotten."""
    before = shown.panel.feed.viewers
    with watching(shown.url) as cut:
        wait_until(lambda: shown.panel.feed.viewers == before + 1, "it did not join")
        cut.socket.shutdown(socket.SHUT_RDWR)
        wait_until(lambda: shown.panel.feed.viewers == before, "it was not forgotten")

"""Checks the page in a real browser: video, controls, figures and connections."""

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
from qlumen.realtime.view.live.tab import IMAGE_HEAD

from support.browser import DESKTOP, PHONE, console_errors, network_log, requested_addresses, resize
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
def page(browser: webdriver.Chrome, site: Shown) -> Iterator[webdriver.Chrome]:
    """Open the page with moving video; the logs of other pages are dropped."""
    network_log(browser)
    console_errors(browser)
    browser.get(site.url)
    wait_until(lambda: count_drawn(browser) > 0, "no frame was drawn")
    yield browser
    browser.get("about:blank")


@pytest.fixture(autouse=True)
def scene_runs(site: Shown) -> None:
    """Wait until a session runs before each test."""
    wait_until(lambda: site.panel.state()["running"], "no session runs")


def count_drawn(page: webdriver.Chrome) -> int:
    return int(page.execute_script("return document.getElementById('live')?.dataset.drawn || 0"))


def press(page: webdriver.Chrome, key: str) -> None:
    page.find_element(By.TAG_NAME, "body").send_keys(key)


def control(page: webdriver.Chrome, selector: str) -> Any:
    return page.find_element(By.CSS_SELECTOR, f"#live {selector}")


def wait_for(site: Shown, true: Callable[[dict[str, Any]], bool], message: str) -> None:
    wait_until(lambda: true(site.panel.state()), message)


def test_the_video_moves(page: webdriver.Chrome) -> None:
    """Later pixels on the canvas differ from earlier ones, and the count goes up."""
    before, first = count_drawn(page), page.execute_script(PIXELS)
    wait_until(lambda: count_drawn(page) > before + 10, "the video stands still")
    assert first is not None
    assert page.execute_script(PIXELS) != first


def test_nothing_is_asked_of_any_other_host(page: webdriver.Chrome, site: Shown) -> None:
    """The page loads nothing from other hosts, and its scripts work under its policy."""
    wait_until(lambda: count_drawn(page) > 0, "no frame")
    host = urlsplit(site.url).netloc
    addresses = requested_addresses(network_log(page))
    assert any(address.startswith("ws://") for address in addresses)
    own = [a for a in addresses if not a.startswith(OWN_SCHEMES)]
    assert {urlsplit(address).netloc for address in own} == {host}
    assert console_errors(page) == []


def test_switches_act_and_show_the_state(page: webdriver.Chrome, site: Shown) -> None:
    """Overlay and fill change by click and by key, and the buttons show it to screen readers."""
    button = control(page, '[data-toggle="overlay"]')
    button.click()
    wait_for(site, lambda state: not state["overlay"], "the overlay stays")
    wait_until(lambda: button.get_attribute("aria-pressed") == "false", "the button stays")
    page.execute_script("document.activeElement.blur()")
    press(page, Keys.SPACE)
    wait_for(site, lambda state: state["overlay"], "the overlay does not come back")
    press(page, "c")
    wait_for(site, lambda state: not state["fill"], "the fill stays")
    press(page, "c")
    wait_for(site, lambda state: state["fill"], "the fill does not come back")


def test_dial_and_hold_move(page: webdriver.Chrome, site: Shown) -> None:
    """Keys and sliders move them, and the figure beside the slider follows."""
    press(page, "-")
    wait_for(site, lambda state: state["sensitivity"] == 2, "the dial stays")
    press(page, "+")
    wait_for(site, lambda state: state["sensitivity"] == 3, "it does not come back")
    page.execute_script(
        "const dial = arguments[0]; dial.value = 5; dial.dispatchEvent(new Event('change'))",
        control(page, '[data-range="sensitivity"]'),
    )
    wait_for(site, lambda state: state["sensitivity"] == 5, "the slider does nothing")
    figure = control(page, '[data-out="sensitivity"]')
    wait_until(lambda: figure.text == "5", "the dial's figure stays")
    press(page, "-")
    press(page, "-")
    page.execute_script(
        "const hold = arguments[0]; hold.value = 0.48; hold.dispatchEvent(new Event('change'))",
        control(page, '[data-range="hold"]'),
    )
    wait_for(site, lambda state: state["hold_s"] == pytest.approx(0.48), "the hold stays")
    figure = control(page, '[data-out="hold"]')
    wait_until(lambda: figure.text == "0.48 s", "the hold's figure stays")
    site.panel.do(Hold(do="hold", seconds=0.04))


def test_a_snapshot_and_a_recording_are_written(page: webdriver.Chrome, site: Shown) -> None:
    """The snapshot can be read, and the recording plays with the frames of its time."""
    page.execute_script("document.activeElement.blur()")
    press(page, "s")
    wait_until(lambda: bool(list(site.snapshots.glob("*.png"))), "no snapshot")
    wait_until(lambda: is_readable(next(site.snapshots.glob("*.png"))), "the snapshot is no image")
    others = set(site.recordings.glob("*.mp4"))
    control(page, '[data-toggle="recording"]').click()
    wait_for(site, lambda state: state["recording"], "no recording began")
    before = count_drawn(page)
    wait_until(lambda: count_drawn(page) > before + 30, "the video stands still")
    control(page, '[data-toggle="recording"]').click()
    wait_for(site, lambda state: not state["recording"], "the recording goes on")
    (file,) = set(site.recordings.glob("*.mp4")) - others
    seconds, images = read_video(file)
    assert len(seconds) >= 10
    assert images[0].shape == (HEIGHT, WIDTH, 3)


def is_readable(file: Path) -> bool:
    image = cv2.imread(str(file))
    return image is not None and image.shape == (HEIGHT, WIDTH, 3)


def test_the_figures_are_those_of_the_session(page: webdriver.Chrome, site: Shown) -> None:
    """The page shows rate, delay and plot with their units."""
    wait_until(lambda: "frames/s" in control(page, '[data-figure="rate"]').text, "no rate")
    wait_until(lambda: control(page, '[data-figure="delay"]').text.endswith("ms"), "no delay")
    plot = control(page, ".live-plot canvas")
    wait_until(lambda: "at most" in (plot.get_attribute("aria-label") or ""), "no plot")
    assert site.panel.state()["rate"] > 1


def test_lesions_appear_with_their_images(page: webdriver.Chrome, site: Shown) -> None:
    """Each lesion has a thumbnail that loads, and a name for screen readers."""
    wait_for(site, lambda state: bool(state.get("tracks")), "no lesion was shown")
    loaded = "const i = document.querySelector('[data-tracks] img'); return i && i.naturalWidth > 0"
    wait_until(lambda: bool(page.execute_script(loaded)), "no thumbnail was loaded")
    image = control(page, "[data-tracks] img")
    assert image.get_attribute("alt").startswith("Lesion ")


def test_another_source_is_shown_when_chosen(page: webdriver.Chrome, site: Shown) -> None:
    """The test pattern appears on the same connection, and the page shows the stop."""
    choose(page, 1)
    wait_for(site, lambda state: state.get("source") == "pattern", "the pattern is not shown")
    canvas = control(page, ".live-picture canvas")
    wait_until(lambda: canvas.get_property("width") == 256, "its video does not come")
    control(page, "[data-stop]").click()
    wait_for(site, lambda state: not state["running"], "the session goes on")
    message = control(page, ".live-message")
    wait_until(lambda: "over" in message.text, "the page does not say so")
    choose(page, 0)
    wait_for(site, lambda state: state.get("source") == "scene", "the scene does not come back")
    wait_until(lambda: canvas.get_property("width") == WIDTH, "its video does not come")


def choose(page: webdriver.Chrome, index: int) -> None:
    page.execute_script(f"document.querySelector('#live select').value = {index}")
    control(page, '[type="submit"]').click()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["1280x720", "phone"])
def test_nothing_is_wider_than_the_screen(page: webdriver.Chrome, size: tuple[int, int]) -> None:
    """The video is large and on the first screen, and nothing needs sideways scrolling."""
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
    """Buttons, sliders, lists and canvases have a name, as Chromium computes it."""
    selector = "button, input, select, canvas"  # lesions come and go; they have their own test
    for element in page.find_elements(By.CSS_SELECTOR, f"#live :is({selector})"):
        if element.is_displayed():
            assert element.accessible_name, element.get_attribute("outerHTML")


def test_what_is_written_can_be_read(page: webdriver.Chrome) -> None:
    """Every text of the live tab has enough contrast by WCAG's formula."""
    written = contrasts(page, "#live")
    assert {"Overlay", "Age of findings", "Lesions"} <= {text for text, _ in written}
    assert [one for one in written if one[1] < LEAST_CONTRAST] == []


def test_an_alarm_is_announced_immediately(page: webdriver.Chrome, site: Shown) -> None:
    """Screen readers announce a lesion that comes into view, in words and without a wait."""
    spoken = control(page, "[data-alarm]")
    assert (spoken.aria_role, spoken.get_attribute("aria-live")) == ("alert", "assertive")
    alarm = "return document.querySelector('[data-alarm]').textContent"
    wait_until(lambda: "in view" in page.execute_script(alarm), "nothing was announced")


def test_nothing_moves_where_motion_is_unwelcome(page: webdriver.Chrome) -> None:
    """No animation repeats without end; if the system wants less motion, nothing fades."""
    assert page.execute_script(ENDLESS) == 0
    wish = [{"name": "prefers-reduced-motion", "value": "reduce"}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wish})
    fading = page.execute_script(FADING)
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert page.execute_script(FADING) != []
    assert fading == []


@contextmanager
def watch(url: str) -> Iterator[Any]:
    with connect(f"{url.replace('http', 'ws', 1)}/live/stream", compression=None) as opened:
        yield opened


def test_a_viewer_that_does_not_draw_delays_nobody(page: webdriver.Chrome, site: Shown) -> None:
    """The viewer gets two images only; the browser and the session continue."""
    with watch(site.url) as idle:
        images = 0
        before, frame = count_drawn(page), site.panel.state()["frame"]
        end = time.monotonic() + 2.0
        while time.monotonic() < end:
            images += isinstance(idle.recv(), bytes)
        wait_until(lambda: count_drawn(page) > before + 10, "the browser's video stands still")
        assert images == site.panel.feed.in_flight
        assert site.panel.state()["frame"] > frame + 10


def test_a_throttled_viewer_gets_new_frames(page: webdriver.Chrome, site: Shown) -> None:
    """A viewer that answers ten frames late skips the frames between and gets newer ones."""
    frames: list[int] = []
    with watch(site.url) as slow:
        while len(frames) < 4:
            message = slow.recv()
            if not isinstance(message, bytes):
                continue
            number, frame = IMAGE_HEAD.unpack_from(message)
            image = cv2.imdecode(np.frombuffer(message[IMAGE_HEAD.size :], np.uint8), 1)
            assert image.shape == (HEIGHT, WIDTH, 3)
            frames.append(frame)
            wait_for(site, lambda state: state["frame"] >= frames[-1] + LATE, "no more frames")
            slow.send(json.dumps({"do": "drawn", "number": number}))
    before, after = frames[:2], frames[2:]
    # the state names the newest frame a moment before its image is there
    assert all(new >= old + LATE - 1 for old, new in zip(before, after, strict=True))


def test_a_dead_connection_is_noticed_and_left(site: Shown) -> None:
    """A viewer whose socket is cut is forgotten."""
    before = site.panel.feed.viewers
    with watch(site.url) as cut:
        wait_until(lambda: site.panel.feed.viewers == before + 1, "it did not join")
        cut.socket.shutdown(socket.SHUT_RDWR)
        wait_until(lambda: site.panel.feed.viewers == before, "it was not forgotten")

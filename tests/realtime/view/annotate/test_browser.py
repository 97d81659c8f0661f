"""Outlines clips in a real browser, by mouse and by keyboard, and kills the server meanwhile."""

import io
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from qlumen.realtime.pixels.arrays import Mask
from qlumen.realtime.sources.ffmpeg.container import ContainerSource
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource

from support.browser import console_errors, network_log, requested_addresses
from support.live_process import LIVE, SMALL, wait_until
from support.media import write_video
from support.page import LEAST_CONTRAST, Shown, contrasts, open_page
from support.senders import free_port
from support.small_network import small_network

COUNT, SIZE = 13, (320, 240)
REAL, REAL_FRAMES, REAL_KEYS, FAR_PX = "ldpolypvideo_test101", range(124, 145), (124, 144), 8
AT = """
const [canvas, points] = arguments, box = canvas.getBoundingClientRect();
const scale = Math.min(box.width / canvas.width, box.height / canvas.height);
const place = (value, side) => (value + 0.5 - side / 2) * scale;
return points.map(([x, y]) => [place(x, canvas.width), place(y, canvas.height)]);
"""
"""Returns the places of pixels of the frame, from the middle of the canvas."""
FETCH = """
const [address, done] = arguments;
fetch(address).then((answer) => answer.arrayBuffer()).then((all) => done([...new Uint8Array(all)]));
"""
PICK = """
const [address, done] = arguments, headers = { "Content-Type": "application/json" };
fetch(address, { method: "POST", headers, body: '{"name": "clip.mp4"}' }).then(done);
"""
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class Tab:
    """Controls the tab Annotate; the outlines are in `root`."""

    browser: webdriver.Chrome
    root: Path

    def open(self, url: str, clip: str = "clip.mp4") -> None:
        """Open a clip in the tab Recordings, then change to the tab Annotate."""
        network_log(self.browser)
        console_errors(self.browser)
        self.browser.get(url)
        wait_until(lambda: len(self.tabs()) >= 3, "no tabs")
        self.tabs()[1].click()
        option = f'#recordings [data-pick] option[value="{clip}"]'
        wait_until(lambda: self.browser.find_elements(By.CSS_SELECTOR, option), "no clips")
        self.browser.find_element(By.CSS_SELECTOR, option).click()
        self.tabs()[2].click()
        self.wait_open()

    def tabs(self) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, '[role="tab"]')

    def wait_open(self) -> None:
        wait_until(lambda: "of" in self.text("[data-where]"), self.text("[data-message]"))

    def one(self, selector: str) -> WebElement:
        wait_until(
            lambda: self.browser.find_elements(By.CSS_SELECTOR, "#annotate [data-where]"), "no tab"
        )
        return self.browser.find_element(By.CSS_SELECTOR, f"#annotate {selector}")

    def text(self, selector: str) -> str:
        return self.one(selector).text

    def press(self, *keys: str) -> None:
        for key in keys:
            ActionChains(self.browser, duration=0).send_keys(key).perform()

    def go(self, index: int) -> None:
        """Go to a frame by the keys of the slider."""
        slider = self.one("[data-place]")
        at = int(slider.get_property("value") or 0)
        slider.send_keys((Keys.ARROW_RIGHT if index > at else Keys.ARROW_LEFT) * abs(index - at))
        wait_until(lambda: f"frame {index} of" in self.text("[data-where]"), f"no frame {index}")

    def outline(self, points: Sequence[Sequence[float]]) -> None:
        """Click the points of a polygon, and close it."""
        self.press("p")
        canvas = self.one("[data-picture]")
        mouse = ActionChains(self.browser, duration=0)
        for x, y in self.browser.execute_script(AT, canvas, [list(map(float, p)) for p in points]):
            mouse.move_to_element_with_offset(canvas, round(x), round(y)).click()
        mouse.perform()
        self.press(Keys.ENTER)
        self.wait_saved()

    def wait_saved(self) -> None:
        wait_until(lambda: self.text("[data-saved]") == "Saved", "it was not saved")

    def work(self, key: str, done: Callable[[], bool]) -> None:
        self.press(key)
        wait_until(done, f"{key}: {self.text('[data-message]')}")

    def saved(self, who: str, index: int, kind: str = "") -> Mask | None:
        path = next(self.root.glob(f"*/{who}/{kind}/{index:06}.png"), None)
        return None if path is None else cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Bool]]:
    """Record the scene; return the clip and its true masks."""
    file = tmp_path_factory.mktemp("clips") / "clip.mp4"
    frames = list(SceneSource(SceneSettings(*SIZE, Fraction(25), COUNT, 3)).frames())
    write_video(file, [frame.image for frame in frames])
    truth = [frame.truth > 0 for frame in frames if frame.truth is not None]
    assert all(mask.sum() > 100 for mask in truth)
    return file, truth


@pytest.fixture(scope="module")
def page(
    clip: tuple[Path, list[Bool]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shown]:
    root = tmp_path_factory.mktemp("annotate")
    given = f"view.annotations={root}/outlines", f"view.folder={clip[0].parent}"
    with open_page(root, [*given, "view.upload_mib=20"]) as shown:
        yield shown


@pytest.fixture
def tab(browser: webdriver.Chrome, page: Shown) -> Iterator[Tab]:
    opened = Tab(browser, page.recordings.parent / "outlines")
    opened.open(page.url)
    yield opened
    browser.execute_script("localStorage.clear()")  # the annotator's name
    browser.get("about:blank")


def contour(mask: Bool) -> NDArray[np.intc]:
    """Return about 30 points of the largest piece of a mask."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    longest = max(found, key=len)[:, 0]
    return longest[:: max(1, len(longest) // 30)]


def largest(mask: Bool) -> Bool:
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    return np.asarray(labels == 1 + np.argmax(stats[1:, cv2.CC_STAT_AREA]))


def dice(one: Mask | None, other: Bool) -> float:
    assert one is not None
    return float(2 * np.count_nonzero((one > 0) & other) / (np.count_nonzero(one) + other.sum()))


def test_a_clip_is_outlined_propagated_corrected_and_exported(
    tab: Tab, clip: tuple[Path, list[Bool]]
) -> None:
    """Two outlines become those of all frames; the frame that the tool asks for is corrected."""
    truth = [largest(mask) for mask in clip[1]]
    for index in (0, COUNT - 1):
        tab.go(index)
        tab.outline(contour(truth[index]))
        assert dice(tab.saved("annotator", index), truth[index]) > 0.93
    tab.work("g", lambda: "11 propagated" in tab.text("[data-counts]"))
    moved = [dice(tab.saved("annotator", i, "propagated"), truth[i]) for i in range(1, COUNT - 1)]
    assert np.mean(moved) > 0.85
    assert "with 2 keys" in tab.text("[data-curve-text]")
    tab.press("n")
    wait_until(lambda: "propagated" in tab.text("[data-where]"), "no frame is asked for")
    asked = int(tab.one("[data-place]").get_property("value") or 0)
    tab.press("0")
    tab.wait_saved()
    assert not tab.saved("annotator", asked).any()  # type: ignore[union-attr]
    tab.press("z")
    tab.wait_saved()
    wait_until(lambda: tab.saved("annotator", asked) is None, "undo does not remove the key")
    tab.outline(contour(truth[asked]))
    drawn = tab.saved("annotator", asked)
    assert dice(drawn, truth[asked]) > 0.93
    for key in "sf":  # snap and fit answer with another outline near this one
        tab.press(key)
        wait_until(lambda: (tab.saved("annotator", asked) != drawn).any(), f"{key} did nothing")
        tab.wait_saved()
        assert dice(tab.saved("annotator", asked), truth[asked]) > 0.2  # the map is made up
        tab.press("z")
        wait_until(lambda: (tab.saved("annotator", asked) == drawn).all(), "no undo")
    tab.press("x")
    tab.wait_saved()
    assert "1 skipped" in tab.text("[data-counts]")
    tab.press("z")
    tab.wait_saved()
    tab.work("w", lambda: tab.one("[data-file]").is_displayed())
    content = tab.browser.execute_async_script(FETCH, tab.one("[data-file]").get_property("href"))
    name = next(tab.root.iterdir()).name
    with zipfile.ZipFile(io.BytesIO(bytes(content))) as archive:
        png = archive.read(f"{name}/masks/{asked:06}.png")
        assert len([one for one in archive.namelist() if "/masks/0" in one]) == COUNT
    exported = cv2.imdecode(np.frombuffer(png, np.uint8), 0)
    assert np.array_equal(exported > 0, tab.saved("annotator", asked) > 0)  # type: ignore[operator]
    assert console_errors(tab.browser) == []
    hosts = {
        one.split("/")[2] for one in requested_addresses(network_log(tab.browser)) if "//" in one
    }
    assert len({host for host in hosts if host}) == 1


def test_a_clip_is_outlined_by_keyboard_alone(tab: Tab, clip: tuple[Path, list[Bool]]) -> None:
    """Tab and keys choose the name, draw, correct, propagate, compare and export."""
    truth = [largest(mask) for mask in clip[1]]
    reach(tab, "data-who")
    tab.press("keys", Keys.TAB)  # Tab into a field selects its text
    reach(tab, "data-picture")
    wait_until(lambda: "0 outlined" not in tab.text("[data-counts]"), "no other name")
    at = [side // 2 for side in SIZE]
    for index in (0, COUNT - 1):
        reach(tab, "data-place")
        tab.press(Keys.HOME if index == 0 else Keys.END, "p")
        wait_until(lambda index=index: f"frame {index} of" in tab.text("[data-where]"), "no frame")
        x, y, width, height = cv2.boundingRect(truth[index].astype(np.uint8))
        reach(tab, "data-picture")
        for corner in ((x, y), (x + width, y), (x + width, y + height), (x, y + height)):
            at = move(tab, at, [min(a, b - 1) for a, b in zip(corner, SIZE, strict=True)])
            tab.press(" ")
        tab.press(Keys.ENTER)
        tab.wait_saved()
        saved = tab.saved("keys", index)
        assert saved is not None
        found = cv2.boundingRect(saved)
        assert np.abs(np.subtract(found, (x, y, width, height))).max() <= 2
        tab.press("b", " ")  # a dab of the brush at the cursor, and back
        wait_until(lambda i=index, s=saved: (tab.saved("keys", i) != s).any(), "no dab")
        tab.press("z")
        wait_until(lambda i=index, s=saved: (tab.saved("keys", i) == s).all(), "no undo")
    tab.work("g", lambda: "11 propagated" in tab.text("[data-counts]"))
    tab.press("n", "a")
    tab.wait_saved()
    tab.press("c")
    wait_until(lambda: tab.one("[data-table]").is_displayed(), "no comparison")
    tab.press("?")
    wait_until(lambda: tab.one("dialog").is_displayed(), "no list of keys")
    assert "Next frame to outline" in tab.text("dialog")
    tab.press(Keys.ESCAPE)
    tab.work("w", lambda: tab.one("[data-file]").is_displayed())


def reach(tab: Tab, name: str) -> None:
    """Press Tab until the element of this name has the focus, which must be visible."""
    for _ in range(80):
        focused = tab.browser.switch_to.active_element
        if focused.get_attribute(name) is not None:
            assert focused.value_of_css_property("outline-style") != "none"
            return
        tab.press(Keys.TAB)
    raise AssertionError(f"Tab does not reach {name}")


def move(tab: Tab, start: Sequence[int], end: Sequence[int]) -> list[int]:
    """Move the cursor by arrow keys, by 8 pixels and with Shift by 1."""
    for axis, (less, more) in enumerate(
        ((Keys.ARROW_LEFT, Keys.ARROW_RIGHT), (Keys.ARROW_UP, Keys.ARROW_DOWN))
    ):
        by = end[axis] - start[axis]
        far, near = divmod(abs(by), FAR_PX)
        key = more if by > 0 else less
        tab.press(key * far)
        near_by = ActionChains(tab.browser, duration=0).key_down(Keys.SHIFT)
        near_by.send_keys(key * near).key_up(Keys.SHIFT).perform()
    return list(end)


def test_what_is_written_can_be_read_and_has_a_name(tab: Tab) -> None:
    """Texts have enough contrast by WCAG's formula, controls have names, and all fits 1280x720."""
    written = contrasts(tab.browser, "#annotate")
    assert {"Propagate", "Brush", "Next frame to outline"} <= {text for text, _ in written}
    assert [one for one in written if one[1] < LEAST_CONTRAST] == []
    for element in tab.browser.find_elements(
        By.CSS_SELECTOR, "#annotate :is(button, input, select, canvas)"
    ):
        if element.is_displayed():
            assert element.accessible_name, element.get_attribute("outerHTML")
            assert element.rect["y"] + element.rect["height"] <= 720
            assert element.rect["x"] + element.rect["width"] <= 1280


@contextmanager
def serve(
    folder: Path, clips: Path, port: int, *network: str
) -> Iterator["subprocess.Popen[bytes]"]:
    settings = *SMALL, *network, f"view.annotations={folder}", f"view.folder={clips}"
    given = [part for one in settings for part in ("--set", one)]
    command = [sys.executable, "-c", LIVE, "view", "--port", str(port), *given]
    with (
        (folder.parent / "log").open("ab") as log,
        subprocess.Popen(command, stderr=log) as process,
    ):
        start = (folder.parent / "log").stat().st_size
        try:
            wait_until(
                lambda: b"the page is at" in (folder.parent / "log").read_bytes()[start:], "no page"
            )
            yield process
        finally:
            process.kill()


def test_nothing_is_lost_when_the_server_is_killed(
    browser: webdriver.Chrome, clip: tuple[Path, list[Bool]], tmp_path: Path
) -> None:
    """SIGKILL while the mouse draws: what is 2 s old is on the disk, and the rest follows."""
    port, tab = free_port(), Tab(browser, tmp_path / "outlines")
    mouse, first, second = ActionChains(browser, duration=0), (60, 60), (260, 180)
    with serve(tab.root, clip[0].parent, port, small_network()) as server:
        tab.open(f"http://127.0.0.1:{port}")
        at = int(tab.one("[data-place]").get_property("value") or 0)
        canvas = tab.one("[data-picture]")
        places = browser.execute_script(AT, canvas, [first, (60, 90), second])
        mouse.move_to_element_with_offset(canvas, *map(round, places[0])).click_and_hold()
        mouse.move_to_element_with_offset(canvas, *map(round, places[1])).pause(2).perform()
        os.kill(server.pid, signal.SIGKILL)
        server.wait(60)
    on_disk = tab.saved("annotator", at)
    assert on_disk is not None
    assert on_disk[60, 60] == on_disk[75, 60] == on_disk[90, 60] == 1
    assert on_disk[180, 260] == 0
    rest = ActionChains(browser, duration=0)
    rest.move_to_element_with_offset(canvas, *map(round, places[2])).release().perform()
    wait_until(lambda: "trying again" in tab.text("[data-saved]"), "the page says nothing")
    with serve(
        tab.root, clip[0].parent, port, small_network()
    ):  # the page waits until its recording is open again
        browser.execute_async_script(PICK, f"http://127.0.0.1:{port}/recordings/pick")
        tab.wait_saved()
        saved = tab.saved("annotator", at)
        assert saved is not None
        assert saved[60, 60] == saved[180, 260] == 1
        wait_until(lambda: "1 outlined" in tab.text("[data-counts]"), "the outline is not shown")
    browser.get("about:blank")


def test_a_real_polyp_is_followed(
    browser: webdriver.Chrome, data_dir: Path, tmp_path: Path
) -> None:
    """Ellipses in the true boxes of two frames give outlines that overlap the boxes between."""
    source = data_dir / "clips" / f"{REAL}.mp4"
    with ContainerSource(str(source)) as opened:
        images = [frame.image for frame in opened.frames() if frame.index in REAL_FRAMES]
    content: dict[str, Any] = json.loads(source.with_suffix(".boxes.json").read_text())
    boxes = {int(index): found[0] for index, found in content["boxes"].items()}
    (tmp_path / "clips").mkdir()
    write_video(tmp_path / "clips" / "clip.mp4", images)
    port, tab = free_port(), Tab(browser, tmp_path / "outlines")
    with serve(tab.root, tmp_path / "clips", port):
        tab.open(f"http://127.0.0.1:{port}")
        for index in REAL_KEYS:
            x0, y0, x1, y1 = boxes[index]
            turns = np.linspace(0, 2 * np.pi, 16, endpoint=False)
            x, y = (
                (x0 + x1) / 2 + (x1 - x0) / 2 * np.cos(turns),
                (y0 + y1) / 2 + (y1 - y0) / 2 * np.sin(turns),
            )
            tab.go(index - REAL_FRAMES.start)
            tab.outline(np.stack([x, y], axis=1).tolist())
        tab.work("g", lambda: "19 propagated" in tab.text("[data-counts]"))
        tab.press("n")
        wait_until(lambda: "propagated" in tab.text("[data-where]"), "no frame is asked for")
        tab.press("b", " ")
        tab.wait_saved()
        tab.work("w", lambda: tab.one("[data-file]").is_displayed())
    browser.get("about:blank")
    scores = []
    for index in range(129, 144, 5):
        mask = tab.saved("annotator", index - REAL_FRAMES.start, "propagated")
        assert mask is not None
        x, y, width, height = cv2.boundingRect(mask)
        scores.append(overlap((x, y, x + width, y + height), boxes[index]))
    assert np.mean(scores) > 0.6, scores


def overlap(one: Sequence[int], other: Sequence[int]) -> float:
    """Return the intersection of two boxes over their union."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0, width) * max(0, height)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return shared / (sum(areas) - shared)

"""Uses recordings as a person does: open, look, download, and read with other programs."""

import base64
import csv
import json
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from qlumen.realtime.frames import Frame
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.sinks.hash_chain import check_chain
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource

from support.browser import DESKTOP, network_log, requested_addresses
from support.live_process import wait_until
from support.media import read_video, write_image
from support.page import LEAST_CONTRAST, contrasts, page_for_recordings

pypdf = pytest.importorskip("pypdf", reason="pip install pypdf")
coco = pytest.importorskip("pycocotools.coco", reason="pip install pycocotools")

CLIP, CLIP_FRAMES, CLIP_SIZE = "ldpolypvideo_test101", 181, (560, 480)
DOWNLOADS = ("html", "pdf", "csv", "coco", "events", "video")
LEAST_CHANGE = 30
"""Levels by which the overlay changes a pixel; JPEG alone changes it by less."""
LINE_PX = 6
PIXELS = """
const [selector, done] = arguments, canvas = document.createElement("canvas");
const image = document.querySelector(selector);
image.decode().then(() => {
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  canvas.getContext("2d").drawImage(image, 0, 0);
  done(canvas.toDataURL("image/png"));
}, (error) => done(String(error)));
"""
CLICK_AT = """
const [element, share] = arguments, {left, width} = element.getBoundingClientRect();
element.dispatchEvent(new MouseEvent("click", {clientX: left + share * width, bubbles: true}));
"""
LOADED = """
return [...document.querySelectorAll(arguments[0])].every((image) => image.naturalWidth > 0)
"""
Rows = list[dict[str, str]]


class Tab:
    """Controls the tab Recordings of a page in the browser."""

    def __init__(self, browser: webdriver.Chrome, url: str, downloads: Path) -> None:
        self.browser, self.downloads = browser, downloads
        allowed = {"behavior": "allow", "downloadPath": str(downloads)}
        browser.execute_cdp_cmd("Browser.setDownloadBehavior", allowed)
        network_log(browser)
        browser.get(url)
        wait_until(lambda: len(self._tabs()) >= 2, "the page has no tabs")
        self._tabs()[1].click()
        wait_until(lambda: self.one(".rec-limits").text != "", "the tab is empty")

    def one(self, selector: str) -> WebElement:
        return self.browser.find_element(By.CSS_SELECTOR, f"#recordings {selector}")

    def all(self, selector: str) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, f"#recordings {selector}")

    def text(self, selector: str) -> str:
        return self.one(selector).text

    def open(self, file: Path) -> None:
        """Upload a file, and wait until its result is on the screen."""
        self.one("[data-upload]").send_keys(str(file))
        wait_until(lambda: self.one(".rec-result").is_displayed(), "there is no result")
        wait_until(lambda: self.browser.execute_script(LOADED, "#recordings img"), "no images")

    def _tabs(self) -> list[WebElement]:
        return self.browser.find_elements(By.CSS_SELECTOR, '[role="tab"]')

    def image(self, which: str) -> Image:
        """Read the pixels of `before` or `after`, `(H, W, 3) uint8` BGR."""
        address = self.browser.execute_async_script(PIXELS, f"#recordings [data-{which}]")
        assert address.startswith("data:"), address
        png = base64.b64decode(address.partition(",")[2])
        return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)

    def drawn_box(self) -> tuple[int, int, int, int]:
        """Return `x0, y0, x1, y1` of all pixels that the overlay changed in the shown frame."""
        change = cv2.absdiff(self.image("before"), self.image("after")).max(axis=2)
        x, y, width, height = cv2.boundingRect((change > LEAST_CHANGE).astype(np.uint8))
        return x, y, x + width, y + height

    def is_drawn_around(self, box: Sequence[int]) -> bool:
        """Check whether the overlay surrounds the box at a line's width."""
        return bool(np.abs(np.subtract(self.drawn_box(), box)).max() <= LINE_PX)

    def go(self, place: int) -> None:
        """Jump to a frame by a click into the timeline."""
        count = int(self.one("[data-place]").get_property("max")) + 1
        self.browser.execute_script(CLICK_AT, self.one("[data-timeline]"), (place + 0.5) / count)
        wait_until(lambda: self.list_shown() == {str(place)}, "it did not jump there")

    def list_shown(self) -> set[str]:
        """List the frames that the two sides show; `src` only says what they will show."""
        sides = [
            self.one(f"[data-{side}]").get_property("currentSrc") for side in ("before", "after")
        ]
        return {str(address).rpartition("/")[2].partition("?")[0] for address in sides}

    def download(self, *kinds: str) -> dict[str, Path]:
        """Create and download these files."""
        before = set(self.downloads.iterdir())
        for kind in kinds:
            self.click(f'[data-kind="{kind}"] button')
        files = {}
        for kind in kinds:
            link = f'[data-kind="{kind}"] a'
            wait_until(lambda link=link: self.one(link).is_displayed(), f"no {kind} was made")
            self.click(link)
            wait_until(lambda: len(self.list_new(before)) == 1, f"{kind} was not downloaded")
            (files[kind],) = self.list_new(before)
            before.add(files[kind])
        return files

    def list_new(self, before: set[Path]) -> list[Path]:
        found = set(self.downloads.iterdir()) - before
        return [file for file in found if not file.name.endswith((".crdownload", ".tmp"))]

    def click(self, selector: str) -> None:
        self.browser.execute_script("arguments[0].click()", self.one(selector))


@pytest.fixture(scope="module")
def tab(browser: webdriver.Chrome, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with page_for_recordings() as url:
        yield Tab(browser, url, tmp_path_factory.mktemp("downloads"))
        browser.get("about:blank")


@pytest.fixture(scope="module")
def still(tab: Tab, tmp_path_factory: pytest.TempPathFactory) -> Frame:
    """Open the frame of the scene with most of a lesion in view, as `still.png`."""
    scene = SceneSource(SceneSettings(width=640, height=480, seed=1))
    frames = [scene.frame(index) for index in range(0, 200, 20)]
    frame = max(frames, key=lambda one: np.count_nonzero(one.truth))
    tab.open(write_image(tmp_path_factory.mktemp("still") / "still.png", frame.image))
    return frame


@pytest.fixture
def clip_tab(tab: Tab, clip: dict[str, Path]) -> Tab:
    """Return the tab with the real recording open."""
    return tab


@pytest.fixture(scope="module")
def clip(tab: Tab, data_dir: Path) -> dict[str, Path]:
    """Review a real recording in the page and download its exports."""
    tab.open(data_dir / "clips" / f"{CLIP}.mp4")
    return tab.download(*DOWNLOADS)


@pytest.fixture(scope="module")
def rows(clip: dict[str, Path]) -> Rows:
    with clip["csv"].open(newline="") as opened:
        return list(csv.DictReader(opened))


def box_of(row: dict[str, str]) -> tuple[int, ...]:
    return tuple(int(row[key]) for key in ("x0", "y0", "x1", "y1"))


def text_of(file: Path) -> str:
    return "".join("".join(page.extract_text() for page in pypdf.PdfReader(file).pages).split())


def read_in_browser(browser: webdriver.Chrome, file: Path) -> tuple[str, list[str]]:
    """Return the text of a downloaded HTML file and its requests, when its images are there."""
    own = browser.current_window_handle
    browser.switch_to.new_window("tab")
    try:
        network_log(browser)
        browser.get(file.as_uri())
        wait_until(lambda: browser.execute_script(LOADED, "img"), "its images are broken")
        asked = [a for a in requested_addresses(network_log(browser)) if not a.startswith("data:")]
        return browser.find_element(By.TAG_NAME, "body").text, asked
    finally:
        browser.close()
        browser.switch_to.window(own)


def test_an_image_is_marked_and_reported(tab: Tab, still: Frame) -> None:
    """The overlay lies on the lesion of a scene frame; gallery, HTML and PDF show the same."""
    assert still.truth is not None
    assert cv2.absdiff(tab.image("before"), still.image).mean() < 4
    x0, y0, x1, y1 = tab.drawn_box()
    marked = np.count_nonzero(still.truth[y0:y1, x0:x1])
    assert marked > 0.5 * np.count_nonzero(still.truth)
    count = len(tab.all("[data-tracks] li"))
    assert tab.text("[data-count]") == f"{count} finding{'s' if count > 1 else ''}"
    files = tab.download("html", "pdf")
    text, asked = read_in_browser(tab.browser, files["html"])
    assert asked == [files["html"].as_uri()]
    for row in ("still.png", f"Finding{count}", "Research tool, not a medical device."):
        assert "".join(row.split()) in "".join(text.split())
        assert "".join(row.split()) in text_of(files["pdf"])


@pytest.mark.usefixtures("still")
def test_what_is_written_can_be_read_and_every_control_has_a_name(tab: Tab) -> None:
    """With a result, all texts have enough contrast (WCAG) and all controls a name (Chromium)."""
    written = contrasts(tab.browser, "#recordings")
    assert {"Play", "Export", "Report, PDF"} <= {text for text, _ in written}
    assert [one for one in written if one[1] < LEAST_CONTRAST] == []
    for element in tab.all(":is(button, input, select)"):
        if element.is_displayed():
            assert element.accessible_name, element.get_attribute("outerHTML")


@pytest.mark.usefixtures("still")
def test_the_result_fits_the_screen(tab: Tab) -> None:
    """At 1280x720 the frame, controls, timeline and notice are visible without scrolling."""
    parts = [tab.one(f"[data-{name}]") for name in ("compare", "timeline", "place", "where")]
    for part in (*parts, tab.browser.find_element(By.ID, "qlumen-notice")):
        assert part.rect["y"] + part.rect["height"] <= DESKTOP[1], part.get_attribute("outerHTML")
    assert tab.one("[data-compare]").rect["height"] > 0.4 * DESKTOP[1]


@pytest.mark.data
def test_the_overlay_and_the_timeline_are_those_of_the_table(clip_tab: Tab, rows: Rows) -> None:
    """A click into the timeline shows a frame with the boxes of the downloaded table.

    Each lesion of the table has its bar in the timeline.
    """
    bars = clip_tab.all("[data-timeline] title")
    titles = {bar.get_attribute("textContent") for bar in bars}
    lesions = {row["lesion"] for row in rows if row["lesion"]}
    assert titles == {f"Lesion {number}" for number in lesions}
    assert len(clip_tab.all("[data-tracks] li")) == len(lesions)
    for frame in (60, 150):
        clip_tab.go(frame)
        boxes = np.array([box_of(row) for row in rows if int(row["frame"]) == frame])
        assert f"{frame} at {frame / 25:.2f} s" in clip_tab.text("[data-where]")
        box = (*boxes[:, :2].min(axis=0), *boxes[:, 2:].max(axis=0))
        wait_until(lambda box=box: clip_tab.is_drawn_around(box), f"{frame} is drawn elsewhere")
    bare = sorted(set(range(CLIP_FRAMES)) - {int(row["frame"]) for row in rows})[0]
    clip_tab.go(bare)
    wait_until(lambda: clip_tab.drawn_box() == (0, 0, 0, 0), "a box is drawn without a finding")
    assert "nothing found" in clip_tab.text("[data-where]")


@pytest.mark.data
def test_the_findings_meet_the_true_boxes(rows: Rows, data_dir: Path) -> None:
    """On most frames with a polyp that was marked by hand, a finding lies on it."""
    marks = json.loads((data_dir / "clips" / f"{CLIP}.boxes.json").read_text())
    truth = {int(frame): boxes for frame, boxes in marks["boxes"].items()}
    hits = [
        any(overlap(box_of(row), box) > 0.3 for box in boxes
            for row in rows if int(row["frame"]) == frame)
        for frame, boxes in truth.items()
    ]  # fmt: skip
    assert sum(hits) > 0.5 * len(hits)


def overlap(one: Any, other: Any) -> float:
    """Return the intersection over union of two boxes `x0, y0, x1, y1`."""
    x0, y0 = np.maximum(one[:2], other[:2])
    x1, y1 = np.minimum(one[2:], other[2:])
    both = max(0, x1 - x0) * max(0, y1 - y0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return float(both / (sum(areas) - both))


@pytest.mark.data
def test_the_reports_say_what_the_page_says(
    clip_tab: Tab, clip: dict[str, Path], rows: Rows
) -> None:
    """HTML, which makes no request, and PDF have the page's file, frames and lesions."""
    numbers = {int(row["lesion"]) for row in rows if row["lesion"]}
    lesions = len(numbers)
    assert clip_tab.text("[data-count]").startswith(f"{lesions} lesions")
    text, asked = read_in_browser(clip_tab.browser, clip["html"])
    assert asked == [clip["html"].as_uri()]
    words, paper = "".join(text.split()), text_of(clip["pdf"])
    for part in (f"{CLIP}.mp4", f"{lesions}lesionsfollowed", "181", "560x480px", "0:07.2",
                 f"Lesion{max(numbers)}", "Researchtool,notamedicaldevice."):  # fmt: skip
        assert part in words, part
        assert part in paper, part


@pytest.mark.data
@pytest.mark.skipif(shutil.which("pdftoppm") is None, reason="apt install poppler-utils")
def test_the_pages_of_the_pdf_are_drawn(clip: dict[str, Path], tmp_path: Path) -> None:
    """Poppler draws each page without an error.

    Each page has text in its footer and nothing beyond its margins. The lesions are in colour.
    """
    command = ["pdftoppm", "-r", "40", "-png", str(clip["pdf"]), str(tmp_path / "page")]
    drawn = subprocess.run(command, capture_output=True, check=True)
    assert drawn.stderr == b""
    pages = [cv2.imread(str(file)) for file in sorted(tmp_path.iterdir())]
    assert len(pages) == len(pypdf.PdfReader(clip["pdf"]).pages) > 2
    for page in pages:
        height, width = page.shape[:2]
        assert (page[-height // 12 :] < 200).any()
        margin = width // 25
        assert (page[:, :margin] == 255).all()
        assert (page[:, -margin:] == 255).all()
    saturation = [cv2.cvtColor(page, cv2.COLOR_BGR2HSV)[..., 1] for page in pages]
    assert sum(np.count_nonzero(one > 80) for one in saturation) > 10_000


@pytest.mark.data
def test_the_video_has_every_frame_with_its_overlay(
    clip: dict[str, Path], rows: Rows, data_dir: Path
) -> None:
    """PyAV reads 181 frames at 25 frames/s; exactly those with a finding in the table differ."""
    with av.open(str(clip["video"])) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.average_rate) == ("h264", Fraction(25))
        assert (stream.width, stream.height) == CLIP_SIZE
    times, frames = read_video(clip["video"])
    assert len(frames) == CLIP_FRAMES
    assert all(later - earlier == Fraction(1, 25) for earlier, later in pairwise(times))
    _, plain = read_video(data_dir / "clips" / f"{CLIP}.mp4")
    found = {int(row["frame"]) for row in rows}
    worst = [int(cv2.absdiff(a, b).max()) for a, b in zip(frames, plain, strict=True)]
    assert {place for place, change in enumerate(worst) if change > 90} == found


@pytest.mark.data
def test_tables_agree_frame_by_frame(clip: dict[str, Path], rows: Rows) -> None:
    """COCO, events and CSV have the same findings and areas, and the hash chain is intact."""
    data = coco.COCO(str(clip["coco"]))
    assert sorted(data.getImgIds()) == list(range(CLIP_FRAMES))
    assert check_chain(clip["events"]).fault is None
    lines = [json.loads(line) for line in clip["events"].read_text().splitlines()]
    frames = {line["frame"]: line for line in lines if "findings" in line}
    assert sorted(frames) == list(range(CLIP_FRAMES))
    for frame in range(CLIP_FRAMES):
        table = [row for row in rows if int(row["frame"]) == frame]
        marked = data.loadAnns(data.getAnnIds(imgIds=[frame]))
        areas = [int(row["area_px"]) for row in table]
        assert [int(data.annToMask(one).sum()) for one in marked] == areas
        assert [one["area_px"] for one in frames[frame]["findings"]] == areas


@pytest.mark.data
def test_another_threshold_changes_the_findings_and_the_exports(clip_tab: Tab) -> None:
    """The slider changes the findings; files of the earlier findings are no longer offered."""
    before = clip_tab.text("[data-count]")
    slider = clip_tab.one("[data-high]")
    clip_tab.browser.execute_script(
        "arguments[0].value = 0.95; arguments[0].dispatchEvent(new Event('input'))", slider
    )
    wait_until(lambda: clip_tab.text("[data-count]") != before, "the findings stay")
    link = clip_tab.one('[data-kind="csv"] a')
    wait_until(lambda: not link.is_displayed(), "the old table is still offered")
    assert clip_tab.text("[data-high-out]") == "0.95"

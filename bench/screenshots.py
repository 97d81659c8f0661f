"""Makes the images of the documentation from the built-in scene.

    python bench/screenshots.py FOLDER

Writes `scene.webp`, an animation of a replay; `view-live.png` (1280x720) and `view-phone.png`,
the live page while a lesion is in view; `view-recordings.png`, a finished review; and
`view-annotate.png`, outlines that were carried from two frames to all others.
"""

import argparse
import io
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from rich.console import Console
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.live.outputs import LiveOutputs
from qlumen.realtime.replay.replay import Outputs, replay
from qlumen.realtime.view.live.panel import LivePanel
from qlumen.realtime.view.live.runner import SessionRunner
from qlumen.realtime.view.security.access import Access
from qlumen.realtime.view.site import Site

from support.browser import DESKTOP, PHONE, chromium, resize
from support.recording import record_scene

SETTINGS = ("scene.seed=1", "source.loop=true", "view.port=0", "live.max_age_ms=500")
"""All else is as by default; the browser's capture of the page delays the AI."""
SIZES = {"view-live.png": DESKTOP, "view-phone.png": PHONE}
RECORDINGS, RECORDED_FRAMES = "view-recordings.png", 200
ANNOTATE, KEYS = "view-annotate.png", (0, 40)
ANIMATION, ANIMATED_FRAMES, MAX_ANIMATION_BYTES = "scene.webp", 126, 2_000_000
ANIMATION_SETTINGS = (
    "scene.seed=3", f"scene.frames={ANIMATED_FRAMES}", "snapshots.every=2",
)  # fmt: skip
FRAME_MS, CROP, ANIMATION_SIZE, QUALITY = 80, (200, 0, 1080, 720), (550, 450), 70
COLOURS = 256
MAX_BYTES = 400_000
PATIENCE_S = 180
ROOM_FOR_A_SCREEN_S = 0.5
DRAWN = "return Number(document.getElementById('live')?.dataset.drawn || 0)"
REVIEWED = """
const images = [...document.querySelectorAll("#recordings :is([data-tracks] img, [data-after])")];
return images.length > 1 && images.every((image) => image.naturalWidth > 0);
"""
IN_VIEW = "return Boolean(document.querySelector('.live-now img')?.naturalWidth)"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--set", action="append", default=[], help="a setting")
    options = arguments.parse_args()
    outlines = TemporaryDirectory()
    settings = load_settings(None, [*SETTINGS, f"view.annotations={outlines.name}", *options.set])
    write_animation(options.folder / ANIMATION)
    panel = LivePanel(settings)
    outputs = LiveOutputs(recordings=options.folder, snapshots=options.folder / "none")
    with (
        SessionRunner(
            panel, ["scene", "pattern"], outputs, settings, Console(stderr=True)
        ) as runner,
        Site(Access("127.0.0.1", 0), panel, runner, settings) as site,
        chromium() as browser,
    ):
        runner.choose(0)
        browser.get(site.url)
        for name, size in SIZES.items():
            resize(browser, size)
            write(options.folder / name, take_screenshot(browser))
        runner.choose(None)
        resize(browser, DESKTOP)
        with TemporaryDirectory() as scratch:
            recording = record_scene(Path(scratch) / "scene.mp4", RECORDED_FRAMES)
            write(options.folder / RECORDINGS, show_review(browser, recording))
            write(options.folder / ANNOTATE, show_outlines(browser))
    outlines.cleanup()
    (options.folder / "none").rmdir()


def write_animation(path: Path) -> None:
    """Write the overlay of a replay, cut to the endoscope's field, as an animated WebP."""
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "frames"
        replay("scene", Outputs(snapshots=folder), load_settings(None, ANIMATION_SETTINGS))
        files = sorted(folder.iterdir())
        first, *rest = (Image.open(file).crop(CROP).resize(ANIMATION_SIZE) for file in files)
        first.save(
            path, save_all=True, append_images=rest, duration=FRAME_MS, loop=0, quality=QUALITY
        )
    check_size(path, MAX_ANIMATION_BYTES)


def take_screenshot(browser: webdriver.Chrome) -> bytes:
    """Return the page as PNG while a lesion is in view."""
    before = browser.execute_script(DRAWN)
    wait(lambda: browser.execute_script(DRAWN) > before, "no new frame was drawn")
    wait(lambda: browser.execute_script(IN_VIEW), "no lesion came into view")
    time.sleep(ROOM_FOR_A_SCREEN_S)
    png: bytes = browser.get_screenshot_as_png()
    return png


def show_review(browser: webdriver.Chrome, recording: Path) -> bytes:
    """Return the tab with the recording's result as PNG."""
    browser.find_elements(By.CSS_SELECTOR, '[role="tab"]')[1].click()
    wait(lambda: bool(browser.find_elements(By.CSS_SELECTOR, "[data-upload]")), "no tab opened")
    browser.find_element(By.CSS_SELECTOR, "[data-upload]").send_keys(str(recording))
    wait(lambda: bool(browser.execute_script(REVIEWED)), "the recording has no result")
    time.sleep(ROOM_FOR_A_SCREEN_S)
    png: bytes = browser.get_screenshot_as_png()
    return png


def show_outlines(browser: webdriver.Chrome) -> bytes:
    """Accept the network's outlines of `KEYS`, carry them on, and return the tab as PNG."""
    browser.find_elements(By.CSS_SELECTOR, '[role="tab"]')[2].click()

    def read(name: str) -> str:
        found = browser.find_elements(By.CSS_SELECTOR, f"#annotate [data-{name}]")
        return found[0].text if found else ""

    def press(name: str) -> None:
        browser.find_element(By.CSS_SELECTOR, f'#annotate [data-do="{name}"]').click()

    wait(lambda: "of" in read("where"), "the recording is not open")
    for index in KEYS:
        slider = browser.find_element(By.CSS_SELECTOR, "#annotate [data-place]")
        at = int(slider.get_property("value"))
        slider.send_keys((Keys.ARROW_RIGHT if index > at else Keys.ARROW_LEFT) * abs(index - at))
        wait(lambda index=index: f"frame {index} of" in read("where"), "no frame")
        press("accept")
        wait(lambda: read("saved") == "Saved" and "of the network" in read("where"), "not saved")
    press("propagate")
    wait(lambda: "propagated" in read("counts"), "no outline was carried on")
    press("next")
    wait(lambda: "propagated" in read("where"), "no frame is asked for")
    time.sleep(ROOM_FOR_A_SCREEN_S)
    png: bytes = browser.get_screenshot_as_png()
    return png


def write(path: Path, png: bytes) -> None:
    """Store it with few colours, small enough for a repository."""
    Image.open(io.BytesIO(png)).convert("RGB").quantize(COLOURS).save(path, optimize=True)
    check_size(path, MAX_BYTES)


def check_size(path: Path, most: int) -> None:
    if path.stat().st_size > most:
        raise SystemExit(f"{path} has {path.stat().st_size} bytes; it needs {most} or fewer")
    print(f"wrote {path}, {path.stat().st_size // 1000} kB")


def wait(true: Callable[[], bool], message: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > deadline:
            raise SystemExit(message)
        time.sleep(0.05)


if __name__ == "__main__":
    main()

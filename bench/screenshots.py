"""Makes the images of the documentation from the built-in scene.

    python bench/screenshots.py FOLDER

Writes `scene.webp`, an animation of a replay; `view-live.png` (1280x720) and `view-phone.png`,
the live page while a lesion is in view; and `view-recordings.png`, a finished review.
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
    settings = load_settings(None, [*SETTINGS, *options.set])
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

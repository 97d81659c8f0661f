"""Measures live video in a browser: rate, delay from grab to pixels, and a slow viewer's delay.

    python bench/view.py [--json FILE] [--seconds N] [--webrtc] [--set KEY=VALUE ...]

It serves the test pattern at 1280x720 and 25 frames/s, with the network, and opens the page in
Chromium. A script reads the frame's number from the pixels on the canvas at each refresh of the
screen. The delay runs from the grab of that frame to the refresh. One run measures each transport:
the page's socket with one and with two frames on their way, and multipart JPEG (MJPEG), which
browsers show without a script; with `--webrtc` also aiortc (pip install aiortc). Each row has the
processor time of this process, which runs the session, and of the browser, in cores. Then a viewer
reads at 1 Mbit/s.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import psutil
from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, StreamingResponse
from rich.console import Console
from selenium import webdriver

from qlumen.realtime.config.settings import Settings, load_settings
from qlumen.realtime.frames import FrameResult
from qlumen.realtime.live.outputs import LiveOutputs
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.sources.pattern import read_number
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource
from qlumen.realtime.view import site
from qlumen.realtime.view.live.figures import Figures
from qlumen.realtime.view.live.panel import LivePanel
from qlumen.realtime.view.live.runner import SessionRunner
from qlumen.realtime.view.security.access import Access
from qlumen.realtime.view.tabs import Tab

from support.browser import chromium
from support.common import parser, report
from support.slow_viewer import watch_slowly

SIZE = ["pattern.width=1280", "pattern.height=720", "scene.width=1280", "scene.height=720"]
BOUNDARY = b"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
TRANSPORTS = ("socket, 1 on its way", "socket, 2 on their way", "MJPEG")
ENCODED = 75
WEBRTC = ("WebRTC, VP8", "WebRTC, H264")
SETTLE_S, LEAVE_S = 3.0, 10.0
READ_NUMBERS = """
const [selector, seconds, done] = arguments;
const strip = document.createElement("canvas"), blocks = 42, wide = 10;
strip.width = blocks * wide; strip.height = 1;
const paint = strip.getContext("2d", {willReadFrequently: true});
const seen = [], end = performance.now() + 1000 * seconds;
let last = -1;
function look() {
  const source = document.querySelector(selector);
  const width = source.naturalWidth || source.videoWidth || source.width;
  const height = source.naturalHeight || source.videoHeight || source.height;
  if (width) {
    paint.drawImage(source, 0, Math.round(height * 0.9375), width, 1, 0, 0, strip.width, 1);
    const pixels = paint.getImageData(0, 0, strip.width, 1).data;
    let number = 0;
    for (let bit = 0; bit < 32; bit++)
      number = 2 * number + (pixels[4 * ((2 + bit) * wide + wide / 2)] > 127 ? 1 : 0);
    if (number !== last) seen.push([number, performance.timeOrigin + performance.now()]);
    last = number;
  }
  if (performance.now() < end) requestAnimationFrame(look); else done(seen);
}
look();
"""


class GrabTimes(Figures):
    """Keeps the grab time of each frame by the number in its pixels; calls `on_image`."""

    def __init__(self) -> None:
        self.wall_ms: dict[int, float] = {}
        self.offset_ns = time.time_ns() - time.monotonic_ns()
        self.on_image: Callable[[Image], None] | None = None
        super().__init__()

    def __call__(self, result: FrameResult) -> None:
        number = read_number(result.frame.image)
        if number is not None:
            self.wall_ms[number] = (result.frame.grabbed_ns + self.offset_ns) / 1e6
        if self.on_image:
            self.on_image(result.shown)
        super().__call__(result)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--seconds", type=float, default=20.0, help="for each transport")
    arguments.add_argument("--webrtc", action="store_true", help="also measure aiortc")
    arguments.add_argument("--set", action="append", default=[], help="a setting")
    options = arguments.parse_args()
    names = [*TRANSPORTS, *(WEBRTC if options.webrtc else ())]
    settings = load_settings(None, [*SIZE, "source.loop=true", "view.port=0", *options.set])
    with (
        serve(settings, "pattern", options.webrtc) as (url, grabbed, panel),
        chromium() as browser,
    ):
        rows = [measure_unwatched(browser, grabbed, panel, options.seconds)]
        rows += [measure(browser, url, grabbed, panel, name, options.seconds) for name in names]
        _close_viewers(browser, grabbed, panel)
        rows += [
            watch_slowly(url, path, name, grabbed.wall_ms, options.seconds)
            for name, path in (("socket", "/live/stream"), ("MJPEG", "/bench/mjpeg"))
        ]
    with serve(settings, "scene") as (url, _, panel), chromium() as browser:
        scene = scene_rate(browser, url, panel, options.seconds)
    if options.webrtc:
        from webrtc import encoding

        source = SceneSource(SceneSettings(width=1280, height=720))
        images = [source.frame(index).image for index in range(ENCODED)]
        rows += encoding(images, settings.view.jpeg_quality)
    by_name = {row["name"]: row for row in rows}
    chosen, mjpeg = by_name["socket, 2 on their way"], by_name["MJPEG"]
    ratios = {
        "socket_over_mjpeg_rate": chosen["frames_per_s"] / mjpeg["frames_per_s"],
        "socket_over_mjpeg_p95": chosen["delay_ms_p95"] / mjpeg["delay_ms_p95"],
        "shown_of_published": chosen["frames_per_s"] / chosen["published_per_s"],
    }
    report([*rows, scene], ratios, options.json)


@contextmanager
def serve(
    settings: Settings, source: str, webrtc: bool = False
) -> Iterator[tuple[str, GrabTimes, LivePanel]]:
    """Serve the page with a running source, and also MJPEG and, if asked for, WebRTC."""
    panel = LivePanel(settings)
    panel.figures = grabbed = GrabTimes()
    routes = _mjpeg_routes(panel)
    if webrtc:
        from webrtc import webrtc_routes

        routes.include_router(webrtc_routes(grabbed))
    site.MORE_TABS = (lambda surroundings: Tab("Bench", lambda: None, "/bench/", routes),)
    console = Console(stderr=True)
    with (
        SessionRunner(panel, [source], LiveOutputs(), settings, console) as runner,
        site.Site(Access("127.0.0.1", 0), panel, runner, settings) as opened,
    ):
        runner.choose(0)
        while not grabbed.last:
            time.sleep(0.1)
        yield opened.url, grabbed, panel


def measure_unwatched(
    browser: webdriver.Chrome, grabbed: GrabTimes, panel: LivePanel, seconds: float
) -> dict[str, Any]:
    """Measure the session alone."""
    _close_viewers(browser, grabbed, panel)
    time.sleep(SETTLE_S)
    before, started = _cpu_times(browser), time.monotonic()
    time.sleep(seconds)
    cores = _cores(before, browser, time.monotonic() - started)
    return {"name": "nobody watches", "source_per_s": grabbed.rate(), **cores}


def measure(
    browser: webdriver.Chrome,
    url: str,
    grabbed: GrabTimes,
    panel: LivePanel,
    name: str,
    seconds: float,
) -> dict[str, Any]:
    """Measure rate and delay of one transport from the pixels."""
    selector, path = _place(name)
    _close_viewers(browser, grabbed, panel)
    panel.feed.in_flight = 1 if "1 on" in name else 2
    browser.get(f"{url}{path}")
    while not browser.execute_script(f"return document.querySelector('{selector}')"):
        time.sleep(0.1)
    time.sleep(SETTLE_S)
    published = panel.feed.published
    before, started = _cpu_times(browser), time.monotonic()
    seen = browser.execute_async_script(READ_NUMBERS, selector, seconds)
    took = time.monotonic() - started
    cores = _cores(before, browser, took)
    made = panel.feed.published - published
    delays = [at - grabbed.wall_ms[number] for number, at in seen if number in grabbed.wall_ms]
    gaps = [later[1] - earlier[1] for earlier, later in pairwise(seen)]
    return {
        "name": name,
        "frames_per_s": len(delays) / seconds,
        "published_per_s": made / took,
        "source_per_s": grabbed.rate(),
        "delay_ms_p50": float(np.percentile(delays, 50)),
        "delay_ms_p95": float(np.percentile(delays, 95)),
        "gap_ms_p95": float(np.percentile(gaps, 95)),
        "unread": len(seen) - len(delays),
        **cores,
    }


def _place(name: str) -> tuple[str, str]:
    """Return the selector of the element with the video, and the page's path."""
    if name in WEBRTC:
        return "video", f"/bench/webrtc?codec={name.split()[-1]}"
    return ("img", "/bench/page") if name == "MJPEG" else (".live-picture canvas", "")


def _cores(before: dict[str, float], browser: webdriver.Chrome, took_s: float) -> dict[str, float]:
    return {key: (value - before[key]) / took_s for key, value in _cpu_times(browser).items()}


def _close_viewers(browser: webdriver.Chrome, grabbed: GrabTimes, panel: LivePanel) -> None:
    """Leave the page and wait, so the last transport takes no time from the next one. A viewer
    that does not draw gets no more than two frames."""
    browser.get("about:blank")
    grabbed.on_image = None
    end = time.monotonic() + LEAVE_S
    while panel.feed.viewers and time.monotonic() < end:
        time.sleep(0.1)


def _cpu_times(browser: webdriver.Chrome) -> dict[str, float]:
    """Return the processor time so far of this process and of the browser, in seconds."""
    driver = psutil.Process(browser.service.process.pid)
    times = [p.cpu_times() for p in (driver, *driver.children(recursive=True))]
    own = psutil.Process().cpu_times()
    return {
        "server_cores": own.user + own.system,
        "browser_cores": sum(each.user + each.system for each in times),
    }


def scene_rate(
    browser: webdriver.Chrome, url: str, panel: LivePanel, seconds: float
) -> dict[str, Any]:
    """Measure frames a second of the scene that the page reports as drawn."""
    script = "return Number(document.getElementById('live')?.dataset.drawn || 0)"
    browser.get(url)
    while not browser.execute_script(script):
        time.sleep(0.1)
    time.sleep(SETTLE_S)
    before, started = browser.execute_script(script), time.monotonic()
    time.sleep(seconds)
    drawn = browser.execute_script(script) - before
    return {
        "name": "scene, 1280x720",
        "frames_per_s": drawn / (time.monotonic() - started),
        "source_per_s": panel.figures.rate(),
    }


def _mjpeg_routes(panel: LivePanel) -> APIRouter:
    routes = APIRouter()

    @routes.get("/bench/page")
    def page() -> HTMLResponse:
        return HTMLResponse('<body style="background:#000"><img src="/bench/mjpeg" width="960">')

    @routes.get("/bench/mjpeg")
    def mjpeg(request: Request) -> StreamingResponse:
        kind = "multipart/x-mixed-replace; boundary=picture"
        return StreamingResponse(_parts(panel), media_type=kind)

    return routes


def _parts(panel: LivePanel) -> Iterator[bytes]:
    """Yield each newest frame as soon as the network takes it."""
    news = threading.Event()
    viewer = panel.feed.join(news.set)
    try:
        while news.wait(5.0):
            news.clear()
            image = viewer.take()
            if image:
                viewer.drew(image.number)
                yield BOUNDARY % len(image.jpeg) + image.jpeg + b"\r\n"
    finally:
        viewer.leave()


if __name__ == "__main__":
    main()

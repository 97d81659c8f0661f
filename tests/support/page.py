"""Serves a page with a running scene, for tests in a browser."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from selenium import webdriver

from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.live.outputs import LiveOutputs
from qlumen.realtime.view.live.panel import LivePanel
from qlumen.realtime.view.live.runner import SessionRunner
from qlumen.realtime.view.security.access import Access
from qlumen.realtime.view.security.passwords import Password
from qlumen.realtime.view.site import Site

from support.live_process import wait_until
from support.small_network import small_network

WIDTH, HEIGHT = 160, 120
SMALL = (
    f"scene.width={WIDTH}", f"scene.height={HEIGHT}", "pattern.width=256", "pattern.height=144",
    "engine.threads=1",
    "source.loop=true", "view.port=0", "view.viewers=20", "view.upload_mib=1",
    "live.max_age_ms=2000", "temporal.hold_s=0.04", "postprocess.high=0.6",
    "watchdog.hang_s=60", "watchdog.late_frames=0",
)  # fmt: skip
SOURCES = ("scene", "pattern")
CONTRASTS = """
const channel = (value) => value <= 10.31 ? value / 3294.6 : ((value / 255 + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
const parts = (colour) => [...colour.matchAll(/[\\d.]+/g)].map(Number);
function behind(element) {
  const layers = [];
  for (let each = element; each; each = each.parentElement) {
    const [r, g, b, alpha = 1] = parts(getComputedStyle(each).backgroundColor);
    layers.push([r, g, b, alpha]);
    if (alpha === 1) break;
  }
  return layers.reduceRight((under, [r, g, b, alpha]) =>
    [r, g, b].map((value, at) => alpha * value + (1 - alpha) * under[at]), [0, 0, 0]);
}
function ratio(element) {
  const text = light(parts(getComputedStyle(element).color)), ground = light(behind(element));
  return (Math.max(text, ground) + 0.05) / (Math.min(text, ground) + 0.05);
}
const words = (node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim();
const written = (one) => one.checkVisibility() && [...one.childNodes].some(words);
return [...document.querySelectorAll(arguments[0] + " *")]
  .filter((one) => written(one) && !one.closest(":disabled"))
  .map((one) => [one.textContent.trim().slice(0, 60), ratio(one)]);
"""
"""Returns the text and contrast of all text in an element, by WCAG 2.2's relative luminance."""
LEAST_CONTRAST = 4.5
"""WCAG 2.2, 1.4.3 (AA), for text of any size."""


def contrasts(browser: webdriver.Chrome, selector: str) -> list[tuple[str, float]]:
    """Return the texts in the elements of `selector`, and their contrast to the background."""
    found = browser.execute_script(CONTRASTS, selector)
    return [(" ".join(text.split()), float(ratio)) for text, ratio in found]


@contextmanager
def page_for_recordings() -> Iterator[str]:
    """Serve the page without live video while the block runs; yield its address."""
    settings = load_settings(None, ["view.port=0", "view.upload_mib=20"])
    panel = LivePanel(settings)
    with Site(Access("127.0.0.1", 0), panel, panel, settings) as site:
        yield site.url


@dataclass(frozen=True)
class Shown:
    """Describes a page at `url`, and the folders that its controls write to."""

    url: str
    panel: LivePanel
    runner: SessionRunner
    recordings: Path
    snapshots: Path

    @contextmanager
    def live(self) -> Iterator["Shown"]:
        """Show the scene while the block runs; afterwards the processor is free again."""
        self.runner.choose(0)
        wait_until(lambda: self.panel.state()["running"], "no session began")
        yield self
        self.runner.choose(None)
        wait_until(lambda: not self.panel.state()["running"], "the session has not ended")


@contextmanager
def open_page(
    folder: Path, more: Sequence[str] = (), password: Password | None = None
) -> Iterator[Shown]:
    """Serve the page while the block runs; `more` are further settings."""
    interval = sys.getswitchinterval()
    settings = load_settings(None, [*SMALL, small_network(), *more])
    recordings, snapshots = folder / "recordings", folder / "snapshots"
    recordings.mkdir()
    panel = LivePanel(settings)
    outputs = LiveOutputs(recordings=recordings, snapshots=snapshots)
    with (
        SessionRunner(panel, SOURCES, outputs, settings, Console(quiet=True)) as runner,
        Site(Access("127.0.0.1", 0, password), panel, runner, settings) as site,
    ):
        yield Shown(site.url, panel, runner, recordings, snapshots)
    sys.setswitchinterval(interval)

"""Drives Debian's headless Chromium by Selenium, for benchmarks, screenshots and tests."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

PROGRAMS = ("chromium", "chromedriver")
OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # containers do not allow the sandbox; only our own pages are opened
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-proxy-server",
)
DESKTOP, PHONE = (1280, 720), (390, 844)


def missing() -> str | None:
    """Return why there is no browser; None if there is one."""
    lacks = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"no {', '.join(lacks)}: apt install chromium chromium-driver" if lacks else None


@contextmanager
def chromium(size: tuple[int, int] = DESKTOP) -> Iterator[webdriver.Chrome]:
    """Run a browser for the block; `size` is the width and height of its page in pixels."""
    browser, driver = (shutil.which(name) for name in PROGRAMS)
    options = Options()
    options.binary_location = browser or ""
    for option in OPTIONS:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    service = Service(driver)
    opened = webdriver.Chrome(options=options, service=service)
    try:
        opened.set_script_timeout(300)
        resize(opened, size)
        yield opened
    finally:
        webdriver.Remote.quit(opened)  # ends the browser; its driver may take a minute to end
        service.process.kill()
        service.process.wait()


def resize(browser: webdriver.Chrome, size: tuple[int, int]) -> None:
    """Give the page this width and height in pixels."""
    shape = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)


def network_log(browser: webdriver.Chrome) -> list[dict[str, Any]]:
    """Return the network events since the last call: method and parameters."""
    entries = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [entry for entry in entries if entry["method"].startswith("Network.")]


def console_errors(browser: webdriver.Chrome) -> list[dict[str, Any]]:
    """Return the errors on the console since the last call, also those of earlier pages."""
    return [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def requested_addresses(events: list[dict[str, Any]]) -> list[str]:
    """List the addresses of all requests and sockets among the events."""
    addresses = []
    for event in events:
        if event["method"] == "Network.requestWillBeSent":
            addresses.append(event["params"]["request"]["url"])
        elif event["method"] == "Network.webSocketCreated":
            addresses.append(event["params"]["url"])
    return addresses

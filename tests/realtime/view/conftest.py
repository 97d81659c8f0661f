"""Provides one page with a running scene, and one browser, for all tests of the view."""

from collections.abc import Iterator

import pytest
from selenium import webdriver

from support.browser import chromium, missing
from support.page import Shown, open_page


@pytest.fixture(scope="session")
def idle_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """Serve a page without a live session."""
    with open_page(tmp_path_factory.mktemp("page")) as page:
        yield page


@pytest.fixture(scope="module")
def site(idle_site: Shown) -> Iterator[Shown]:
    """Run the scene on the page during a module's tests."""
    with idle_site.live() as page:
        yield page


@pytest.fixture(scope="session")
def browser() -> Iterator[webdriver.Chrome]:
    """Start Chromium at 1280x720."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    with chromium() as opened:
        yield opened

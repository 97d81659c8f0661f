"""One page with a running scene, and one browser, for all tests of the view."""

from collections.abc import Iterator

import pytest
from selenium import webdriver

from support.browser import chromium, missing
from support.page import Shown, shown_page


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    """The page; nothing is live on it."""
    with shown_page(tmp_path_factory.mktemp("page")) as page:
        yield page


@pytest.fixture(scope="module")
def shown(served: Shown) -> Iterator[Shown]:
    """The page; the scene runs on it while a module's tests do."""
    with served.live() as page:
        yield page


@pytest.fixture(scope="session")
def browser() -> Iterator[webdriver.Chrome]:
    """Chromium at 1280x720."""
    reason = missing()
    if reason:
        pytest.skip(reason)
    with chromium() as opened:
        yield opened

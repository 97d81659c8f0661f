"""Builds the site of `make docs`, and reads it as a browser without a network would."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

import qlumen

ROOT = Path(__file__).resolve().parents[2]
LOADED = {("link", "href"), ("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src")}
"""What a browser loads by itself; the href of an `a` waits for a click."""


class Tags(HTMLParser):
    """Lists tags with an address, and ids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[tuple[str, str, str]] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if key in ("href", "src"):
                self.addresses.append((tag, key, value or ""))
            elif key in ("id", "name"):
                self.ids.add(value or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site, strictly."""
    if not (ROOT / ".links/qlumen/model.py").exists():
        subprocess.run(["make", "links"], cwd=ROOT, check=True)
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> Mapping[Path, Tags]:
    """Parse all pages."""
    return {path: Tags(path.read_text("utf-8")) for path in site.rglob("*.html")}


def test_each_guide_is_a_page(site: Path) -> None:
    """Each Markdown file of docs/ is a page, README the first, and programs stay away."""
    for guide in ROOT.glob("docs/**/*.md"):
        assert (site / guide.relative_to(ROOT)).with_suffix(".html").is_file(), guide
    assert "What it does" in (site / "index.html").read_text("utf-8")
    assert not list(site.glob("docs/**/*.py"))


def test_nothing_is_loaded_from_other_hosts(pages: Mapping[Path, Tags]) -> None:
    """No page loads a font, script, style or image from elsewhere."""
    assert len(pages) > 30
    foreign = [
        (page.name, address)
        for page, tags in pages.items()
        for tag, key, address in tags.addresses
        if (tag, key) in LOADED and address.startswith(("http:", "https:", "//"))
    ]
    assert not foreign


def test_styles_load_nothing_from_other_hosts(site: Path) -> None:
    """No style sheet imports one, and none has a font or image from elsewhere."""
    sheets = [path.read_text("utf-8") for path in site.rglob("*.css")]
    assert sheets
    for text in sheets:
        assert "url(http" not in text
        assert "url(//" not in text
        assert "@import" not in text


def test_links_lead_to_files_of_the_site(site: Path, pages: Mapping[Path, Tags]) -> None:
    """Each link within the site names a file, and a place in it; also those that leave docs/."""
    bad = [link for page, tags in pages.items() if page.name != "404.html"
           for link in broken(site, page, tags, pages)]  # fmt: skip
    assert not bad
    assert (site / "configs/default.yaml").read_bytes() == (
        ROOT / "configs/default.yaml"
    ).read_bytes()


def test_reference_has_each_name(site: Path, pages: Mapping[Path, Tags]) -> None:
    """The reference describes each public name, with what its docstring says."""
    page = site / "reference.html"
    assert {f"qlumen.{name}" for name in qlumen.__all__} <= pages[page].ids
    text = page.read_text("utf-8")
    for sentence in ("Judge a recording and yield its frames", "Holds what was found in one image"):
        assert sentence in text
    assert "qlumen.Model.__call__" in pages[page].ids


def broken(
    site: Path, page: Path, tags: Tags, pages: Mapping[Path, Tags]
) -> Iterator[tuple[str, str]]:
    for _, _, address in tags.addresses:
        path, _, anchor = address.partition("#")
        if ":" in path or path.startswith("//"):
            continue
        target = Path(os.path.normpath(page.parent / unquote(path))) if path else page
        here = page.relative_to(site).as_posix()
        if not target.is_file() or (anchor and target in pages and anchor not in pages[target].ids):
            yield here, address

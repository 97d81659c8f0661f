"""Checks that README and guides are short, and that what they name exists."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from qlumen.realtime.cli import commands as program
from qlumen.realtime.config.settings import load_settings
from qlumen.training.settings import TrainSettings

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("models/**/*.md"),
    ]
)
README_WORDS = 700
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|<img src=\"([^\"]+)\"")
FENCE = re.compile(r"```.*?```", re.DOTALL)
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
INLINE = re.compile(r"`((?:qlumen|make|python) [^`]+)`")
FIGURE = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
PLACEHOLDER = re.compile(r"[A-Z]{2,}|\.\.\.")


def test_readme_is_short() -> None:
    """A newcomer reads the README in a few minutes."""
    assert len((ROOT / "README.md").read_text("utf-8").split()) < README_WORDS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    """Each link within the project names a file, and a heading of it."""
    for match in LINK.finditer(FENCE.sub("", page.read_text("utf-8"))):
        target, _, anchor = (match[1] or match[2]).partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{match[0]}: no such file"
        assert not anchor or anchor in anchors(file), f"{match[0]}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_exist(page: Path) -> None:
    """Each command of a page, its options and its settings are known to the program."""
    if page.name == "CHANGELOG.md":
        return
    for line in commands(page.read_text("utf-8")):
        words = shlex.split(line, comments=True)
        if words[0] == "make":
            check_target(words)
        elif words[0] == "python":
            check_script(words)
        else:
            check_qlumen(words[1:], line)


def test_figures_of_the_readme_are_measured() -> None:
    """Each number of README's bullets and table occurs among the measurements."""
    readme = (ROOT / "README.md").read_text("utf-8")
    measured = set(FIGURE.findall((ROOT / "docs/measurements.md").read_text("utf-8")))
    start, end = readme.index("## What it does"), readme.index("## Install")
    rows = readme[readme.index("## Measured") : readme.index("## Limits")]
    missing = set(FIGURE.findall(readme[start:end] + rows)) - measured
    assert not missing


def commands(text: str) -> Iterator[str]:
    """Yield the command lines of code blocks and of code within sentences."""
    joined = text.replace("\\\n", " ")
    for line in joined.splitlines():
        block = re.fullmatch(r"(    )?(?:\$ )?((?:qlumen|make|python) (?!\w+:).*)", line)
        if block and (block[1] or any(line in one for one in FENCE.findall(joined))):
            yield block[2]
    yield from (match[1] for match in INLINE.finditer(joined.replace("\n", " ")))


def check_target(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in (word for word in words[1:] if word.islower() and "=" not in word):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"make {target}"


def check_script(words: list[str]) -> None:
    if words[1] == "-m":
        return
    script = ROOT / words[1]
    assert script.exists(), words[1]
    source = script.read_text("utf-8") + "".join(
        file.read_text("utf-8") for file in (ROOT / "bench/support").glob("*.py")
    )
    for option in (word for word in words[2:] if word.startswith("--")):
        assert f'"{option.partition("=")[0]}"' in source, f"{words[1]} {option}"


def check_qlumen(words: list[str], line: str) -> None:
    command: click.Command = program
    while words and isinstance(command, click.Group) and not words[0].startswith("-"):
        name, *words = words
        found = command.get_command(click.Context(command), name)
        assert found is not None, line
        command = found
    known = {"--help", "-h"} | {
        name for one in command.params for name in (*one.opts, *one.secondary_opts)
    }
    for place, word in enumerate(words):
        if word.startswith("--"):
            assert word.partition("=")[0] in known, f"{line}: no option {word}"
        if word == "--set":
            check_setting(command.name or "", words[place + 1], line)


def check_setting(command: str, setting: str, line: str) -> None:
    key, _, value = setting.partition("=")
    if command in ("train", "ablate"):
        assert key in TrainSettings.model_fields, f"{line}: no setting {key}"
    elif not PLACEHOLDER.search(setting):
        assert value, f"{line}: {key} has no value"
        load_settings(None, [setting])


@cache
def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = HEADING.findall(FENCE.sub("", page.read_text("utf-8")))
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", one).lower() for one in headings)
    return {re.sub(r"[^\w\- ]", "", one.strip()).replace(" ", "-") for one in plain}

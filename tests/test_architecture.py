"""Compares the architecture page with the sources, and checks the files that pages name."""

import ast
import re
import sys
from functools import cache
from itertools import combinations
from pathlib import Path
from runpy import run_path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from unittest.mock import patch

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/architecture.md"
DIAGRAM = re.compile(r"```mermaid\n(.*?)```", re.DOTALL)
CODE = re.compile(r"(?<![\w/.-])(?:[\w-]+/)+[\w-]+\.py\b")
BOX = re.compile(r'(\w+)\["([\w.]+)"\]')
drawing = SimpleNamespace(**run_path(str(ROOT / "docs/draw_architecture.py")))


@cache
def modules() -> grimp.ImportGraph:
    """Return all modules and their imports, as import-linter's library finds them.

    It looks for them in one folder, so they are laid out there by links.
    """
    with TemporaryDirectory() as place, patch.dict(sys.modules), patch.object(sys, "path"):
        folder = Path(place) / "qlumen"
        folder.mkdir()
        parts = {room.partition("/")[0] for room in drawing.room_imports()} - {"api"}
        for path in (*map(ROOT.joinpath, parts), *ROOT.glob("api/*.py")):
            (folder / path.name).symlink_to(path)
        sys.modules.pop("qlumen")
        sys.path = [place, *sys.path]
        return grimp.build_graph("qlumen", cache_dir=None)


def diagrams() -> list[str]:
    """Return the three diagrams: rooms, replay, live."""
    return DIAGRAM.findall(PAGE.read_text("utf-8"))


def room_arrows() -> dict[str, set[str]]:
    """Return the arrows of the diagram of rooms, by the last part of their names."""
    arrows: dict[str, set[str]] = {}
    for line in diagrams()[0].splitlines():
        if "-->" in line:
            room, targets = line.split("-->")
            arrows[room.strip()] = {target.strip() for target in targets.split("&")}
    return {room: arrows.get(room, set()) for room in arrows.keys() | set().union(*arrows.values())}


def frame_path(diagram: str) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Return the names in the boxes and the arrows between them, in order."""
    boxes = dict(BOX.findall(diagram))
    lines = [BOX.sub(r"\1", line) for line in diagram.splitlines() if "-->" in line]
    return boxes, [tuple(part.strip() for part in line.split("-->")) for line in lines]


def imports(importer: str, imported: str) -> bool:
    """Check whether the module of one name imports the other one, directly or not."""
    one, other = (f"qlumen.{name.rpartition('.')[0]}" for name in (importer, imported))
    return one == other or modules().find_shortest_chain(one, other) is not None


def test_the_page_agrees_with_the_sources() -> None:
    """`python docs/draw_architecture.py` changes nothing."""
    page = PAGE.read_text("utf-8")
    assert drawing.draw_page(page) == page


def test_each_room_says_what_it_holds() -> None:
    """Each room's docstring opens with a sentence for the table."""
    for room in drawing.room_imports():
        assert drawing._sentence(room).endswith("."), room


def test_rooms_import_what_the_diagram_shows() -> None:
    """The arrows of the diagram reach exactly the rooms that a room's imports reach."""
    wanted: dict[str, set[str]] = {}
    for importer in modules().modules:
        room = drawing.room_of(importer)
        found = map(drawing.room_of, modules().find_modules_directly_imported_by(importer))
        if room:
            wanted.setdefault(room, set()).update({one for one in found if one} - {room})
    drawn = room_arrows()
    for room in drawn.keys() | {room.rpartition("/")[2] for room in wanted if wanted[room]}:
        (name,) = (one for one in wanted if one.rpartition("/")[2] == room)
        reached = {one.rpartition("/")[2] for one in drawing.reachable(wanted, name)}
        assert drawing.reachable(drawn, room) == reached, room


@pytest.mark.parametrize("number", [1, 2], ids=["replay", "live"])
def test_each_box_names_a_place_that_exists(number: int) -> None:
    """Each box names something that a module defines."""
    boxes, arrows = frame_path(diagrams()[number])
    assert set(boxes) == {box for arrow in arrows for box in arrow}
    for name in boxes.values():
        module, _, thing = name.rpartition(".")
        tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text("utf-8"))
        assert thing in {getattr(node, "name", None) for node in tree.body}, name


@pytest.mark.parametrize("number", [1, 2], ids=["replay", "live"])
def test_each_arrow_has_a_module_that_knows_both_sides(number: int) -> None:
    """At each arrow one side imports the other, or another box imports both."""
    boxes, arrows = frame_path(diagrams()[number])
    for one, other in arrows:
        first, second = boxes[one], boxes[other]
        direct = imports(first, second) or imports(second, first)
        assert direct or any(
            imports(third, first) and imports(third, second) for third in boxes.values()
        ), f"no module passes frames from {first} to {second}"


@pytest.mark.parametrize("number", [1, 2], ids=["replay", "live"])
def test_a_frame_passes_layers(number: int) -> None:
    """Of two rooms that a frame passes, at most one imports the other, directly or not."""
    boxes, _ = frame_path(diagrams()[number])
    rooms = {drawing.room_of(f"qlumen.{name}") for name in boxes.values()}
    arrows = drawing.room_imports()
    for one, other in combinations(sorted(rooms), 2):
        both = other in drawing.reachable(arrows, one) and one in drawing.reachable(arrows, other)
        assert not both, f"{one} and {other} import each other"


def test_pages_name_files_that_exist() -> None:
    """Each `folder/file.py` of a page exists, seen from the root or from the page."""
    for page in (ROOT / "CONTRIBUTING.md", ROOT / "README.md", *ROOT.glob("docs/**/*.md")):
        for name in CODE.findall(page.read_text("utf-8")):
            assert (ROOT / name).exists() or (page.parent / name).exists(), f"{page.name}: {name}"

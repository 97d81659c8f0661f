"""The architecture page says what the sources say, and no page names a file that is not there."""

import ast
import re
from functools import cache
from itertools import combinations
from pathlib import Path
from runpy import run_path
from types import SimpleNamespace

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/architecture.md"
PICTURE = re.compile(r"```mermaid\n(.*?)```", re.DOTALL)
CODE = re.compile(r"(?<![\w/.-])(?:[\w-]+/)+[\w-]+\.py\b")
BOX = re.compile(r'(\w+)\["([\w.]+)"\]')
drawing = SimpleNamespace(**run_path(str(ROOT / "docs/draw_architecture.py")))


@cache
def modules() -> grimp.ImportGraph:
    """Every module and its imports, as import-linter's library finds them."""
    rooms = {room.partition("/")[0] for room in drawing.room_imports()}
    return grimp.build_graph(*(f"qlumen.{room}" for room in rooms), cache_dir=None)


def pictures() -> list[str]:
    """The three pictures: rooms, replay, live."""
    return PICTURE.findall(PAGE.read_text("utf-8"))


def drawn_rooms() -> dict[str, set[str]]:
    """The arrows of the picture of rooms, by the last part of their names."""
    arrows: dict[str, set[str]] = {}
    for line in pictures()[0].splitlines():
        if "-->" in line:
            room, targets = line.split("-->")
            arrows[room.strip()] = {target.strip() for target in targets.split("&")}
    return {room: arrows.get(room, set()) for room in arrows.keys() | set().union(*arrows.values())}


def way(picture: str) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """The names in the boxes and the arrows between them, in order."""
    boxes = dict(BOX.findall(picture))
    lines = [BOX.sub(r"\1", line) for line in picture.splitlines() if "-->" in line]
    return boxes, [tuple(part.strip() for part in line.split("-->")) for line in lines]


def imports(importer: str, imported: str) -> bool:
    """Whether the module of one name imports the other's, by way of others as well."""
    one, other = (f"qlumen.{name.rpartition('.')[0]}" for name in (importer, imported))
    return one == other or modules().find_shortest_chain(one, other) is not None


def test_the_page_is_as_the_sources_are() -> None:
    """`python docs/draw_architecture.py` would change nothing."""
    page = PAGE.read_text("utf-8")
    assert drawing.draw_page(page) == page


def test_each_room_says_what_it_holds() -> None:
    """A room's docstring opens with a sentence for the table."""
    for room in drawing.room_imports():
        assert drawing._sentence(room).endswith("."), room


def test_rooms_import_what_the_picture_says() -> None:
    """Whatever one room reaches of another by imports, the picture's arrows reach, and no more."""
    wanted: dict[str, set[str]] = {}
    for importer in modules().modules:
        room = drawing.room_of(importer)
        found = map(drawing.room_of, modules().find_modules_directly_imported_by(importer))
        if room:
            wanted.setdefault(room, set()).update({one for one in found if one} - {room})
    drawn = drawn_rooms()
    for room in drawn.keys() | {room.rpartition("/")[2] for room in wanted if wanted[room]}:
        (name,) = (one for one in wanted if one.rpartition("/")[2] == room)
        reached = {one.rpartition("/")[2] for one in drawing.reachable(wanted, name)}
        assert drawing.reachable(drawn, room) == reached, room


@pytest.mark.parametrize("number", [1, 2], ids=["replay", "live"])
def test_a_frame_s_way_has_places_that_exist(number: int) -> None:
    """Each box names what a module defines."""
    boxes, arrows = way(pictures()[number])
    assert set(boxes) == {box for arrow in arrows for box in arrow}
    for name in boxes.values():
        module, _, thing = name.rpartition(".")
        tree = ast.parse((ROOT / f"{module.replace('.', '/')}.py").read_text("utf-8"))
        assert thing in {getattr(node, "name", None) for node in tree.body}, name


@pytest.mark.parametrize("number", [1, 2], ids=["replay", "live"])
def test_a_frame_is_handed_on_by_what_knows_both_sides(number: int) -> None:
    """At each arrow one side imports the other, or another box of the picture imports both."""
    boxes, arrows = way(pictures()[number])
    for one, other in arrows:
        first, second = boxes[one], boxes[other]
        direct = imports(first, second) or imports(second, first)
        assert direct or any(
            imports(third, first) and imports(third, second) for third in boxes.values()
        ), f"nobody hands on from {first} to {second}"


@pytest.mark.parametrize("number", [1, 2], ids=["replay", "live"])
def test_a_frame_s_way_passes_layers(number: int) -> None:
    """Of two rooms on the way, at most one imports the other, by whatever way."""
    boxes, _ = way(pictures()[number])
    rooms = {drawing.room_of(f"qlumen.{name}") for name in boxes.values()}
    arrows = drawing.room_imports()
    for one, other in combinations(sorted(rooms), 2):
        both = other in drawing.reachable(arrows, one) and one in drawing.reachable(arrows, other)
        assert not both, f"{one} and {other} import each other"


def test_pages_name_files_that_exist() -> None:
    """Each `folder/file.py` of a page lies there, seen from the root or from the page."""
    for page in (ROOT / "CONTRIBUTING.md", ROOT / "README.md", *ROOT.glob("docs/**/*.md")):
        for name in CODE.findall(page.read_text("utf-8")):
            assert (ROOT / name).exists() or (page.parent / name).exists(), f"{page.name}: {name}"

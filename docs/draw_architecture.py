"""Draws the rooms of docs/architecture.md from the sources.

    python docs/draw_architecture.py

A room is a folder at the top level, a folder of realtime/, or a single file in realtime/. Its
sentence is the first sentence of its docstring. Its arrows are its imports.
"""

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/architecture.md"
PART = re.compile(r"(?<=<!-- rooms -->\n).*(?=<!-- end of rooms -->)", re.DOTALL)
PACKAGE, SPLIT, OWN = "qlumen", "realtime", "api"
"""`api/` holds the package's own modules."""

Arrows = dict[str, set[str]]


def room_of(module: str) -> str | None:
    """Name the room of a module: `realtime/live` for `qlumen.realtime.live.display`.

    Return `api` for `qlumen.model`. Return None for a module in no room: other packages, and the
    package realtime itself.
    """
    package, *names = module.split(".")
    if package != PACKAGE or not names or names == [SPLIT]:
        return None
    if not (ROOT / names[0]).is_dir():
        return OWN
    return "/".join(names[: 2 if names[0] == SPLIT else 1])


def room_imports() -> Arrows:
    """Map each room to the rooms that its files import anywhere in a file."""
    arrows: Arrows = {}
    for path in sorted(ROOT.glob("*/**/*.py")):
        names = path.relative_to(ROOT).with_suffix("").parts
        room = room_of(".".join((PACKAGE, *names)).removesuffix(".__init__"))
        if room and (ROOT / names[0] / "__init__.py").exists():
            imported = map(room_of, _find_imports(ast.parse(path.read_text("utf-8"))))
            arrows.setdefault(room, set()).update(filter(None, imported))
    return {room: imported - {room} for room, imported in arrows.items()}


def reachable(arrows: Arrows, room: str) -> set[str]:
    """Collect the rooms that `room` imports, directly or through other rooms."""
    found, waiting = set(), list(arrows[room])
    while waiting:
        if (one := waiting.pop()) not in found:
            found.add(one)
            waiting += arrows[one]
    return found


def shortest_arrows(arrows: Arrows) -> Arrows:
    """Leave out each arrow that a path through another room already shows."""
    reach = {room: reachable(arrows, room) for room in arrows}
    return {
        room: {
            one
            for one in imported
            if not any(one in reach[by] and room not in reach[by] and by not in reach[one]
                       for by in imported - {one})
        }
        for room, imported in arrows.items()
    }  # fmt: skip


def draw_page(page: str) -> str:
    """Return the page with a new table and a new diagram of rooms."""
    arrows = room_imports()
    rooms = sorted(arrows, key=lambda room: (-len(reachable(arrows, room)), room))
    return PART.sub(lambda _: _table(arrows, rooms) + _diagram(arrows, rooms), page)


def _find_imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            parent = node.module in (PACKAGE, f"{PACKAGE}.{SPLIT}")
            for alias in node.names:
                yield f"{node.module}.{alias.name}" if parent else node.module


def _table(arrows: Arrows, rooms: Sequence[str]) -> str:
    lines = ["", "| room | what it holds | imports |", "|---|---|---|"]
    for room in rooms:
        imports = ", ".join(one.removeprefix(f"{SPLIT}/") for one in sorted(arrows[room]))
        lines.append(f"| `{_path(room)}` | {_sentence(room)} | {imports} |")
    return "\n".join([*lines, "", ""])


def _diagram(arrows: Arrows, rooms: Sequence[str]) -> str:
    inner = [room for room in rooms if room.startswith(f"{SPLIT}/")]
    lines = ["```mermaid", "graph TD", f"  subgraph {SPLIT}", f"    {' & '.join(map(_id, inner))}"]
    lines.append("  end")
    shortest = shortest_arrows(arrows)
    for room in rooms:
        if targets := " & ".join(map(_id, sorted(shortest[room]))):
            lines.append(f"  {_id(room)} --> {targets}")
    return "\n".join([*lines, "```", ""])


def _id(room: str) -> str:
    return room.rpartition("/")[2]


def _path(room: str) -> str:
    return f"{room}/" if (ROOT / room).is_dir() else f"{room}.py"


def _sentence(room: str) -> str:
    file = ROOT / room / "__init__.py" if (ROOT / room).is_dir() else ROOT / f"{room}.py"
    text = " ".join((ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "").split())
    return re.split(r"(?<=\.) ", text)[0]


if __name__ == "__main__":
    PAGE.write_text(draw_page(PAGE.read_text("utf-8")), "utf-8")

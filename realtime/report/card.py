"""The parts of a model card that belong in a report."""

from dataclasses import dataclass

SECTIONS = ("Scores", "Limits", "Terms of the data")


@dataclass(frozen=True, slots=True)
class Section:
    """Attributes:
    table: rows of equal length, the head first; empty without one.
    """

    title: str
    paragraphs: tuple[str, ...]
    table: tuple[tuple[str, ...], ...]


def sections(card: str) -> tuple[Section, ...]:
    """Those named in `SECTIONS`, of Markdown with `##` headings and pipe tables."""
    parts = (part.partition("\n") for part in ("\n" + card).split("\n## ")[1:])
    return tuple(_section(title.strip(), body) for title, _, body in parts if title in SECTIONS)


def _section(title: str, body: str) -> Section:
    blocks = [block.strip() for block in body.split("\n\n") if block.strip()]
    text = [_plain(block) for block in blocks if not block.startswith("|")]
    rows = [_cells(line) for b in blocks if b.startswith("|") for line in b.splitlines()]
    whole = [row for row in rows if not all(set(cell) <= set("-: ") for cell in row)]
    return Section(title, tuple(text), tuple(row for row in whole if len(row) == len(whole[0])))


def _plain(block: str) -> str:
    """On one line, without the marks of code and emphasis."""
    return " ".join(block.replace("`", "").replace("**", "").split())


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.strip().strip("|").split("|"))

"""Checks the language of the code: verbs for functions, whole sentences in docstrings."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = (
    "ablation", "calibration", "configs", "datasets", "errors", "evaluation", "kernels",
    "networks", "quantum", "realtime", "system", "training",
)  # fmt: skip
PARTICIPLE = re.compile(
    r"(?!(embed|exceed|feed|need|proceed|seed|speed|succeed)$)\w{2,}ed$|"
    r"(begun|bound|built|chosen|done|drawn|given|held|kept|laid|led|left|lit|lost|made|met|paid|"
    r"said|seen|sent|shown|sold|spent|stood|taken|thrown|told|worn|written)$"
)
MOST_PARTICIPLES = 0.02
NO_VERB = re.compile(
    r"(a|all|also|an|and|another|any|as|at|between|both|but|by|each|every|everything|for|from|how|"
    r"if|in|it|its|like|many|more|most|no|none|nothing|not|of|on|one|only|or|other|same|some|such|"
    r"that|the|there|these|they|this|those|three|to|two|what|when|where|whether|which|who|why|with|"
    r"without)$",
    re.IGNORECASE,
)
SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields):")
Documented = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Module


@cache
def nodes() -> list[tuple[str, Documented]]:
    """Return what can have a docstring, with the place of each."""
    files = sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py"))
    return [
        (f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}", node)
        for file in files
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, Documented)
    ]


def test_functions_are_not_participles() -> None:
    """A function's name begins with a verb or is a noun; at most 2% begin with a participle."""
    names = [
        (place, node.name)
        for place, node in nodes()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    bad = [f"{place} {name}" for place, name in names if is_participle(name)]
    assert len(names) > 1000
    assert len(bad) <= MOST_PARTICIPLES * len(names), "\n".join(bad)


@pytest.mark.parametrize(
    ("name", "participle"),
    [("_told", True), ("drawn_image", True), ("draw", False), ("feed", False), ("is_lit", False)],
)
def test_the_rule_knows_participles(name: str, participle: bool) -> None:
    """The rule finds participles and leaves verbs alone."""
    assert is_participle(name) is participle


def test_docstrings_open_with_a_sentence() -> None:
    """The first sentence of a docstring opens with a verb and ends with a period."""
    bad = [f"{place}: {problem}" for place, problem in problems()]
    assert not bad, "\n".join(bad)


def is_participle(name: str) -> bool:
    return PARTICIPLE.match(name.strip("_").split("_")[0]) is not None


def problems() -> Iterator[tuple[str, str]]:
    for place, node in nodes():
        text = ast.get_docstring(node)
        if text is None:
            continue
        first = " ".join(text.split("\n\n")[0].split())
        word = re.match(r"[A-Z][a-z]+", first)
        if SECTION.match(first):
            yield place, "opens with a section"
        elif word is None or NO_VERB.match(word[0]):
            yield place, f"does not open with a verb: {first[:60]}"
        elif not re.search(r"[.:](\s|$)", first):
            yield place, f"no whole sentence: {first[:60]}"

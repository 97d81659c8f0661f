"""Every kind of damage to a chain of lines is found at the damaged line."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from qlumen.realtime.sinks.hash_chain import (
    MAX_LINE_BYTES,
    START,
    Account,
    Damage,
    check_chain,
    hash_of,
    link,
    previous_of,
)

Check = Callable[[bytes], Account]
TEXTS = st.text(max_size=5) | st.integers() | st.lists(st.none(), max_size=2)
CONTENTS = st.lists(st.dictionaries(st.text(max_size=3), TEXTS, min_size=1), min_size=2, max_size=6)
SAME_FIXTURE = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def chain_lines(contents: list[dict[str, object]], previous: str = START) -> list[bytes]:
    lines = []
    for content in contents:
        lines.append(link(content, previous) + b"\n")
        previous = hashlib.sha256(lines[-1][:-1]).hexdigest()
    return lines


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Store these bytes and check them."""

    def check_bytes(data: bytes) -> Account:
        (tmp_path / "e.jsonl").write_bytes(data)
        return check_chain(tmp_path / "e.jsonl")

    return check_bytes


def fault_of(account: Account) -> tuple[int, Damage] | None:
    return (account.fault.line, account.fault.damage) if account.fault else None


def test_a_line_by_hand() -> None:
    """A line has the hash that the command sha256sum prints."""
    body = '{"frame":7,"previous":"' + 64 * "0" + '"'
    own = "f189cd56fe2584b50df0d80c44e2f5f277b03da32a8d0bf2fa61d1a5a4930b6a"
    assert link({"frame": 7}, START) == f'{body},"sha256":"{own}"}}'.encode()


@SAME_FIXTURE
@given(CONTENTS)
def test_a_whole_chain_is_whole(check: Check, contents: list[dict[str, object]]) -> None:
    """Each line names the line before, read with only JSON and SHA-256, and the check agrees."""
    lines = chain_lines(contents)
    previous = "0" * 64
    for line, content in zip(lines, contents, strict=True):
        read = json.loads(line)
        assert read["previous"] == previous
        assert {key: read[key] for key in content} == content
        previous = hashlib.sha256(line.removesuffix(b"\n")).hexdigest()
    account = check(b"".join(lines))
    assert fault_of(account) is None
    assert (account.lines, account.last) == (len(lines), previous)
    assert account.whole_bytes == sum(map(len, lines))


@SAME_FIXTURE
@given(CONTENTS, st.data())
def test_any_changed_byte_is_found(
    check: Check, contents: list[dict[str, object]], data: st.DataObject
) -> None:
    """A changed byte is found in its own line, also in the last line, a hash or a newline."""
    lines = chain_lines(contents)
    whole = b"".join(lines)
    place = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[place]))
    line = whole[:place].count(b"\n") + 1
    damage = Damage.CUT if place == len(whole) - 1 else Damage.CHANGED
    assert fault_of(check(whole[:place] + bytes([byte]) + whole[place + 1 :])) == (line, damage)


@SAME_FIXTURE
@given(CONTENTS, st.data())
def test_removed_lines_are_found(
    check: Check, contents: list[dict[str, object]], data: st.DataObject
) -> None:
    """Missing lines are found anywhere except at the end, where only the last hash shows them."""
    lines = chain_lines(contents)
    first = data.draw(st.integers(0, len(lines) - 1))
    end = data.draw(st.integers(first + 1, len(lines)))
    account = check(b"".join(lines[:first] + lines[end:]))
    if end < len(lines):
        assert fault_of(account) == (first + 1, Damage.REMOVED)
    else:
        assert fault_of(account) is None
        assert account.last != hash_of(lines[-1][:-1])


@SAME_FIXTURE
@given(CONTENTS, st.data())
def test_swapped_lines_are_found(
    check: Check, contents: list[dict[str, object]], data: st.DataObject
) -> None:
    """The first of two swapped lines is named, at any distance."""
    lines = chain_lines(contents)
    places = st.sampled_from(range(len(lines)))
    first, second = sorted(data.draw(st.lists(places, min_size=2, max_size=2, unique=True)))
    lines[first], lines[second] = lines[second], lines[first]
    assert fault_of(check(b"".join(lines))) == (first + 1, Damage.REORDERED)


@SAME_FIXTURE
@given(CONTENTS, st.data())
def test_copied_lines_are_found(
    check: Check, contents: list[dict[str, object]], data: st.DataObject
) -> None:
    """A second copy of a line counts as inserted where it follows no line."""
    lines = chain_lines(contents)
    original = data.draw(st.sampled_from(range(len(lines))))
    place = data.draw(st.integers(0, len(lines)).filter(lambda place: place != original))
    lines.insert(place, lines[original])
    assert fault_of(check(b"".join(lines))) == (place + 1, Damage.INSERTED)


@SAME_FIXTURE
@given(CONTENTS, st.data(), st.binary(max_size=30).filter(lambda text: b"\n" not in text))
def test_foreign_lines_are_found(
    check: Check, contents: list[dict[str, object]], data: st.DataObject, garbage: bytes
) -> None:
    """Garbage, a line of another file, and a forged line that follows its place are found."""
    lines = chain_lines(contents)
    place = data.draw(st.integers(0, len(lines) - 1))
    before = hash_of(lines[place - 1][:-1]) if place else START
    forged = link({"forged": 1}, before)
    other = chain_lines(contents, previous=hash_of(b"other"))[-1][:-1]
    line = data.draw(st.sampled_from((garbage, other, forged)))
    assume(line + b"\n" not in lines)
    lines.insert(place, line + b"\n")
    assert fault_of(check(b"".join(lines))) == (place + 1, Damage.INSERTED)


@SAME_FIXTURE
@given(CONTENTS, st.data())
def test_a_cut_end_is_distinguished(
    check: Check, contents: list[dict[str, object]], data: st.DataObject
) -> None:
    """After a cut between lines the rest is whole; a cut within a line leaves it incomplete."""
    whole = b"".join(chain_lines(contents))
    end = data.draw(st.integers(0, len(whole)))
    lines, boundary = whole[:end].count(b"\n"), end == 0 or whole[end - 1 : end] == b"\n"
    account = check(whole[:end])
    assert fault_of(account) == (None if boundary else (lines + 1, Damage.CUT))
    assert account.lines == lines


@SAME_FIXTURE
@given(st.lists(st.binary(max_size=40) | st.sampled_from((b"[" * 10**5, b"1" * 5000, b"{}"))))
def test_garbage_is_refused_in_order(check: Check, bodies: list[bytes]) -> None:
    """Nothing raises, with or without matching hashes; only JSON objects pass."""
    previous, sealed = START, []
    for body in bodies:
        text = body.replace(b"\n", b"") + f',"previous":"{previous}"'.encode()
        sealed.append(text + b',"sha256":"' + hash_of(text).encode() + b'"}')
        previous = hash_of(sealed[-1])
        assert previous_of(sealed[-1]) is not None
    for data in (b"\n".join(bodies), b"".join(line + b"\n" for line in sealed)):
        account = check(data)
        assert (account.fault is None) == (not data)


def test_a_line_without_end_is_no_line(check: Check) -> None:
    """A line longer than any line of qlumen is not read into memory."""
    account = check(b"x" * (MAX_LINE_BYTES + 2))
    assert fault_of(account) == (1, Damage.CHANGED)


PEAK_OF_A_CHECK = """
import sys, tracemalloc
from pathlib import Path
from qlumen.realtime.sinks.hash_chain import check_chain
tracemalloc.start()
check_chain(Path(sys.argv[1]))
print(tracemalloc.get_traced_memory()[1])
"""
"""Runs in a separate process, because threads of other tests also allocate."""


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """A damaged file of 8 MB is read twice with less than 1 MB."""
    path = tmp_path / "e.jsonl"
    lines = chain_lines([{"frame": index, "contour": "x" * 2000} for index in range(4000)])
    path.write_bytes(b"".join(lines[:3000] + lines[3001:]))
    assert path.stat().st_size > 8e6
    del lines
    assert fault_of(check_chain(path)) == (3001, Damage.REMOVED)
    alone = subprocess.run(
        [sys.executable, "-c", PEAK_OF_A_CHECK, path], capture_output=True, text=True, check=True
    )
    assert int(alone.stdout) < 1e6


def test_the_account_separates_frames_from_notes(check: Check) -> None:
    """The account has numbers, first and last times of both, up to the first fault."""
    contents = [
        {"event": "started", "at": "A", "frame": 3},
        {"frame": 0, "time_s": 0.5},
        {"frame": 1, "time_s": 0.75},
        {"event": "mark", "at": "B"},
        {"frame": 2, "time_s": 1.5},
    ]
    account = check(b"".join(chain_lines(contents)[:4]) + b"{")
    assert (account.lines, account.frames, account.notes) == (4, 2, 2)
    assert account.times_s == (0.5, 0.75)
    assert account.dates == ("A", "B")
    assert str(account.fault) == "line 5: cut: the last line is incomplete"

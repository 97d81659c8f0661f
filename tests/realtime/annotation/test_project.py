"""Checks the store of outlines, what is asked next, and agreement, by hand-worked cases."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from qlumen.errors import RefusedError, UsageError
from qlumen.realtime.annotation.agreement import compare, join
from qlumen.realtime.annotation.project import (
    MADE,
    MAX_LESIONS,
    PROPAGATED,
    Made,
    Mark,
    Project,
    check_outline,
    encode,
)
from qlumen.realtime.pixels.arrays import Mask

SIZE = 7, 5
MASKS = arrays(np.uint8, SIZE[::-1], elements=st.integers(0, MAX_LESIONS))
CHANGES = st.lists(st.tuples(st.integers(0, 3), st.none() | MASKS, st.sampled_from(Mark)))
WRITE_FOR_EVER = """
import sys
import numpy as np
from pathlib import Path
from qlumen.realtime.annotation.project import Mark, Project
project, index = Project(Path(sys.argv[1]), "anna"), 0
while True:
    mark = (Mark.KEY, Mark.NETWORK)[index % 2]
    project.write(index % 5, np.full((400, 500), index % 7, np.uint8), mark)
    print(index, flush=True)
    index += 1
"""


@given(changes=CHANGES)
@settings(max_examples=40)
def test_store_is_a_table_of_frames(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, Mask | None, Mark]]
) -> None:
    """After any changes each frame has its newest mark and outline."""
    folder = tmp_path_factory.mktemp("clip")
    project = Project(folder, "anna")
    expected: dict[int, tuple[Mark, Mask | None]] = {}
    for index, mask, kind in changes:
        if mask is not None:
            mark = Mark.NETWORK if kind is Mark.NETWORK else Mark.KEY
            project.write(index, mask, mark)
            expected[index] = mark, mask
        elif kind is Mark.SKIPPED:
            project.write(index, None, Mark.SKIPPED)
            expected[index] = Mark.SKIPPED, None
        else:
            project.write(index, None, None)
            expected.pop(index, None)
    assert project.marks == {index: mark for index, (mark, _) in expected.items()}
    assert Project(folder, "ben").marks == {}
    for index in range(4):
        _, mask = expected.get(index, (None, None))
        found = project.outline(index)
        assert (found is None) == (mask is None)
        assert mask is None or np.array_equal(found, mask)


def test_a_killed_writer_leaves_each_frame_readable(tmp_path: Path) -> None:
    """SIGKILL in the middle of writing leaves the outline of before or the new one."""
    project = Project(tmp_path, "anna")
    with subprocess.Popen(
        [sys.executable, "-c", WRITE_FOR_EVER, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None
        told = [writer.stdout.readline() for _ in range(6)]
        time.sleep(0.1)
        os.kill(writer.pid, signal.SIGKILL)
        told += writer.stdout.readlines()
    last = int(told[-1])
    assert last >= 5
    for index in range(5):
        newest = max(i for i in range(last + 1) if i % 5 == index)
        found = project.outline(index)
        assert found is not None
        assert np.unique(found).tolist() in ([newest % 7], [(newest + 5) % 7])
    assert set(project.marks) == set(range(5))


def test_kappa_and_dice_of_a_worked_table() -> None:
    """20 of 50 pixels both, 5 and 10 one alone, 15 none: kappa 0.4 (Cohen's example), Dice 8/11."""
    one, other = np.zeros((5, 10), np.uint8), np.zeros((5, 10), np.uint8)
    one.flat[:25] = 3
    other.flat[:20] = 1
    other.flat[25:35] = 1
    agreement = compare([(one, other)])
    assert agreement == (1, pytest.approx(40 / 55), pytest.approx(0.4))
    nothing = np.zeros_like(one)
    assert compare([(nothing, nothing)]) == (1, 1.0, 1)
    assert compare([]) is None


def test_majority_needs_more_than_half() -> None:
    votes = [np.array([[1, 1, 0, 0]]), np.array([[2, 0, 2, 0]]), np.array([[1, 1, 0, 0]])]
    masks = [vote.astype(np.uint8) for vote in votes]
    assert join(masks).tolist() == [[1, 1, 0, 0]]
    assert join(masks[:2]).tolist() == [[1, 0, 0, 0]]


def test_next_frame_is_the_worst_of_gaps_that_have_not_changed(tmp_path: Path) -> None:
    project, blank = Project(tmp_path, "anna"), np.zeros(SIZE[::-1], np.uint8)
    assert project.next_frame(5) == 2
    for index in (0, 10, 20):
        project.write(index, blank, Mark.KEY)
    assert project.next_frame(21) in (5, 15)  # nothing is propagated: the middle of a gap
    folder = project.folder / PROPAGATED
    folder.mkdir()
    for index in (4, 5, 14, 15):
        (folder / f"{index:06}.png").write_bytes(encode(blank))
    made = Made(keys=project.stamps, disagreement={4: 0.0, 5: 0.2, 14: 0.3, 15: 0.6})
    (folder / MADE).write_text(made.model_dump_json())
    assert project.next_frame(21) == 15
    project.write(15, None, Mark.SKIPPED)
    assert project.next_frame(21) == 14
    project.write(15, blank, Mark.KEY)
    assert project.next_frame(21) == 5
    for index in range(21):
        project.write(index, blank, Mark.KEY)
    assert project.next_frame(21) is None


@given(mask=MASKS)
@settings(max_examples=20)
def test_outlines_of_a_browser_come_through(mask: Mask) -> None:
    """Grey and opaque colour PNG give the same numbers."""
    assert np.array_equal(check_outline(encode(mask), SIZE), mask)
    opaque = np.dstack([mask, mask, mask, np.full_like(mask, 255)])
    assert np.array_equal(check_outline(cv2.imencode(".png", opaque)[1].tobytes(), SIZE), mask)


@given(data=st.data())
@settings(max_examples=30)
def test_damaged_outlines_are_refused_or_valid(data: st.DataObject) -> None:
    """Any bytes and any change of a PNG give a mask of the size and range, or RefusedError."""
    png = bytearray(encode(np.ones(SIZE[::-1], np.uint8)))
    for at in data.draw(st.lists(st.integers(0, len(png) - 1), min_size=1, max_size=4)):
        png[at] = data.draw(st.integers(0, 255))
    for content in (
        bytes(png),
        bytes(png[: data.draw(st.integers(0, len(png)))]),
        data.draw(st.binary()),
    ):
        try:
            found = check_outline(content, SIZE)
        except RefusedError:
            continue
        assert found.shape == SIZE[::-1]
        assert found.max() <= MAX_LESIONS


@pytest.mark.parametrize("who", ["", "..", "../x", "a/b", ".hidden", "x" * 65, "a b"])
def test_names_that_are_no_folder_are_refused(tmp_path: Path, who: str) -> None:
    with pytest.raises(UsageError, match="use letters"):
        Project(tmp_path, who)

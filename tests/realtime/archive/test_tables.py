"""Checks the tables, the comparison of two versions and the page against small worked cases."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from qlumen.realtime.archive.compare import Moment, compare
from qlumen.realtime.archive.folder import Entry
from qlumen.realtime.archive.page import write_page
from qlumen.realtime.archive.tables import SCHEMAS, Row, RowCollector, result_path, write_table
from qlumen.realtime.frames import Condition, Finding, FrameRecord, Track

GUIDE = Path(__file__).parents[3] / "docs" / "archive.md"
ABOUT = {"name": "exam.mp4", "bytes": 7, "bundle": "b", "worker": "pc:1", "took_s": 2.0}


def _finding(x0: int, score: float) -> Finding:
    contour = np.array([[x0, 0], [x0 + 3, 0], [x0 + 3, 3]], np.int32)
    return Finding((x0, 0, x0 + 4, 4), score, 10, contour)


def _frame(index: int, *tracks: Track, condition: Condition = Condition.CLEAR) -> FrameRecord:
    shown = tuple(one.finding for one in tracks if one.alarm)
    return FrameRecord(
        index, index, Fraction(1, 10), (64, 48), shown, condition=condition, tracks=tracks
    )


def _store(output: Path, version: str, sha256: str, rows: dict[str, list[Row]]) -> None:
    for table, content in rows.items():
        path = result_path(output, table, version, sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_table(path, table, content)


def test_rows_of_a_worked_recording() -> None:
    """Lesion 1 has an alarm from its second frame on; lesion 2 never has one."""
    rows = RowCollector("f00")
    rows.add(_frame(0, condition=Condition.BLURRED))
    rows.add(_frame(1, Track(1, _finding(0, 0.5), 0.0, False, False)))
    rows.add(_frame(2, Track(1, _finding(4, 0.75), 0.1, True, True)))
    rows.add(
        _frame(
            3,
            Track(1, _finding(8, 0.625), 0.2, True, False),
            Track(2, _finding(40, 0.875), 0.0, False, False),
        )
    )
    made = rows.rows(ABOUT)
    assert [(one["frame"], one["lesion"], one["x0"]) for one in made["findings"]] == [
        (2, 1, 4),
        (3, 1, 8),
    ]
    (lesion,) = made["lesions"]
    expected = {"first_s": 0.1, "last_s": 0.3, "frames": 3, "highest_score": 0.75, "frame": 2}
    assert {key: lesion[key] for key in expected} == pytest.approx(expected)
    (whole,) = made["recordings"]
    expected = {"width": 64, "frames": 4, "clear": 3, "blurred": 1, "frames_found": 2, "lesions": 1}
    assert {key: whole[key] for key in expected} == expected


def _recording(frames: int, found: set[int]) -> dict[str, list[Row]]:
    rows = RowCollector("f00")
    for index in range(frames):
        tracks = [Track(1, _finding(0, 0.5), 0.0, True, False)] if index in found else []
        rows.add(_frame(index, *tracks))
    return rows.rows(ABOUT)


def test_versions_differ_where_one_alone_has_findings(tmp_path: Path) -> None:
    """Frames 5 to 7 and 40 are the first version's alone, frame 20 is the second one's."""
    _store(tmp_path, "one", "f00", _recording(60, {1, 2, 5, 6, 7, 40}))
    _store(tmp_path, "two", "f00", _recording(60, {1, 2, 20}))
    (found,) = compare(tmp_path, "one", "two")
    assert (found.name, found.frames, found.differing) == ("exam.mp4", 60, 5)
    assert found.moments == (
        Moment(0.5, 0.7, 3, "one"),
        Moment(2.0, 2.0, 1, "two"),
        Moment(4.0, 4.0, 1, "one"),
    )


def test_page_counts_what_the_tables_hold(tmp_path: Path) -> None:
    _store(tmp_path, "v", "f00", _recording(601, {5, 6}))
    aside = Entry(1, "", "", "<b>damaged</b>", "")
    entries = {"a": Entry(7, "", "f00", "", ""), "b": Entry(7, "", "f00", "", ""), "c": aside}
    (tmp_path / "versions" / "v").mkdir(parents=True)
    text = write_page(tmp_path, "v", entries).read_text("utf-8")
    for figure in ("<b>1</b>recordings", "<b>1</b>set aside", "<b>1</b>the same file again"):
        assert figure in text
    assert ">30.00" in text, "60 s of video in 2 s"
    assert "&lt;b&gt;damaged" in text
    assert "from 1</div>" in text


def test_guide_lists_each_column() -> None:
    text = GUIDE.read_text("utf-8")
    for table, schema in SCHEMAS.items():
        part = text.partition(f"### {table}\n")[2].partition("\n### ")[0]
        for name in schema.names:
            assert f"`{name}`" in part, f"{table}.{name} is not in the guide"

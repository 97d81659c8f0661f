"""Reads the table of findings back with Python's own CSV reader."""

import csv
import io
from dataclasses import replace

from qlumen.realtime.report.tables import COLUMNS, findings_csv
from qlumen.realtime.review.findings import find
from qlumen.realtime.review.review import Review


def test_the_table_comes_back(review: Review) -> None:
    """The reader returns the figures of each finding."""
    found = find(review)
    rows = list(csv.DictReader(io.StringIO(findings_csv(review, found))))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == sum(map(len, found.frames))
    flat = [(place, one) for place, frame in enumerate(found.frames) for one in frame]
    for row, (place, finding) in zip(rows, flat, strict=True):
        assert int(row["frame"]) == review.frames[place].index
        assert tuple(int(row[key]) for key in ("x0", "y0", "x1", "y1")) == finding.box
        assert abs(float(row["score"]) - finding.score) < 1e-6
        share = finding.area_px / (320 * 240)
        assert abs(float(row["share_of_frame"]) - share) < 1e-6
    seen = {one.place for one in found.tracks[0].sightings}
    assert {int(row["frame"]) for row in rows if row["lesion"] == "1"} == seen


def test_names_are_no_formulas(review: Review) -> None:
    """A file name like a formula is text for a spreadsheet, and commas stay in their cell."""
    named = [f.model_copy(update={"name": '=cmd|"x",1'}) for f in review.frames]
    review.frames = tuple(named)
    rows = list(csv.DictReader(io.StringIO(findings_csv(review, find(review)))))
    assert {row["name"] for row in rows} == {'\'=cmd|"x",1'}


def test_a_review_without_findings_gives_the_head_alone(review: Review) -> None:
    """A table without rows still has its head."""
    none = replace(find(review), frames=tuple(() for _ in review.frames), tracks=())
    assert findings_csv(review, none) == ",".join(COLUMNS) + "\r\n"

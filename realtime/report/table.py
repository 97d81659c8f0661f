"""The findings as a table: CSV, UTF-8, a row a finding."""

import csv
import io
from collections.abc import Iterator

from qlumen.realtime.report.tracked import track_numbers
from qlumen.realtime.review.findings import Findings, share_of_field
from qlumen.realtime.review.review import Review

COLUMNS = (
    "frame", "time_s", "name", "condition", "lesion", "x0", "y0", "x1", "y1", "score",
    "area_px", "share_of_frame", "share_of_field",
)  # fmt: skip
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet would take for a formula; an apostrophe before it makes it text."""
DIGITS = 6


def findings_csv(review: Review, findings: Findings) -> str:
    """All findings of all frames. `lesion` is the number of the track, or empty; boxes are
    half open, in pixels of the frame; shares are 0 to 1."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(_rows(review, findings))
    return text.getvalue()


def _rows(review: Review, findings: Findings) -> Iterator[tuple[object, ...]]:
    numbers = track_numbers(findings)
    for place, found in enumerate(findings.frames):
        record = review.frames[place]
        for finding in found:
            yield (
                record.index,
                round(record.time_s, DIGITS),
                _text(record.name),
                record.condition.value,
                numbers.get(id(finding), ""),
                *finding.box,
                round(finding.score, DIGITS),
                finding.area_px,
                round(finding.area_px / (record.width * record.height), DIGITS),
                round(share_of_field(finding, record), DIGITS),
            )


def _text(name: str) -> str:
    return f"'{name}" if name.startswith(FORMULA_STARTS) else name

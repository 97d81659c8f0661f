"""Draws the footer on every page of the PDF and counts the pages."""

from typing import Any

from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas

from qlumen.realtime.report.charts import GRID, MUTED, REGULAR
from qlumen.realtime.report.facts import RESEARCH
from qlumen.realtime.report.pdf.styles import BOLD

WIDTH, HEIGHT = A4
MARGIN = 18 * mm
FOOT = 12 * mm
SIZE = 8
GAP = 12
"""Points between the parts of a footer."""


class NumberedCanvas(Canvas):
    """Keeps the pages until their number is known, then draws their footers.

    Args:
        recording: name of the recording, in characters that the fonts have.
    """

    def __init__(self, *args: Any, recording: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._recording = recording
        self._pages: list[dict[str, Any]] = []

    def showPage(self) -> None:  # noqa: N802 - reportlab's name
        self._pages.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        pages = self._pages
        for number, page in enumerate(pages, start=1):
            self.__dict__.update(page)
            self._draw_footer(number, len(pages))
            super().showPage()
        super().save()

    def _draw_footer(self, number: int, count: int) -> None:
        self.setStrokeColor(GRID)
        self.line(MARGIN, FOOT + 10, WIDTH - MARGIN, FOOT + 10)
        self.setFillColor(MUTED)
        self.setFont(BOLD, SIZE)
        self.drawString(MARGIN, FOOT, RESEARCH)
        self.setFont(REGULAR, SIZE)
        page = f"Page {number} of {count}"
        self.drawRightString(WIDTH - MARGIN, FOOT, page)
        left = MARGIN + stringWidth(RESEARCH, BOLD, SIZE) + GAP
        room = WIDTH - MARGIN - stringWidth(page, REGULAR, SIZE) - GAP - left
        self.drawString(left, FOOT, shorten(self._recording, room))


def shorten(text: str, width: float) -> str:
    """Replace the middle of `text` by an ellipsis if it is wider than `width` points."""
    if stringWidth(text, REGULAR, SIZE) <= width:
        return text
    for kept in range(len(text) - 1, -1, -1):
        short = text[: (kept + 1) // 2] + "\u2026" + text[len(text) - kept // 2 :]
        if stringWidth(short, REGULAR, SIZE) <= width:
            break
    return short

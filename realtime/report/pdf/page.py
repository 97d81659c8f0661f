"""What stands on every page of the PDF, and how many pages there are."""

from typing import Any

from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas

from qlumen.realtime.report.charts import GRID, MUTED
from qlumen.realtime.report.facts import RESEARCH
from qlumen.realtime.report.pdf.fonts import BOLD, REGULAR

WIDTH, HEIGHT = A4
MARGIN = 18 * mm
FOOT = 12 * mm
SIZE = 8


class NumberedCanvas(Canvas):
    """Keeps the pages until the last one is known, then writes their feet: what this is, which
    recording (the canvas's subject), and the page."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._pages: list[dict[str, Any]] = []

    def showPage(self) -> None:  # noqa: N802 - reportlab's name
        self._pages.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        pages = self._pages
        for number, page in enumerate(pages, start=1):
            self.__dict__.update(page)
            self._foot(number, len(pages))
            super().showPage()
        super().save()

    def _foot(self, number: int, count: int) -> None:
        self.setStrokeColor(HexColor(GRID))
        self.line(MARGIN, FOOT + 10, WIDTH - MARGIN, FOOT + 10)
        self.setFillColor(HexColor(MUTED))
        self.setFont(BOLD, SIZE)
        self.drawString(MARGIN, FOOT, RESEARCH)
        self.setFont(REGULAR, SIZE)
        self.drawRightString(WIDTH - MARGIN, FOOT, f"Page {number} of {count}")

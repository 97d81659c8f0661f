"""Defines fonts, text styles and table styles of the PDF."""

from pathlib import Path

import font_source_sans_pro
from reportlab.lib.colors import HexColor
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.styles import ParagraphStyle
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import TableStyle

from qlumen.realtime.report.charts import GRID, INK, MUTED, PAPER, REGULAR

BOLD = "SourceSansPro-Semibold"
LINE = 0.6

BODY = ParagraphStyle(
    "body", fontName=REGULAR, fontSize=9.5, leading=12.5, textColor=INK,
    splitLongWords=1, bulletIndent=2, leftIndent=0, spaceAfter=2,
)  # fmt: skip
MUTED_TEXT = ParagraphStyle("muted", BODY, textColor=MUTED)
TITLE = ParagraphStyle("title", BODY, fontName=BOLD, fontSize=20, leading=25, spaceAfter=2)
HEAD = ParagraphStyle(
    "head", BODY, fontName=BOLD, fontSize=12.5, leading=16, spaceBefore=16, spaceAfter=5
)
SUBHEAD = ParagraphStyle("subhead", BODY, fontName=BOLD)
NOTE = ParagraphStyle("note", BODY, backColor=HexColor("#fdf3dc"), borderPadding=4, spaceBefore=7)
LIST = ParagraphStyle("list", BODY, leftIndent=10, bulletIndent=1)
FIGURE = ParagraphStyle("figure", BODY, fontName=BOLD, fontSize=17, leading=20)
FIGURE_LABEL = ParagraphStyle("figure label", MUTED_TEXT, fontSize=9)
RIGHT = ParagraphStyle("right", BODY, alignment=TA_RIGHT)
RIGHT_BOLD = ParagraphStyle("right bold", RIGHT, fontName=BOLD)

_TIGHT = [
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LEFTPADDING", (0, 0), (-1, -1), 0),
    ("RIGHTPADDING", (0, 0), (-1, -1), 0),
    ("TOPPADDING", (0, 0), (-1, -1), 1),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 0),
]
PAIRS = TableStyle(_TIGHT)
CARD = TableStyle([*_TIGHT, ("BOTTOMPADDING", (0, 0), (-1, -1), 14)])
BOX = TableStyle([
    *_TIGHT,
    ("VALIGN", (0, 0), (-1, -1), "BOTTOM"),
    ("LINEBELOW", (1, 0), (1, -1), LINE, INK),
])  # fmt: skip
RESEARCH_BOX = TableStyle([
    ("BOX", (0, 0), (-1, -1), 0.8, INK),
    ("LEFTPADDING", (0, 0), (-1, -1), 7),
    ("RIGHTPADDING", (0, 0), (-1, -1), 7),
    ("TOPPADDING", (0, 0), (-1, -1), 1),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 4),
])  # fmt: skip
FIGURES = TableStyle([
    ("BACKGROUND", (0, 0), (-1, -1), PAPER),
    ("LINEAFTER", (0, 0), (-2, -1), 6, HexColor("#ffffff")),
    ("LEFTPADDING", (0, 0), (-1, -1), 9),
    ("TOPPADDING", (0, 0), (-1, -1), 6),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 7),
])  # fmt: skip
NUMBERS = TableStyle([
    *_TIGHT,
    ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
    ("RIGHTPADDING", (0, 0), (-1, -1), 6),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 1),
    ("LINEBELOW", (0, 0), (-1, 0), 0.8, INK),
    ("LINEBELOW", (0, 1), (-1, -1), LINE, GRID),
])  # fmt: skip


def register_fonts() -> None:
    """Register both fonts with reportlab, once per process."""
    folder = Path(font_source_sans_pro.__file__).parent / "files"
    for name in {REGULAR, BOLD} - set(pdfmetrics.getRegisteredFontNames()):
        pdfmetrics.registerFont(TTFont(name, str(folder / f"{name}.ttf")))


def printable(text: str) -> str:
    """Replace each character that the fonts lack by its code, such as `<U+65E5>`."""
    known = pdfmetrics.getFont(REGULAR).face.charWidths
    return "".join(char if ord(char) in known else f"<U+{ord(char):04X}>" for char in text)

"""The PDF's fonts: Source Sans Pro, and what to do where it has no glyph."""

from pathlib import Path

import font_source_sans_pro
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont

REGULAR, BOLD = "SourceSansPro-Regular", "SourceSansPro-Semibold"


def register_fonts() -> None:
    """Make both known to reportlab, once a process."""
    folder = Path(font_source_sans_pro.__file__).parent / "files"
    for name in {REGULAR, BOLD} - set(pdfmetrics.getRegisteredFontNames()):
        pdfmetrics.registerFont(TTFont(name, str(folder / f"{name}.ttf")))


def printable(text: str) -> str:
    """The text with `<U+65E5>` for a character that the fonts do not have."""
    known = pdfmetrics.getFont(REGULAR).face.charWidths
    return "".join(char if ord(char) in known else f"<U+{ord(char):04X}>" for char in text)

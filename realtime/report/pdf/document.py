"""Lays out the report as an A4 PDF with embedded fonts."""

from collections.abc import Iterator, Sequence
from functools import partial
from html import escape
from io import BytesIO

from reportlab.graphics.shapes import Drawing
from reportlab.lib.colors import HexColor
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.platypus import (
    BaseDocTemplate,
    Flowable,
    Frame,
    Image,
    KeepTogether,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
)

from qlumen.realtime.report.charts import fill_rect, score_chart, sparkline, timeline
from qlumen.realtime.report.facts import LOOKS, RESEARCH, Facts, Row, TrackFacts
from qlumen.realtime.report.pdf import styles
from qlumen.realtime.report.pdf.page import FOOT, HEIGHT, MARGIN, WIDTH, NumberedCanvas
from qlumen.realtime.report.pdf.styles import printable, register_fonts

INNER = WIDTH - 2 * MARGIN
LABEL = 30 * mm
IMAGE_W, IMAGE_H = 72 * mm, 53 * mm
CARD_GAP = 6 * mm
KEY = 7.0
"""Side of a colour square in points."""


def pdf(facts: Facts) -> bytes:
    """Write a complete document with numbered pages and text that can be searched."""
    register_fonts()
    buffer = BytesIO()
    document = BaseDocTemplate(
        buffer,
        title=printable(facts.title),
        author=printable(facts.institution) or "qlumen",
        subject=RESEARCH,
        creator="qlumen",
        lang="en",
    )
    bottom = FOOT + 8 * mm
    frame = Frame(MARGIN, bottom, INNER, HEIGHT - MARGIN - bottom, 0, 0, 0, 0)
    document.addPageTemplates([PageTemplate("page", [frame])])
    document.build(
        list(_story(facts)),
        canvasmaker=partial(NumberedCanvas, recording=printable(facts.recording)),
    )
    return buffer.getvalue()


def _story(facts: Facts) -> Iterator[Flowable]:
    yield from _head(facts)
    yield from _procedure(facts)
    yield from _charts(facts)
    yield from _lesions(facts)
    yield _keep_together("Image quality", _quality(facts))
    yield _keep_together(
        "Latency", _latency(facts), Spacer(0, 3), _text(facts.latency_note, styles.MUTED_TEXT)
    )
    yield from _model(facts)
    limits = [_text(limit, styles.LIST, bulletText="\u2022") for limit in facts.limits]
    yield _keep_together("Limits of this report", *limits)
    yield _keep_together("Hashes (SHA-256)", _pairs(facts.hashes))


def _head(facts: Facts) -> Iterator[Flowable]:
    if facts.institution:
        yield _text(facts.institution, styles.MUTED_TEXT)
    yield _text(facts.title, styles.TITLE)
    yield _text(f"Report created {facts.created}", styles.MUTED_TEXT)
    yield Spacer(0, 2 * mm)
    width = stringWidth(RESEARCH, styles.BODY.fontName, styles.BODY.fontSize) + 16
    yield Table(
        [[_text(RESEARCH, styles.BODY)]],
        colWidths=[width],
        hAlign="LEFT",
        style=styles.RESEARCH_BOX,
    )
    if facts.persons:
        yield Spacer(0, 4 * mm)
        rows = [
            [_text(label, styles.MUTED_TEXT), _text(value, styles.BODY)]
            for label, value in facts.persons
        ]
        yield Table(rows, colWidths=[LABEL, INNER - LABEL], rowHeights=9 * mm, style=styles.BOX)
    yield Spacer(0, 5 * mm)
    cells = [
        [_text(v, styles.FIGURE), _text(label, styles.FIGURE_LABEL)] for v, label in facts.headline
    ]
    yield Table([cells], colWidths=[INNER / len(cells)] * len(cells), style=styles.FIGURES)


def _procedure(facts: Facts) -> Iterator[Flowable]:
    notes = [_text(warning, styles.NOTE) for warning in facts.warnings]
    half = -(-len(facts.procedure) // 2)
    columns = [_pairs(rows, INNER / 2) for rows in (facts.procedure[:half], facts.procedure[half:])]
    yield _keep_together(
        "Procedure", Table([columns], colWidths=[INNER / 2] * 2, style=styles.PAIRS), *notes
    )


def _charts(facts: Facts) -> Iterator[Flowable]:
    if drawing := timeline(facts, INNER):
        note = "Dark bar: the lesion was found. White dot: its best frame. The last row shows "
        note += "the condition of the frames, in the colours of the table Image quality."
        yield _keep_together("Timeline", drawing, _text(note, styles.MUTED_TEXT))
    if drawing := score_chart(facts, INNER):
        note = "Grey: the highest score of all findings. Blue: the scores of the lesions."
        yield _keep_together("Score over time", drawing, _text(note, styles.MUTED_TEXT))


def _lesions(facts: Facts) -> Iterator[Flowable]:
    title = _text("Lesions" if facts.span else "Findings", styles.HEAD)
    cards = [_card(track) for track in facts.tracks]
    first = cards[0] if cards else _text("Nothing found at these thresholds.", styles.BODY)
    yield KeepTogether([title, first])
    yield from cards[1:]
    if facts.omitted:
        more = f"{facts.omitted} more were seen in fewer frames. The table of findings has them."
        yield _text(more, styles.BODY)
    if facts.brief:
        less = f"{facts.brief} more were followed for less time than the alarm hold."
        yield _text(f"{less} They are left out.", styles.MUTED_TEXT)


def _card(track: TrackFacts) -> Flowable:
    beside = INNER - IMAGE_W - CARD_GAP
    parts: list[Flowable] = [_text(track.title, styles.SUBHEAD), _pairs(track.rows, beside)]
    if drawing := sparkline(track, beside):
        parts += [Spacer(0, 2 * mm), drawing]
    row = [_fit_image(track.image), parts]
    return Table([row], colWidths=[IMAGE_W + CARD_GAP, beside], style=styles.CARD)


def _fit_image(jpeg: bytes) -> Image:
    width, height = ImageReader(BytesIO(jpeg)).getSize()
    scale = min(IMAGE_W / width, IMAGE_H / height)
    return Image(BytesIO(jpeg), width * scale, height * scale, hAlign="LEFT")


def _quality(facts: Facts) -> Flowable:
    counted = "Frames" if facts.span else "Images"
    rows = [["", _text("Condition", styles.SUBHEAD), _right(counted, True), _right("Share", True)]]
    for row in facts.quality:
        share = f"{100 * row.share:.1f}%"
        colour = HexColor(LOOKS[row.condition].on_paper)
        key = Drawing(KEY, KEY, fill_rect(0, 0, KEY, KEY, colour))
        rows.append([key, _text(row.label, styles.BODY), _right(f"{row.frames:,}"), _right(share)])
    return Table(
        rows, colWidths=[5 * mm, 57 * mm, 22 * mm, 22 * mm], style=styles.NUMBERS, hAlign="LEFT"
    )


def _latency(facts: Facts) -> Flowable:
    heads = [_right(name, True) for name in ("p50", "p95", "p99", "max")]
    rows = [[_text("Stage, ms", styles.SUBHEAD), *heads]]
    for row in facts.latency:
        figures = (row.p50, row.p95, row.p99, row.max)
        rows.append([_text(row.stage, styles.BODY), *(_right(f"{one:.2f}") for one in figures)])
    return Table(rows, colWidths=[62 * mm, *[22 * mm] * 4], style=styles.NUMBERS, hAlign="LEFT")


def _model(facts: Facts) -> Iterator[Flowable]:
    yield _keep_together("Model", _pairs(facts.model))
    for section in facts.card:
        parts: list[Flowable] = [_text(f"{section.title} (model card)", styles.SUBHEAD)]
        if section.table:
            parts += [_card_table(section.table), Spacer(0, 4)]
        parts += [_text(paragraph, styles.BODY) for paragraph in section.paragraphs]
        yield KeepTogether([Spacer(0, 3 * mm), *parts])


def _card_table(table: Sequence[Sequence[str]]) -> Flowable:
    head = [_right(cell, True) for cell in table[0][1:]]
    rows = [[_text(table[0][0], styles.SUBHEAD), *head]]
    rows += [[_text(row[0], styles.BODY), *(_right(cell) for cell in row[1:])] for row in table[1:]]
    rest = (INNER - LABEL) / max(1, len(table[0]) - 1)
    return Table(rows, colWidths=[LABEL, *[rest] * (len(table[0]) - 1)], style=styles.NUMBERS)


def _pairs(rows: Sequence[Row], width: float = INNER) -> Flowable:
    if not rows:
        return Spacer(0, 0)
    cells = [[_text(label, styles.MUTED_TEXT), _text(value, styles.BODY)] for label, value in rows]
    return Table(cells, colWidths=[LABEL, width - LABEL], style=styles.PAIRS)


def _keep_together(title: str, *parts: Flowable) -> Flowable:
    return KeepTogether([_text(title, styles.HEAD), *parts])


def _right(text: str, bold: bool = False) -> Paragraph:
    return _text(text, styles.RIGHT_BOLD if bold else styles.RIGHT)


def _text(text: str, style: ParagraphStyle, **options: str) -> Paragraph:
    return Paragraph(escape(printable(text)), style, **options)

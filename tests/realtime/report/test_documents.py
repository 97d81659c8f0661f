"""Checks that HTML and PDF say the same and load nothing from a network."""

import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reportlab.graphics.shapes import PolyLine
from reportlab.pdfbase.pdfmetrics import stringWidth

from qlumen.networks.bundle import Thresholds
from qlumen.realtime.report.build_facts import gather
from qlumen.realtime.report.charts import ACCENT, MAX_TICKS, REGULAR, score_chart, ticks
from qlumen.realtime.report.facts import Facts, TimeSpan, clock
from qlumen.realtime.report.html import html
from qlumen.realtime.report.pdf.document import pdf
from qlumen.realtime.report.pdf.page import SIZE as FOOT_SIZE
from qlumen.realtime.report.pdf.page import shorten
from qlumen.realtime.report.pdf.styles import printable, register_fonts
from qlumen.realtime.review.findings import find
from qlumen.realtime.review.review import Review

from support.media import make_images, write_image
from support.reviews import SIZE, make_review, usual_map

pypdf = pytest.importorskip("pypdf", reason="pip install pypdf")
REFERRING = {"src", "href", "srcset", "action", "data", "poster", "xlink:href", "background"}


class Page(HTMLParser):
    """Collects text, references and elements of a document."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.text, self.references, self.elements = [], [], set()
        self.feed(document)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.references += [value or "" for key, value in attributes if key in REFERRING]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture
def facts(review: Review) -> Facts:
    return gather(review, find(review))


def words(text: str) -> str:
    return "".join(text.split())


def pdf_text(facts: Facts) -> list[str]:
    return [page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf(facts))).pages]


def list_texts(facts: Facts) -> list[str]:
    """List the texts that both documents must hold."""
    rows = [*facts.headline, *facts.procedure, *facts.model, *facts.hashes, *facts.persons]
    rows += [row for track in facts.tracks for row in track.rows]
    texts = [value for _, value in rows if value] + [facts.title, facts.latency_note]
    texts += [section.title for section in facts.card] + [*facts.limits, *facts.warnings]
    return [*texts, *(row.label for row in facts.quality), "Research tool, not a medical device."]


def test_html_loads_nothing(facts: Facts) -> None:
    """Every reference is data in the file; there is no script, and a policy forbids more."""
    document = html(facts)
    page = Page(document)
    assert page.references
    assert all(
        reference.startswith(("data:image/jpeg;base64,", "#")) for reference in page.references
    )
    assert not page.elements & {"script", "iframe", "object", "embed", "link", "base", "form"}
    assert not re.search(r"@import|url\(|https?://(?!www\.w3\.org)", document)
    assert "default-src 'none'" in document


def test_both_documents_say_all_facts(facts: Facts) -> None:
    """Each fact is in the HTML's text and in the text that pypdf reads from the PDF."""
    page, paper = words("".join(Page(html(facts)).text)), words("".join(pdf_text(facts)))
    for fact in list_texts(facts):
        assert words(fact) in page, fact
        assert words(fact) in paper, fact


def test_facts_are_those_of_the_recording(review: Review, facts: Facts) -> None:
    """File, length, rate, share of frames with findings and lesion times match hand-worked ones."""
    assert dict(facts.procedure)["File"] == "clip.mp4"
    assert dict(facts.procedure)["Duration"] == "0:00.8"
    assert dict(facts.procedure)["Frame rate"] == "25.00 frames/s"
    assert [value for value, _ in facts.headline] == ["1", "20", "60.0%", "85.0%"]
    (track,) = facts.tracks
    assert dict(track.rows)["Seen"] == "0:00.1 to 0:00.6"
    assert dict(track.rows)["Frames"] == "12 (0.5 s)"
    counts = {row.label: row.frames for row in facts.quality}
    assert counts == {
        "clear": 17, "too dark": 3, "blurred": 0, "red-out": 0, "too bright": 0,
        "out of body": 0,
    }  # fmt: skip
    assert [row.p95 for row in facts.latency] == [2.5, 2.5, 2.5]


def test_persons_are_named_on_request_only(facts: Facts) -> None:
    """A document has a field for a person only if it was asked for."""
    assert facts.persons == ()
    assert "Patient" not in "".join(Page(html(facts)).text) + "".join(pdf_text(facts))
    named = facts.with_persons("Jo <b>Doe</b> & Søn", "")
    for text in ("".join(Page(html(named)).text), "".join(pdf_text(named))):
        assert "Jo <b>Doe</b> & Søn" in text
        assert "Operator" in text


def test_pages_are_numbered(facts: Facts) -> None:
    """Each page shows its number, the number of pages and the research notice."""
    texts = pdf_text(replace(facts, tracks=facts.tracks * 9))
    assert len(texts) > 3
    for number, text in enumerate(texts, start=1):
        assert f"Page {number} of {len(texts)}" in text
        assert "Research tool, not a medical device." in text


def test_each_page_names_the_recording(facts: Facts) -> None:
    """A name that is too long for the footer keeps its beginning and its end."""
    for page in pdf_text(replace(facts, recording="Coloscopy 7.mp4")):
        assert "Coloscopy 7.mp4" in page
    long = replace(facts, recording="b" + "w" * 300 + ".mp4")
    for page in pdf_text(long):
        assert re.search(r"\bbw{20,}\u2026w{20,}\.mp4", page), page


@given(st.text(max_size=200), st.floats(10, 300))
def test_a_shortened_name_fits_its_place(text: str, width: float) -> None:
    register_fonts()
    short = shorten(printable(text), width)
    assert stringWidth(short, REGULAR, FOOT_SIZE) <= width
    first, _, last = short.partition("\u2026")
    assert printable(text).startswith(first)
    assert printable(text).endswith(last)


def test_hostile_and_unknown_characters(facts: Facts) -> None:
    """Markup in a file's name is text; the PDF shows characters without a glyph as codes."""
    name = "<script>alert(1)</script>&日本.mp4"
    hostile = replace(facts, procedure=(("File", name),))
    assert "script" not in Page(html(hostile)).elements
    assert name in "".join(Page(html(hostile)).text)
    assert "<script>alert(1)</script>&<U+65E5><U+672C>.mp4" in words("".join(pdf_text(hostile)))


def test_nothing_overflows_the_paper(facts: Facts) -> None:
    """Very long names, many lesions and notes still make a document."""
    long = replace(
        facts, institution="I" * 120, tracks=facts.tracks * 40,
        procedure=(("File", "x" * 300),), warnings=("w" * 400,) * 9,
    )  # fmt: skip
    assert len(pdf_text(long)) > 10


def test_a_still_is_reported(tmp_path: Path) -> None:
    """The report of a still shows findings and its name, but no timeline and no times."""
    still = write_image(tmp_path / "still.png", make_images(1, *SIZE)[0])
    folder = make_review(tmp_path / "review", still, maps=lambda index: usual_map(5))
    with Review(folder) as review:
        facts = gather(review, find(review))
    (track,) = facts.tracks
    assert dict(track.rows)["Image"] == "still.png"
    for text in (words("".join(Page(html(facts)).text)), words("".join(pdf_text(facts)))):
        assert all(words(fact) in text for fact in list_texts(facts))
        assert "Finding1" in text
        assert not any(absent in text for absent in ("Timeline", "Scoreovertime"))


def test_no_score_is_drawn_where_a_lesion_was_not_found(facts: Facts) -> None:
    """A lesion has a curve for each span; no line crosses the time between two spans."""
    (track,) = facts.tracks
    scores = tuple(one for one in track.scores if not 0.2 <= one[0] < 0.4)
    spans = TimeSpan(track.spans[0].start_s, 0.2), TimeSpan(0.4, track.spans[0].end_s)
    drawing = score_chart(replace(facts, tracks=(replace(track, scores=scores, spans=spans),)), 500)
    assert drawing is not None
    curves = [one for one in drawing.contents if isinstance(one, PolyLine)]
    curves = [one for one in curves if one.strokeColor == ACCENT]
    assert [len(curve.points) // 2 for curve in curves] == [
        sum(time_s < 0.2 for time_s, _ in scores), sum(time_s >= 0.4 for time_s, _ in scores)
    ]  # fmt: skip


def test_a_review_without_findings_is_reported(review: Review) -> None:
    """The report says that nothing was found, and shows no lesion."""
    none = find(review, Thresholds(low=0.5, high=0.99, min_area_fraction=0.0005))
    facts = gather(review, none)
    assert facts.tracks == ()
    assert "Nothing found at these thresholds." in "".join(pdf_text(facts))
    assert "Nothing found at these thresholds." in "".join(Page(html(facts)).text)
    assert "findings recomputed" in dict(facts.model)["Changed"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00.0"), (59.96, "1:00.0"), (61.25, "1:01.2"), (3723.4, "1:02:03.4"), (-1.5, "-0:01.5")],
)
def test_times_as_people_read_them(seconds: float, text: str) -> None:
    """A time shows minutes, seconds and tenths, and hours from one hour on."""
    assert clock(seconds) == text


@pytest.mark.parametrize("length_s", [0.04, 1, 7.24, 59, 600, 3601, 40_000])
def test_ticks_are_few_and_within(length_s: float) -> None:
    """There are at most eight ticks, and all lie within the span."""
    found = ticks(TimeSpan(3.0, 3.0 + length_s))
    assert len(found) <= MAX_TICKS
    assert all(3.0 <= tick <= 3.0 + length_s + 1e-9 for tick in found)

"""Writes the atlas as one HTML page that loads nothing, and as JSON."""

import base64
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qlumen.errors import UsageError
from qlumen.evaluation.atlas.crops import Errors
from qlumen.evaluation.atlas.images import AuditImage
from qlumen.evaluation.atlas.patterns import (
    FALSE_FINDINGS,
    MISSED_LESIONS,
    Pattern,
    count_crops,
    first_sentence,
    report_patterns,
)
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.pixels.jpeg import jpeg_bytes
from qlumen.system.files import replacing, write_bytes, write_json
from qlumen.system.templates import load_template

PAGE, NUMBERS = "index.html", "alarms.json"
SHOWN_CROPS = 24
JPEG_QUALITY = 90


def check_folder(folder: Path) -> None:
    """Raise UsageError unless `folder` is missing, empty or an earlier atlas."""
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if names and names != {PAGE, NUMBERS}:
        raise UsageError(f"--output {folder} is not empty and is no atlas; name another folder")


def write_atlas(
    folder: Path,
    images: Sequence[AuditImage],
    errors: Errors,
    wrong: Sequence[Pattern],
    missed: Sequence[Pattern],
    about: dict[str, Any],
) -> None:
    """Write `index.html` and `alarms.json`, and replace an earlier atlas as a whole.

    Args:
        wrong, missed: patterns of the false findings and of the missed lesions
        about: engine, bundle and hash of the settings

    Raises:
        SinkError: the folder cannot be written
    """
    content = {
        **about,
        "images": len(images),
        "splits": dict(Counter(one.split for one in images)),
        "findings": errors.findings,
        "lesions": errors.lesions,
        "sources": count_sources(images, errors),
        "false_findings": report_patterns(wrong),
        "missed_lesions": report_patterns(missed),
    }
    page = render_page(content, wrong, missed)
    with replacing(folder) as part:
        part.mkdir()
        write_json(part / NUMBERS, content)
        write_bytes(part / PAGE, page.encode(errors="backslashreplace"))


def count_sources(images: Sequence[AuditImage], errors: Errors) -> dict[str, dict[str, int]]:
    """Count images, false findings and missed lesions of each source."""
    counts = {
        source: {"images": n} for source, n in Counter(one.origin.source for one in images).items()
    }
    for name, crops in (
        ("false_findings", errors.false_findings),
        ("missed_lesions", errors.missed_lesions),
    ):
        found = Counter(crop.image.origin.source for crop in crops)
        for source, row in counts.items():
            row[name] = found[source]
    return counts


def render_page(
    content: dict[str, Any], wrong: Sequence[Pattern], missed: Sequence[Pattern]
) -> str:
    """Return the document with its styles and pictures."""
    sections = [
        {
            "title": what.capitalize(),
            "sentence": first_sentence(patterns, what),
            "touching": touching,
            "whole": count_crops(patterns),
            "patterns": patterns,
        }
        for what, touching, patterns in (
            (FALSE_FINDINGS, "overlap a lesion", wrong),
            (MISSED_LESIONS, "overlap a finding", missed),
        )
    ]
    return load_template("qlumen.evaluation.atlas", "atlas.html.j2").render(
        content=content, sections=sections, shown=SHOWN_CROPS, picture=_picture
    )


def _picture(image: Image) -> str:
    data = base64.b64encode(jpeg_bytes(image, JPEG_QUALITY)).decode()
    return f"data:image/jpeg;base64,{data}"

"""Writes the summary page of an archive's version as one HTML file."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from qlumen.realtime.archive.folder import Entry
from qlumen.realtime.archive.tables import Row, read_table
from qlumen.realtime.frames import Condition
from qlumen.realtime.report.facts import RESEARCH, percent
from qlumen.system.files import write_bytes
from qlumen.system.templates import load_template

Bar = tuple[str, float, str]
"""Label, length and text of a bar."""
LESIONS, RATES = (0, 1, 2, 3, 5, 10, 20), (0, 0.25, 0.5, 1, 2, 4, 8)
"""Borders of the groups of recordings, by lesions and by alarms a minute."""
MOST_LISTED = 50


def write_page(output: Path, version: str, entries: Mapping[str, Entry]) -> Path:
    """Write the page beside the version's manifest and return its path."""
    rows = read_table(output, "recordings", version)
    aside = {name: one.error for name, one in sorted(entries.items()) if one.error}
    same = len(entries) - len(aside) - len({one.sha256 for one in entries.values() if one.sha256})
    hours = sum(row["length_s"] for row in rows) / 3600
    rates = [60 * row["lesions"] / row["length_s"] for row in rows if row["length_s"]]
    path = output / "versions" / version / "summary.html"
    content = load_template("qlumen.realtime.archive", "summary.html.j2").render(
        version=version,
        research=RESEARCH,
        about=rows[0] if rows else {},
        figures={
            "recordings": len(rows),
            "hours of video": f"{hours:.1f}",
            "lesions with an alarm": sum(row["lesions"] for row in rows),
            "set aside": len(aside),
            "the same file again": same,
        },
        charts={
            "Recordings by lesions": _groups([row["lesions"] for row in rows], LESIONS),
            "Recordings by alarms a minute": _groups(rates, RATES),
            "Image quality, share of all frames": _quality(rows),
            "Seconds of video a second, by worker": _throughput(rows),
        },
        early=[(row["name"], row["error"]) for row in rows if row["error"]][:MOST_LISTED],
        aside=list(aside.items())[:MOST_LISTED],
        most=MOST_LISTED,
    )
    write_bytes(path, content.encode())
    return path


def _groups(values: list[float], borders: Sequence[float]) -> list[Bar]:
    """Count the values from each border up to the next one."""
    bars: list[Bar] = []
    for low, high in pairwise([*borders, math.inf]):
        count = sum(low <= value < high for value in values)
        bars.append((f"from {low:g}", count, f"{count}"))
    return bars


def _quality(rows: list[Row]) -> list[Bar]:
    total = sum(row["frames"] for row in rows) or 1
    shares = [(one, sum(row[one.value] for row in rows) / total) for one in Condition]
    return [(one.label, share, percent(share)) for one, share in shares]


def _throughput(rows: list[Row]) -> list[Bar]:
    video_s, took_s = Counter[str](), Counter[str]()
    for row in rows:
        video_s[row["worker"]] += row["length_s"]
        took_s[row["worker"]] += row["took_s"]
    speeds = {one: video_s[one] / took_s[one] for one in sorted(video_s)}
    return [(one, speed, f"{speed:.2f}") for one, speed in speeds.items()]

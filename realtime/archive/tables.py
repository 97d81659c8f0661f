"""Defines the tables of an archive and collects their rows from the frames of a recording."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from qlumen.realtime.frames import Condition, Finding, FrameRecord, FrameResult, Track
from qlumen.realtime.sinks.base import Sink

Row = dict[str, Any]

_BOX = "x0:int32 y0:int32 x1:int32 y1:int32 score:float area_px:int32"
COLUMNS = {
    "findings": f"recording:string frame:int32 time_s:double lesion:int32 {_BOX}",
    "lesions": "recording:string lesion:int32 first_s:double last_s:double frames:int32 "
    f"highest_score:float frame:int32 time_s:double {_BOX}",
    "recordings": "recording:string name:string bytes:int64 width:int32 height:int32 "
    f"length_s:double frames:int32 {' '.join(f'{one.value}:int32' for one in Condition)} "
    "frames_found:int32 lesions:int32 error:string bundle:string bundle_sha256:string "
    "settings_sha256:string qlumen:string worker:string took_s:double",
}
"""Columns and their types; the guide says what each holds."""
ENDINGS = {"videos": ".mp4", "reports": ".html"}
"""Extras that are made on request, and the endings of their files."""
HOW = ("worker", "took_s")
"""Columns that differ from run to run; all others are the same in each."""
SCHEMAS = {
    table: pa.schema([tuple(column.split(":")) for column in text.split()])
    for table, text in COLUMNS.items()
}


def result_path(output: Path, kind: str, version: str, sha256: str) -> Path:
    """Return the file of one recording's rows in a table, of its video or of its report."""
    return output / kind / f"version={version}" / f"{sha256}{ENDINGS.get(kind, '.parquet')}"


def is_complete(output: Path, version: str, sha256: str, extras: Iterable[str]) -> bool:
    """Check whether a recording has its rows and the wanted extras.

    Its row in `recordings` is written last, so all its rows are there with it.
    """
    kinds = ("recordings", *extras)
    return all(result_path(output, kind, version, sha256).exists() for kind in kinds)


def read_table(output: Path, table: str, version: str) -> list[Row]:
    """Read all rows of one version, in the order of the files' names."""
    files = sorted((output / table / f"version={version}").glob("*.parquet"))
    return [row for path in files for row in pq.ParquetFile(path).read().to_pylist()]


class RowCollector(Sink):
    """Collects the rows of a recording's findings and lesions, frame by frame."""

    def __init__(self, sha256: str) -> None:
        self._sha256 = sha256
        self._findings: list[Row] = []
        self._lesions: dict[int, Row] = {}
        self._conditions: Counter[Condition | None] = Counter()
        self._size, self._length_s, self._found = (0, 0), 0.0, 0

    def write(self, result: FrameResult) -> None:
        self.add(result.record())

    def add(self, record: FrameRecord) -> None:
        """Add one frame; frames come in their order."""
        if not self._conditions:
            self._size = record.size
        self._conditions[record.condition] += 1
        self._length_s = record.time_s
        self._found += bool(record.findings)
        numbers = {id(one.finding): one.number for one in record.tracks}
        for finding in record.findings:
            self._findings.append(self._row(record, finding, numbers.get(id(finding))))
        for track in record.tracks:
            if track.seen:
                self._add_track(record, track)

    def rows(self, about: Row) -> dict[str, list[Row]]:
        """Return the rows of all tables; `about` completes that of the recording."""
        lesions = [one for _, one in sorted(self._lesions.items()) if one.pop("alarm")]
        whole = {
            "recording": self._sha256, "width": self._size[0], "height": self._size[1],
            "length_s": self._length_s, "frames": self._conditions.total(),
            "frames_found": self._found, "lesions": len(lesions),
        }  # fmt: skip
        whole |= {one.value: self._conditions[one] for one in Condition}
        return {"findings": self._findings, "lesions": lesions, "recordings": [whole | about]}

    def _add_track(self, record: FrameRecord, track: Track) -> None:
        best = self._row(record, track.finding, track.number)
        first = {"first_s": record.time_s, "frames": 0, "highest_score": 0.0, "alarm": False}
        one = self._lesions.setdefault(track.number, first | best)
        one["last_s"] = record.time_s
        one["frames"] += 1
        one["highest_score"] = max(one["highest_score"], best["score"])
        one["alarm"] |= track.alarm
        if best["score"] * best["area_px"] > one["score"] * one["area_px"]:
            one |= best

    def _row(self, record: FrameRecord, finding: Finding, lesion: int | None) -> Row:
        box = dict(zip(("x0", "y0", "x1", "y1"), map(int, finding.box), strict=True))
        return box | {
            "recording": self._sha256, "frame": record.index, "time_s": record.time_s,
            "lesion": lesion, "score": float(finding.score), "area_px": int(finding.area_px),
        }  # fmt: skip


def write_table(path: Path, table: str, rows: Sequence[Row]) -> None:
    """Write rows as Parquet with the table's schema."""
    pq.write_table(pa.Table.from_pylist(list(rows), SCHEMAS[table]), path, compression="zstd")

"""Reads which images of a data folder are not independent, and where each of them is from.

    FOLDER/index.csv                 stem, group, and centre or source
    splits/clinicdb_sequences.csv    sequence, first_frame, last_frame

A group is a procedure, a video or a set of near-duplicates. The stem of an image in `cvc-clinicdb`
is the number of its frame.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from qlumen.datasets.splits import SPLITS
from qlumen.errors import DatasetError

INDEX = "index.csv"
CLINICDB = "cvc-clinicdb"
SEQUENCES = "clinicdb_sequences.csv"
CENTRE, SOURCE = "centre", "source"
INDEX_COLUMNS = (("stem",), ("group",), (CENTRE, SOURCE))
SEQUENCE_COLUMNS = (("sequence",), ("first_frame",), ("last_frame",))


@dataclass(frozen=True, slots=True)
class Origin:
    """Says where an image is from.

    Attributes:
        name: `folder/stem`
        cluster: equal for images that are not independent; the name itself if nothing is known
        source: `folder centre` or the source that the index names; the folder if nothing is known
    """

    name: str
    cluster: str
    source: str


@dataclass(frozen=True, slots=True)
class _Sequence:
    name: str
    first: int
    last: int


def read_origins(root: Path, names: Sequence[str]) -> list[Origin]:
    """Return the origin of each `folder/stem` of a data folder, in their order.

    Raises:
        DatasetError: an index or the list of sequences is malformed; names its file and line
    """
    indices: dict[str, dict[str, Origin]] = {}
    sequences = _read_sequences(root / SPLITS / SEQUENCES)
    found = []
    for name in names:
        folder, _, stem = name.partition("/")
        if folder not in indices:
            indices[folder] = _read_index(root, folder)
        known = indices[folder].get(stem)
        found.append(known or Origin(name, _sequence_cluster(folder, stem, sequences), folder))
    return found


def known_clusters(origins: Sequence[Origin]) -> list[str] | None:
    """Return the cluster of each image; None if nothing is known of any of them."""
    known = any(origin.cluster != origin.name for origin in origins)
    return [origin.cluster for origin in origins] if known else None


def places_by_source(origins: Sequence[Origin]) -> dict[str, list[int]]:
    """Return the places of the images of each source, sorted by source."""
    places: dict[str, list[int]] = {source: [] for source in sorted({o.source for o in origins})}
    for place, origin in enumerate(origins):
        places[origin.source].append(place)
    return places


def _sequence_cluster(folder: str, stem: str, sequences: Sequence[_Sequence]) -> str:
    if folder == CLINICDB and stem.isdecimal():
        for one in sequences:
            if one.first <= int(stem) <= one.last:
                return f"{folder}/sequence {one.name}"
    return f"{folder}/{stem}"


def _read_index(root: Path, folder: str) -> dict[str, Origin]:
    """Return the origins that `root/folder/index.csv` names, by stem; {} without that file."""
    found: dict[str, Origin] = {}
    for where, row in _read_rows(root / folder / INDEX, INDEX_COLUMNS):
        stem, group = row["stem"], row["group"]
        if not stem or stem in found:
            raise DatasetError(f"{where}: the stem is {'named twice' if stem else 'empty'}: {stem}")
        place = f"{folder} {row[CENTRE]}" if row.get(CENTRE) else row.get(SOURCE)
        found[stem] = Origin(f"{folder}/{stem}", f"{folder}/{group or stem}", place or folder)
    return found


def _read_sequences(path: Path) -> list[_Sequence]:
    """Return the sequences of frames; [] without that file."""
    found: list[_Sequence] = []
    for where, row in _read_rows(path, SEQUENCE_COLUMNS):
        try:
            one = _Sequence(row["sequence"], int(row["first_frame"]), int(row["last_frame"]))
        except ValueError:
            raise DatasetError(f"{where}: first_frame and last_frame must be numbers") from None
        if one.first > one.last:
            raise DatasetError(f"{where}: first_frame {one.first} is after last_frame {one.last}")
        if other := next((o for o in found if one.first <= o.last and o.first <= one.last), None):
            raise DatasetError(f"{where}: shares frames with sequence {other.name}")
        found.append(one)
    return found


def _read_rows(path: Path, needed: Sequence[Sequence[str]]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield file with line, and the fields, of each row; nothing without that file.

    Args:
        needed: columns, each with the names that it may have
    """
    if not path.is_file():
        return
    rows = csv.DictReader(StringIO(_read_text(path), newline=""), strict=True)
    try:
        columns = rows.fieldnames or ()
        for names in needed:
            if not any(name in columns for name in names):
                missing, given = " or ".join(names), ", ".join(columns) or "empty"
                raise DatasetError(f"{path}, line 1: no column {missing}; the line is {given}")
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            if None in row or None in row.values():
                raise DatasetError(f"{where}: needs {len(columns)} fields, as line 1 has")
            yield where, row
    except csv.Error as error:
        raise DatasetError(f"{path}, line {rows.reader.line_num}: {error}") from None


def _read_text(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DatasetError(f"{path}, line {line}: not a table in UTF-8") from None

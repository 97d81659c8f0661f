from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlumen.datasets.groups import (
    INDEX,
    SEQUENCES,
    Origin,
    known_clusters,
    places_by_source,
    read_origins,
)
from qlumen.errors import DatasetError

INDEX_TEXT = """stem,centre,group,width
a,C1,g1,640
b,C2,g1,640
c,C2,,640
d,,g2,640
"""
SEQUENCE_TEXT = "sequence,first_frame,last_frame\n1,1,25\n2,26,50\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Write an index of one folder, and sequences of another one."""
    for name in ("gen", "cvc-clinicdb", "splits"):
        (tmp_path / name).mkdir()
    (tmp_path / "gen" / INDEX).write_text(INDEX_TEXT)
    (tmp_path / "splits" / SEQUENCES).write_text(SEQUENCE_TEXT)
    return tmp_path


def test_indices_and_sequences_are_read(root: Path) -> None:
    """Group and centre come from the index, and sequences from their list. An image without an
    entry stands alone and has its folder as its source."""
    names = ["gen/a", "gen/b", "gen/c", "gen/d", "gen/e", "cvc-clinicdb/25", "cvc-clinicdb/26",
             "cvc-clinicdb/50", "cvc-clinicdb/51", "cvc-clinicdb/x", "other/25"]  # fmt: skip
    assert read_origins(root, names) == [
        Origin("gen/a", "gen/g1", "gen C1"),
        Origin("gen/b", "gen/g1", "gen C2"),
        Origin("gen/c", "gen/c", "gen C2"),
        Origin("gen/d", "gen/g2", "gen"),
        Origin("gen/e", "gen/e", "gen"),
        Origin("cvc-clinicdb/25", "cvc-clinicdb/sequence 1", "cvc-clinicdb"),
        Origin("cvc-clinicdb/26", "cvc-clinicdb/sequence 2", "cvc-clinicdb"),
        Origin("cvc-clinicdb/50", "cvc-clinicdb/sequence 2", "cvc-clinicdb"),
        Origin("cvc-clinicdb/51", "cvc-clinicdb/51", "cvc-clinicdb"),
        Origin("cvc-clinicdb/x", "cvc-clinicdb/x", "cvc-clinicdb"),
        Origin("other/25", "other/25", "other"),
    ]


def test_a_source_is_taken_as_it_is_written(root: Path) -> None:
    """The column `source` gives full names, also with commas and after a byte order mark."""
    text = '\ufeffstem,source,group,side\na,"HyperKvasir, colitis",1,score\n'
    (root / "gen" / INDEX).write_text(text, "utf-8")
    assert read_origins(root, ["gen/a"]) == [Origin("gen/a", "gen/1", "HyperKvasir, colitis")]


def test_clusters_are_known_where_any_image_has_an_entry(root: Path) -> None:
    """Without any entry the clusters are not known."""
    assert known_clusters(read_origins(root, ["gen/c", "other/1"])) is None
    clusters = known_clusters(read_origins(root, ["gen/a", "other/1", "gen/b"]))
    assert clusters == ["gen/g1", "other/1", "gen/g1"]


@given(st.lists(st.sampled_from("xyz"), max_size=12))
def test_sources_share_out_the_places(sources: list[str]) -> None:
    """Each place is listed once, under its own source, in order."""
    places = places_by_source([Origin("f/a", "f/a", source) for source in sources])
    assert sorted(place for rows in places.values() for place in rows) == list(range(len(sources)))
    assert list(places) == sorted(set(sources))
    for source, rows in places.items():
        assert rows == sorted(rows)
        assert {sources[place] for place in rows} == {source}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: no column stem; the line is empty"),
        ("stem,centre\na,C1\n", "line 1: no column group; the line is stem, centre"),
        ("stem,group\na,g\n", "line 1: no column centre or source"),
        ("stem,group,source\na,g,C\nb,g\n", "line 3: needs 3 fields"),
        ("stem,group,source\na,g,C,1\n", "line 2: needs 3 fields"),
        ("stem,group,source\na,g,C\na,h,C\n", "line 3: the stem is named twice: a"),
        ("stem,group,source\n,g,C\n", "line 2: the stem is empty"),
        ('stem,group,source\n"a"b,g,C\n', "line 2: "),
    ],
)
def test_malformed_indices_are_named(root: Path, text: str, message: str) -> None:
    """The error names file and line."""
    (root / "gen" / INDEX).write_text(text)
    with pytest.raises(DatasetError) as raised:
        read_origins(root, ["gen/a"])
    assert f"{root / 'gen' / INDEX}, {message}" in str(raised.value)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1,a,3", "line 2: first_frame and last_frame must be numbers"),
        ("1,1,3\n2,5,4", "line 3: first_frame 5 is after last_frame 4"),
        ("1,1,3\n2,3,4", "line 3: shares frames with sequence 1"),
        ("1,1", "line 2: needs 3 fields"),
    ],
)
def test_malformed_sequences_are_named(root: Path, rows: str, message: str) -> None:
    """The error names file and line."""
    (root / "splits" / SEQUENCES).write_text(f"sequence,first_frame,last_frame\n{rows}\n")
    with pytest.raises(DatasetError) as raised:
        read_origins(root, ["gen/a"])
    assert f"{SEQUENCES}, {message}" in str(raised.value)


def test_a_table_that_is_no_text_is_named(root: Path) -> None:
    """A file that is not UTF-8 raises an error with its name."""
    (root / "gen" / INDEX).write_bytes(b"stem,group,source\n\xff\xfe,g,C\n")
    with pytest.raises(DatasetError, match=r"index\.csv, line 2: not a table in UTF-8"):
        read_origins(root, ["gen/a"])


@pytest.mark.data
def test_the_real_data_have_clusters_and_sources(data_dir: Path) -> None:
    """All frames of ClinicDB lie in 29 sequences, and PolypGen's stems begin with their centre."""
    frames = read_origins(data_dir, [f"cvc-clinicdb/{number}" for number in range(1, 613)])
    assert len({origin.cluster for origin in frames}) == 29
    lines = (data_dir / "splits" / "polypgen_train.txt").read_text().split()
    for origin in read_origins(data_dir, lines):
        assert origin.source == f"polypgen {origin.name.partition('/')[2][:2]}"
        assert origin.cluster != origin.name

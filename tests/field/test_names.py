"""Names of files, folders and patients in any letters and bytes.

Asked for by rsnitsch/py3createtorrent #33 and GoogleCloudPlatform/gsutil #1625 (names of files),
innolitics/dicom-standard #84, pydicom #2243 and fo-dicom #2029 (names of patients).
"""

import csv
import json
import os
import re
import sys
import tempfile
import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from qlumen.errors import UsageError
from qlumen.realtime.cli import commands, main
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.report.outputs import ReportOutputs, write_all
from qlumen.realtime.review.findings import find
from qlumen.realtime.review.recording import hash_recording, read_location, stored_location
from qlumen.realtime.review.review import Review
from qlumen.realtime.view.reviews.open_recordings import list_files, pick_file
from qlumen.system.files import write_bytes, write_json
from qlumen.system.locations import printable

from support.media import make_images, read_source, write_image, write_video
from support.reviews import make_recording, make_review

pydicom = pytest.importorskip("pydicom", reason="pip install 'qlumen[dicom]'")

LATIN = os.fsdecode(b"M\xfcller 1.mp4")
FOLDER = os.fsdecode(b"Ger\xe4t")
IMAGES = [os.fsdecode(b"bild_\xe4.png"), os.fsdecode(b"bild_\xf6.png"), "bild\n.png"]

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

byte_names = st.binary(min_size=1, max_size=40).filter(
    lambda name: not {0, ord("/")} & set(name) and name not in (b".", b"..")
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a recording and a folder of images with names in Latin-1, as old Windows left them."""
    root = tmp_path_factory.mktemp("names")
    write_video(root / "clip.mp4", make_images(3, 320, 240)).rename(root / LATIN)
    (root / FOLDER).mkdir()
    for name, image in zip(IMAGES, make_images(len(IMAGES), 320, 240), strict=True):
        write_image(root / "a.png", image)
        (root / "a.png").rename(root / FOLDER / name)
    return root


@given(data=st.binary(max_size=40))
def test_bytes_are_shown_as_python_escapes_them(data: bytes) -> None:
    """What is not UTF-8 is shown as its bytes; all else stays, if it fits on a line."""
    shown = printable(os.fsdecode(data))
    assert shown.encode().decode() == shown
    text = data.decode("utf-8", "backslashreplace")
    is_one_line = len(text.splitlines()) <= 1 and not CONTROL.search(text)
    assert (shown == text) == is_one_line
    assert len(shown.splitlines()) <= 1


@given(name=byte_names)
def test_a_review_finds_the_recording_again(name: bytes) -> None:
    """A review keeps a path of any bytes as text in UTF-8, and reads it back."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / os.fsdecode(name)
        file.write_bytes(b"x")
        kept = stored_location(str(file))
        assert kept.encode().decode() == kept
        assert read_location(kept) == str(file)
        assert hash_recording(read_location(kept))[0] == 1


@given(name=byte_names)
def test_json_files_are_utf_8(name: bytes) -> None:
    """Names and messages with any bytes make a JSON file that other programs can read."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "a.json"
        write_json(file, {"name": os.fsdecode(name), "é": 1})
        read = json.loads(file.read_bytes())
    assert read["name"].encode().decode() == read["name"]
    assert read["é"] == 1


@pytest.mark.parametrize("source", [LATIN, FOLDER])
def test_every_output_of_a_report_is_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """A recording and a folder with names in Latin-1 are replayed and reported."""
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()
    out = os.fsdecode(b"aus\xe4_")
    replayed = ["--events", f"{out}e.jsonl", "--json", f"{out}s.json", "--masks", "masks"]
    reported = [
        "--html", f"{out}r.html", "--pdf", "r.pdf", "--csv", "r.csv", "--coco", "r.json",
        "--events", "r.jsonl", "--masks", "masks2", "--video", f"{out}v.mp4", "--dicom", "d",
        "--review", f"{out}review", "--set", "postprocess.high=0.05",
        "--set", "postprocess.low=0.02",
    ]  # fmt: skip
    for name, outputs in (("replay", replayed), ("report", reported)):
        result = runner.invoke(commands, [name, str(folder / source), *outputs], standalone_mode=0)
        assert result.exception is None, result.output
    again = ["report", f"{out}review", "--video", "again.mp4"]
    assert runner.invoke(commands, again, standalone_mode=0).exception is None
    frames = [json.loads(line) for line in (tmp_path / f"{out}e.jsonl").read_bytes().splitlines()]
    coco = json.loads((tmp_path / "r.json").read_bytes())
    rows = list(csv.DictReader((tmp_path / "r.csv").read_text("utf-8").splitlines()))
    assert len(frames) == len(coco["images"]) == len(os.listdir("masks2")) == 3  # noqa: PTH208
    if source == FOLDER:
        shown = {printable(name) for name in IMAGES}
        assert {frame["name"] for frame in frames} == shown
        assert {image["file_name"] for image in coco["images"]} == shown
        assert {row["name"] for row in rows} <= shown
        assert {file.name for file in (tmp_path / "masks").iterdir()} == set(IMAGES)


def test_the_page_lists_and_opens_any_name(folder: Path) -> None:
    """The page shows each file once, and opens the one that it shows."""
    wanted = {LATIN, *(f"{FOLDER}/{name}" for name in IMAGES)}
    listed = list_files(folder)
    assert set(listed) == {printable(name) for name in wanted}
    assert json.dumps(listed, ensure_ascii=False).encode()
    assert {pick_file(folder, name) for name in listed} == {folder / name for name in wanted}


def test_settings_take_any_path() -> None:
    """A path in Latin-1 can be set on the command line, and has a hash."""
    settings = load_settings(None, [f"view.folder={FOLDER}"])
    assert str(settings.view.folder) == FOLDER
    assert len(settings.sha256()) == 64


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    """A name of 255 bytes leaves no room for `.part`, and is written nevertheless."""
    file = tmp_path / ("ä" * 127 + "x")
    write_bytes(file, b"whole")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"whole"]


@pytest.mark.parametrize("command", [["replay"], ["live"], ["report", "--csv", "c.csv"]])
def test_a_name_that_is_too_long_is_cut_in_the_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    """Whoever pastes a text for a name reads one line, not the whole text again."""
    monkeypatch.setattr(sys, "argv", ["qlumen", *command, "x" * 500])
    with pytest.raises(SystemExit):
        main()
    printed = capsys.readouterr().err
    assert "is too long (500 letters); shorten it" in printed
    assert len(printed) < 120


@pytest.fixture(scope="module")
def scene_review(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("review")
    return make_review(folder / "review", make_recording(folder / "Gerät 内視鏡.mp4"))


NAMES = [
    "Müller^Jörg", "山田^太郎", "Иванов^Иван", "Jo Doe", "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "김^희중", "Ünal^Ayşe^^Dr.", "",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_patients_names_read_back(scene_review: Path, tmp_path: Path, name: str) -> None:
    """pydicom reads name and file name as they were given, without a warning."""
    with Review(scene_review) as review:
        write_all(review, find(review), ReportOutputs(dicom=tmp_path / "d"), patient=name)
    files = sorted((tmp_path / "d").iterdir())
    assert files
    for file in files:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            stored = pydicom.dcmread(file)
            assert stored.SpecificCharacterSet == "ISO_IR 192"
            assert str(stored.PatientName or "") == name
            if "_image" in file.name:
                assert stored.ImageComments.startswith("Gerät 内視鏡.mp4, frame")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("A\\B^C", "has a backslash"),
        ("X" * 80, "has 80 letters, and DICOM has 64 at most"),
        ("=a=b=c=", "has 4 times =, and DICOM has 3 groups at most"),
        ("a^b^c^d^e^f", "has 5 times ^, and DICOM has 5 parts"),
        ("line\nbreak", "has a line break"),
        (os.fsdecode(b"M\xfcller"), "bytes that are not UTF-8"),
        ("Jo ", "would be read back as 'Jo'"),
    ],
)
def test_names_that_dicom_cannot_hold_are_refused_before_work(
    scene_review: Path, tmp_path: Path, name: str, message: str
) -> None:
    """One line says what is wrong with a name; nothing was written."""
    outputs = ReportOutputs(dicom=tmp_path / "d", csv=tmp_path / "c.csv")
    with pytest.raises(UsageError, match=message.replace("^", r"\^")) as error:
        outputs.check([], patient=name)
    assert "\n" not in str(error.value)
    with Review(scene_review) as review, pytest.raises(UsageError):
        write_all(review, find(review), outputs, patient=name)
    assert not list(tmp_path.iterdir())


@given(name=st.text(st.characters(codec="utf-8"), max_size=70))
def test_a_name_is_refused_or_reads_back(name: str) -> None:
    """Whatever is typed for a name is refused, or pydicom reads it back."""
    from qlumen.realtime.report import dicom

    try:
        dicom.check_patient(name)
    except UsageError:
        return
    with tempfile.TemporaryDirectory() as place:
        stored = pydicom.Dataset()
        stored.SpecificCharacterSet, stored.PatientName = dicom.UTF_8, name
        stored.save_as(f"{place}/a.dcm", implicit_vr=False, little_endian=True)
        read = pydicom.dcmread(f"{place}/a.dcm", force=True)
    assert str(read.PatientName) == name


def test_a_name_is_no_pattern(tmp_path: Path) -> None:
    """An image whose name looks like FFmpeg's pattern is shown, and not the numbered images beside
    it (yt-dlp/yt-dlp #5231).
    """
    for name, level in (("a%03d.png", 200), ("a001.png", 10), ("a002.png", 20)):
        cv2.imwrite(str(tmp_path / name), np.full((48, 64, 3), level, np.uint8))
    frames, _ = read_source(tmp_path / "a%03d.png")
    assert [frame.image.mean() for frame in frames] == [200]

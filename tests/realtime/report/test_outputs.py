import json
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from qlumen.errors import ReviewError, UsageError
from qlumen.realtime.cli import main
from qlumen.realtime.report.outputs import ReportOutputs, write_all
from qlumen.realtime.review.findings import find
from qlumen.realtime.review.review import Review
from qlumen.realtime.sinks.hash_chain import check_chain

from support.media import read_video
from support.reviews import FRAMES, make_recording, make_review

ALL = ("html", "pdf", "csv", "coco", "events", "video", "masks", "snapshots")


def outputs_in(folder: Path) -> ReportOutputs:
    paths = {kind: folder / kind for kind in ALL}
    return ReportOutputs(**paths | {"video": folder / "video.mp4"})


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["qlumen", "report", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_all_outputs_hold_the_same_findings(review: Review, tmp_path: Path) -> None:
    """Masks, events and video have every frame with the same findings and times."""
    found = find(review)
    write_all(review, found, outputs_in(tmp_path))
    masks = [cv2.imread(str(file), 0) for file in sorted((tmp_path / "masks").iterdir())]
    events = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    assert check_chain(tmp_path / "events").fault is None
    assert len(masks) == len(events) == FRAMES
    for mask, event in zip(masks, events, strict=True):
        assert set(np.unique(mask)) <= {0, 255}
        assert np.count_nonzero(mask) == sum(one["area_px"] for one in event["findings"])
    times, frames = read_video(tmp_path / "video.mp4")
    assert [float(time) for time in times] == pytest.approx([e["time_s"] for e in events], abs=1e-6)
    _, plain = read_video(review.folder.parent / "clip.mp4")
    changed = [cv2.absdiff(a, b).max() > 60 for a, b in zip(frames, plain, strict=True)]
    assert changed == [bool(frame) for frame in found.frames]
    (shot,) = (tmp_path / "snapshots").iterdir()
    assert shot.name == f"lesion_01_frame_{found.tracks[0].best.place:06d}.png"


def test_a_changed_recording_is_refused(tmp_path: Path) -> None:
    """Frames come only from the file that was reviewed; the report and masks do not need it."""
    recording = make_recording(tmp_path / "clip.mp4")
    with Review(make_review(tmp_path / "r", recording)) as review:
        found = find(review)
        recording.write_bytes(recording.read_bytes() + b"\0")
        with pytest.raises(ReviewError, match="has changed"):
            write_all(review, found, ReportOutputs(video=tmp_path / "v.mp4"))
        recording.unlink()
        with pytest.raises(ReviewError, match="is gone"):
            write_all(review, found, ReportOutputs(snapshots=tmp_path / "s"))
        assert not (tmp_path / "v.mp4").exists()
        write_all(review, found, ReportOutputs(pdf=tmp_path / "r.pdf", masks=tmp_path / "m"))
    assert (tmp_path / "r.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ({}, "nothing to write"),
        ({"html": "no/such/r.html"}, "there is no folder"),
        ({"video": "v.avi"}, "ending .mp4"),
        ({"html": "clip.mp4"}, "is the input itself"),
        ({"html": "a", "pdf": "a"}, "are both"),
        ({"masks": "clip.mp4"}, "is the input itself"),
        ({"html": "."}, "is a folder"),
    ],
)
def test_bad_outputs_are_refused_before_work(
    tmp_path: Path, outputs: dict[str, str], message: str
) -> None:
    """The error names the output in one line, and nothing is written."""
    recording = tmp_path / "clip.mp4"
    recording.write_bytes(b"a recording")
    paths = {kind: tmp_path / name for kind, name in outputs.items()}
    with pytest.raises(UsageError, match=message):
        ReportOutputs(**paths).check([recording])
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]
    assert recording.read_bytes() == b"a recording"


def test_the_command_reports_a_review(
    review_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A review is reported without the network; a threshold on the command line counts."""
    folder = shutil.copytree(review_folder, tmp_path / "r")
    named = ("--patient", "Jo Doe", "--set", "report.institution=St. Elsewhere")
    assert run(monkeypatch, folder, "--html", tmp_path / "r.html", *named) == 0
    assert "20 frames, 1 lesions" in capsys.readouterr().out
    assert "Jo Doe" in (tmp_path / "r.html").read_text()
    assert "St. Elsewhere" in (tmp_path / "r.html").read_text()
    high = ("--set", "postprocess.high=0.99")
    assert run(monkeypatch, folder, "--csv", tmp_path / "f.csv", *high) == 0
    assert "0 lesions" in capsys.readouterr().out


def test_the_commands_errors_have_one_line(
    review_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Wrong usage and a missing source end with 2, and nothing is written."""
    html = ("--html", tmp_path / "r.html")
    assert run(monkeypatch, review_folder) == 2
    assert run(monkeypatch, tmp_path / "absent.mp4", *html) == 2
    assert run(monkeypatch, review_folder, *html, "--review", tmp_path / "x") == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert [line.partition(":")[0] for line in lines] == ["qlumen"] * 3
    assert list(tmp_path.iterdir()) == []


@pytest.mark.data
def test_a_real_recording_is_reviewed_and_reported(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real still goes through the whole command with the shipped network."""
    line = (data_dir / "splits" / "test_kvasir.txt").read_text().split()[0]
    folder, stem = line.split("/")
    (image,) = (data_dir / folder / "images").glob(f"{stem}.*")
    code = run(monkeypatch, image, "--pdf", tmp_path / "r.pdf", "--coco", tmp_path / "c.json",
               "--review", tmp_path / "kept")  # fmt: skip
    assert code == 0
    coco = json.loads((tmp_path / "c.json").read_text())
    assert coco["images"][0]["file_name"] == image.name
    with Review(tmp_path / "kept") as review:
        assert len(find(review).frames) == 1

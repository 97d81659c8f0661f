"""Tests `qlumen audit alarms` on frames of the scene."""

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from qlumen.datasets.groups import Origin
from qlumen.datasets.pairs import Pair
from qlumen.errors import DatasetError, QlumenError, UsageError
from qlumen.evaluation.atlas.crops import Crop, cut_square
from qlumen.evaluation.atlas.images import AuditImage, list_images
from qlumen.evaluation.atlas.patterns import count_most, find_patterns, first_sentence
from qlumen.evaluation.command import command as evaluate
from qlumen.evaluation.detection import find_unpaired, hits
from qlumen.realtime.cli import commands

SPAN = st.tuples(st.integers(0, 11), st.integers(1, 8))
BOXES = st.lists(
    st.builds(
        lambda x, y: (x[0], y[0], x[0] + x[1], y[0] + y[1]),
        SPAN,
        SPAN,
    ),
    max_size=4,
)


@given(BOXES, BOXES)
@settings(max_examples=100)
def test_unpaired_boxes_are_those_that_evaluate_counts(found: list, true: list) -> None:
    """There are as many false findings and missed lesions as `detection.hits` counts."""
    alone, unseen = find_unpaired(found, true)
    counted = hits(found, true)
    assert len(alone) == counted.false_findings
    assert len(unseen) == counted.lesions - counted.hit


def test_a_crop_is_the_padded_square() -> None:
    """A box of 20x10 px gets 5 px on each side and its middle; outside the image it is black."""
    image = np.random.default_rng(0).integers(1, 256, (100, 120, 3), np.uint8)
    wanted = cv2.resize(image[20:50, 35:65], (64, 64), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(cut_square(image, (40, 30, 60, 40)), wanted)
    corner = cut_square(np.full((100, 120, 3), 200, np.uint8), (100, 80, 120, 100))
    assert (corner[:52, :52] == 200).all()
    assert not corner[55:].any()
    assert not corner[:, 55:].any()


def test_most_errors_by_hand() -> None:
    """Of 35 crops 28 are exactly 80%, so one pattern is enough; the colours tell them apart."""
    image = AuditImage(Pair("a/b", Path(), Path()), "val", Origin("a/b", "a/b", "a"))
    red, blue = np.zeros((2, 64, 64, 3), np.uint8)
    red[..., 2] = blue[..., 0] = 200
    looks = [red] * 7 + [blue] * 28
    patterns = find_patterns([Crop(image, one, (0, 0, 1, 1), 0.9, 0.0) for one in looks], 2)
    assert [len(pattern.members) for pattern in patterns] == [28, 7]
    np.testing.assert_array_equal(patterns[0].picture, blue)
    assert count_most(patterns) == 1
    assert first_sentence(patterns, "alarms") == "1 of 2 patterns make 80% of the 35 alarms."
    assert patterns[0].clusters == 1
    assert find_patterns([], 8) == []


@pytest.fixture
def data(scene_data: Path, tmp_path: Path) -> Path:
    """Copy the frames of the scene, and add images without a lesion and an index."""
    root = tmp_path / "data"
    shutil.copytree(scene_data, root)
    (root / "free/images").mkdir(parents=True)
    random = np.random.default_rng(0)
    for stem in range(3):
        blobs = cv2.GaussianBlur(random.normal(size=(80, 96, 3)), (0, 0), 8)
        pixels = cv2.normalize(blobs, None, 60, 200, cv2.NORM_MINMAX).astype(np.uint8)
        cv2.imwrite(str(root / f"free/images/{stem}.jpg"), pixels)
    (root / "splits/negatives_score.txt").write_text("free/0\nfree/1\nfree/2\n")
    index = 'stem,source,group,side\n0,"Lab, one",v1,score\n1,"Lab, one",v1,score\n'
    (root / "free/index.csv").write_text(index)
    return root


def audit(data: Path, output: Path, *arguments: object) -> tuple[str, dict, str]:
    """Run the command; return what it prints, its numbers and its page."""
    words = ["audit", "alarms", "--data", data, "--output", output, *arguments]
    result = CliRunner().invoke(commands, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert {path.name for path in output.iterdir()} == {"index.html", "alarms.json"}
    content = json.loads((output / "alarms.json").read_text())
    return result.output, content, (output / "index.html").read_text()


@pytest.mark.parametrize("threshold", [0.2, 1e-7])
def test_the_errors_are_those_of_evaluate(data: Path, tmp_path: Path, threshold: float) -> None:
    """`qlumen evaluate` counts as many false findings and missed lesions, image by image."""
    low = [f"postprocess.{key}={threshold}" for key in ("low", "high")]
    options = [word for one in low for word in ("--set", one)]
    printed, content, page = audit(data, tmp_path / "atlas", "--prototypes", 3, *options)
    wrong, missed = content["false_findings"], content["missed_lesions"]
    report = tmp_path / "scores.json"
    words = ["--data", str(data), "--split", "val", "--json", str(report), *options]
    assert CliRunner().invoke(evaluate, words).exit_code == 0
    rows = json.loads(report.read_text())["sets"]["val"]["images"]
    for kind, counts in (
        (wrong, {row["name"]: row["false_findings"] for row in rows}),
        (missed, {row["name"]: row["lesions"] - row["hit"] for row in rows}),
    ):
        crops = [crop for pattern in kind["patterns"] for crop in pattern["crops"]]
        assert len(crops) == kind["count"] == sum(one["count"] for one in kind["patterns"])
        assert len(kind["patterns"]) <= 3
        names = [
            f"{crop['name'].rpartition('/')[2]}.jpg" for crop in crops if "scene" in crop["name"]
        ]
        assert {name: names.count(name) for name in counts} == counts
    assert content["images"] == 7
    assert content["splits"] == {"negatives_score": 3, "val": 4}
    assert content["sources"]["Lab, one"]["images"] == 2
    assert len(re.findall("<figure>", page)) == wrong["count"] + missed["count"]
    assert "Research tool, not a medical device" in page
    assert re.search(r"(://|src=\"(?!data:))", page) is None
    for what in ("false findings", "missed lesions"):
        assert re.search(rf"\d of \d patterns make 80% of the \d+ {what}\.", printed)
    assert f"wrote {tmp_path / 'atlas'}" in printed
    free = [c for p in wrong["patterns"] for c in p["crops"] if c["source"] == "Lab, one"]
    if threshold < 0.1:
        assert sorted((crop["name"], crop["cluster"]) for crop in free) == [
            ("free/0", "free/v1"),
            ("free/1", "free/v1"),
        ]


def test_without_findings_every_lesion_is_missed(data: Path, tmp_path: Path) -> None:
    """The page says that there are no false findings. An earlier atlas is replaced."""
    high = ("--set", "postprocess.low=0.999", "--set", "postprocess.high=0.9999")
    audit(data, tmp_path / "atlas", "--split", "negatives_score")
    printed, content, page = audit(data, tmp_path / "atlas", "--split", "val", *high)
    assert "There are no false findings." in printed
    assert page.count("There are no false findings.") == 2
    masks = [cv2.imread(str(data / f"scene/masks/{i}.png"), 0) for i in range(160, 240, 20)]
    boxes = []
    for mask in masks:
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        boxes += [cv2.boundingRect(one) for one in contours if cv2.countNonZero(mask) > 4]
    crops = [c for one in content["missed_lesions"]["patterns"] for c in one["crops"]]
    assert sorted(crop["box"] for crop in crops) == sorted(
        [x, y, x + w, y + h] for x, y, w, h in boxes
    )
    assert all(crop["score"] is None and crop["overlap"] == 0 for crop in crops)


def test_an_image_of_two_lists_counts_once(data: Path) -> None:
    """It belongs to the first list; images of lists `negatives...` have no mask."""
    (data / "splits/more.txt").write_text((data / "splits/val.txt").read_text() + "\nscene/0")
    images = list_images(data)
    assert [one.split for one in images] == ["more"] * 5 + ["negatives_score"] * 3
    assert [one.lesion_free for one in images] == [False] * 5 + [True] * 3
    assert [one.origin.source for one in images[-2:]] == ["Lab, one", "free"]


@pytest.mark.parametrize(
    ("fault", "message", "kind"),
    [
        ("output", "is not empty and is no atlas", UsageError),
        ("splits", "no split in", DatasetError),
        ("name", "no split .*absent.txt", DatasetError),
        ("image", r"negatives_score names free/1, but .*1\.jpg is missing", DatasetError),
        ("mask", r"val names scene/160, but .*masks.160\.png is missing", DatasetError),
        ("index", "line 1: no column stem", DatasetError),
        ("bytes", "not a table in UTF-8", DatasetError),
    ],
)
def test_faults_are_named_before_work_starts(
    data: Path, tmp_path: Path, fault: str, message: str, kind: type[QlumenError]
) -> None:
    """The error says what is missing, and nothing is written."""
    output = tmp_path / "atlas"
    words = ["audit", "alarms", "--data", str(data), "--output", str(output)]
    match fault:
        case "output":
            output.mkdir()
            (output / "index.html").write_text("a page of somebody else")
        case "splits":
            shutil.rmtree(data / "splits")
        case "name":
            words += ["--split", "absent"]
        case "image":
            (data / "free/images/1.jpg").unlink()
        case "mask":
            (data / "scene/masks/160.png").unlink()
        case "index":
            (data / "free/index.csv").write_text("name,source\n")
        case "bytes":
            (data / "free/index.csv").write_bytes(b"stem,group,source\n\xff\xfe,a,b\n")
    before = sorted(tmp_path.rglob("*"))
    result = CliRunner().invoke(commands, words)
    assert isinstance(result.exception, kind), result.output
    assert re.search(message, str(result.exception))
    assert sorted(tmp_path.rglob("*")) == before

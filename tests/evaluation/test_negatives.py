import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from qlumen.datasets.splits import find_images, lesion_free_files
from qlumen.errors import DatasetError, UsageError
from qlumen.evaluation.command import command


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Write ten grey images, half of them in an inner folder."""
    base = tmp_path / "negatives"
    (base / "inner").mkdir(parents=True)
    for name in range(10):
        folder = base / "inner" if name % 2 else base
        cv2.imwrite(str(folder / f"{name}.png"), np.full((48, 64, 3), 100, np.uint8))
    return base


def test_images_of_inner_folders_are_found(images: Path) -> None:
    """All images of the folder and its inner folders are scored, by path."""
    assert find_images(images) == sorted(images.rglob("*.png"))


def test_a_list_names_images_without_masks(images: Path) -> None:
    """A list of images without a lesion needs no masks; without the list there are no images."""
    root = images.parent
    (root / "splits").mkdir()
    (root / "splits" / "negatives_score.txt").write_text("negatives/b\nnegatives/a\n")
    files = [root / "negatives" / "images" / f"{stem}.jpg" for stem in "ba"]
    assert lesion_free_files(root, "negatives_score") == files
    assert lesion_free_files(root, "negatives_train") == []


def test_shares_follow_from_the_rows(images: Path, tmp_path: Path) -> None:
    """On plain grey no image has a finding; with a threshold near 0 all images have one."""
    for threshold, wanted in ((0.99, 0.0), (1e-7, 1.0)):
        file = tmp_path / "r.json"
        arguments = ["--images", images, "--negatives", "--json", file]
        arguments += ["--set", f"postprocess.low={threshold}"]
        arguments += ["--set", f"postprocess.high={threshold}"]
        result = CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        content = json.loads(file.read_text())
        rows = content["images"]
        assert content["count"] == len(rows) == 10
        assert content["with_findings"] == np.mean([row["findings"] > 0 for row in rows]) == wanted
        assert f"{wanted:.4f} of 10 images" in result.output
        low, high = content["with_findings_95"]
        assert low <= wanted <= high
        assert all((row["area_share"] > 0) == (row["findings"] > 0) for row in rows)


def test_empty_and_missing_folders_are_named(tmp_path: Path) -> None:
    """A missing folder and a folder without images raise errors, and no share of 0 appears."""
    with pytest.raises(UsageError, match="no folder"):
        find_images(tmp_path / "absent")
    with pytest.raises(DatasetError, match="no image"):
        find_images(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "x"], "give --images with --masks"),
        (["--images", "x", "--masks", "y", "--negatives"], "give --images with --masks"),
        (["--images", "x", "--boxes", "b"], "--boxes needs --clip"),
        (["--images", "x", "--clip", "c", "--boxes", "b"], "--clip or --video"),
        (["--images", "x", "--negatives", "--list", "l"], "--list and --save-masks need"),
    ],
)
def test_options_that_do_not_go_together(arguments: list[str], message: str) -> None:
    """The error names the missing or surplus option before any file is read."""
    result = CliRunner().invoke(command, arguments)
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)

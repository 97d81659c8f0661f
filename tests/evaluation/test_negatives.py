import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from qlumen.datasets.splits import find_negatives, is_training_negative, negative_files
from qlumen.errors import DatasetError, UsageError
from qlumen.evaluation.command import command


@given(st.text(min_size=1))
def test_sides_follow_the_stated_rule(stem: str) -> None:
    """The last bit of the first byte of the stem's SHA-256 decides the side."""
    even = int(hashlib.sha256(stem.encode()).hexdigest()[1], 16) % 2 == 0
    assert is_training_negative(stem) == even


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Write ten grey images, half of them in an inner folder."""
    base = tmp_path / "negatives"
    (base / "inner").mkdir(parents=True)
    for name in range(10):
        folder = base / "inner" if name % 2 else base
        cv2.imwrite(str(folder / f"{name}.png"), np.full((48, 64, 3), 100, np.uint8))
    return base


def test_each_image_is_on_one_side(images: Path) -> None:
    """Both sides have files, and together they have all files."""
    train, score = (set(negative_files(images, training=side)) for side in (True, False))
    assert train
    assert score
    assert not train & score
    assert train | score == set(negative_files(images)) == set(images.rglob("*.png"))
    assert set(find_negatives(images, held_out=True)) == score


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
        find_negatives(tmp_path / "absent", held_out=False)
    with pytest.raises(DatasetError, match="no image"):
        find_negatives(tmp_path, held_out=False)
    assert negative_files(tmp_path / "absent") == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "x"], "give --images with --masks"),
        (["--images", "x", "--masks", "y", "--negatives"], "give --images with --masks"),
        (["--clip", "x"], "--clip with --boxes"),
        (["--images", "x", "--clip", "c", "--boxes", "b"], "--clip with --boxes"),
        (["--images", "x", "--negatives", "--list", "l"], "--list and --save-masks need"),
        (["--images", "x", "--masks", "y", "--held-out"], "--held-out needs --negatives"),
    ],
)
def test_options_that_do_not_go_together(arguments: list[str], message: str) -> None:
    """The error names the missing or surplus option before any file is read."""
    result = CliRunner().invoke(command, arguments)
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)

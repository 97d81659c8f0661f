"""Which lists of a data folder are scored, and how they are read."""

from pathlib import Path

import pytest

from qlumen.datasets.splits import (
    negatives_to_score,
    split_names,
    splits_to_score,
    splits_to_train,
)
from qlumen.errors import DatasetError


def make_lists(root: Path, *names: str) -> None:
    (root / "splits").mkdir()
    for name in names:
        (root / "splits" / f"{name}.txt").write_text("folder/a b\n\nfolder/c\n", "utf-8")


def test_lists_that_are_trained_on_are_not_scored(tmp_path: Path) -> None:
    """All lists of images with masks are scored, except those for training."""
    scored = ["polypgen_c5", "test_kvasir", "val"]
    others = ["train", "polypgen_train", "negatives_train", "negatives_score"]
    make_lists(tmp_path, *scored, *others)
    assert splits_to_score(tmp_path) == scored
    assert splits_to_train(tmp_path) == ["polypgen_train", "train"]
    assert negatives_to_score(tmp_path) == ["negatives_score"]


def test_only_lists_for_training_are_an_error(tmp_path: Path) -> None:
    """A folder without a list to score is refused."""
    make_lists(tmp_path, "train")
    with pytest.raises(DatasetError, match="no split"):
        splits_to_score(tmp_path)


def test_a_name_may_hold_a_space(tmp_path: Path) -> None:
    """A line is one name; empty lines count for nothing."""
    make_lists(tmp_path, "val")
    assert split_names(tmp_path, "val") == ["folder/a b", "folder/c"]


def test_a_list_that_is_no_text_is_an_error(tmp_path: Path) -> None:
    """A list that is not UTF-8 is refused with its name."""
    make_lists(tmp_path)
    (tmp_path / "splits" / "val.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match=r"val\.txt is not a list"):
        split_names(tmp_path, "val")

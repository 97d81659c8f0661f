"""Checks that what is exported and imported again is the same, and that other readers agree."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import pytest
import supervision as sv
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from pycocotools.coco import COCO

from qlumen.datasets.formats.shapes import draw_polygons, trace
from qlumen.datasets.transfer import WRITERS, export_dataset, import_dataset

Labels = NDArray[np.uint16]
Write = Callable[..., Path]
WITH_TRACKS = ("coco", "cvat", "label-studio")
EXACT = ("coco", "masks", "nnunet")
SIDES = array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20)
LABELS = arrays(np.uint16, SIDES, elements=st.integers(0, 3), fill=st.just(1))
"""Label maps with holes, parts, and objects that touch."""


def blobs(seed: int) -> Labels:
    """Return smooth large objects with holes, as real masks are."""
    noise = np.random.default_rng(seed).normal(size=(150, 200))
    smooth = cv2.GaussianBlur(noise, None, 9)
    return (np.digitize(smooth, [smooth.std() * 0.4, smooth.std() * 1.5])).astype(np.uint16)


@pytest.mark.parametrize("form", sorted(WRITERS))
@settings(max_examples=12)
@given(labels=st.lists(LABELS, min_size=1, max_size=3))
def test_masks_come_back(write_folder: Write, form: str, labels: Sequence[Labels]) -> None:
    """Masks with holes and several parts come back; those as polygons with an IoU of 0.995."""
    with TemporaryDirectory() as folder:
        root = write_folder(Path(folder), [*labels, blobs(len(labels))], tracks=True)
        back = pass_through(root, form)
        for place, one in enumerate([*labels, blobs(len(labels))]):
            mask = cv2.imread(str(back / f"masks/{place}.png"), cv2.IMREAD_UNCHANGED)
            assert iou(mask > 127, one > 0) >= (1 if form in EXACT else 0.995)
            assert set(np.unique(mask)) <= {0, 255}
            image = (back / f"images/{place}.png").read_bytes()
            assert form == "nnunet" or image == (root / f"set/images/{place}.png").read_bytes()


@pytest.mark.parametrize("form", WITH_TRACKS)
@settings(max_examples=12)
@given(labels=LABELS)
def test_tracks_come_back(write_folder: Write, form: str, labels: Labels) -> None:
    """Each object keeps the number of its track, and the index lists the numbers of an image."""
    with TemporaryDirectory() as folder:
        root = write_folder(Path(folder), [labels, blobs(1)], tracks=True)
        back = pass_through(root, form)
        with (back / "index.csv").open() as file:
            rows = list(csv.DictReader(file))
        for row, one in zip(rows, (labels, blobs(1)), strict=True):
            numbers = [int(number) - 1 for number in np.unique(one[one > 0])]
            assert row["tracks"].split() == [str(number) for number in numbers]
            assert row["group"] == ("" if form == "cvat" else f"patient {row['stem']}")
            file = back / f"tracks/{row['stem']}.png"
            found = cv2.imread(str(file), cv2.IMREAD_UNCHANGED) if numbers else np.zeros(1)
            for number in numbers:
                assert iou(found == number + 1, one == number + 1) >= 0.99


@given(labels=LABELS)
def test_small_outlines_are_exact(labels: Labels) -> None:
    """Tracing a small mask and drawing it again changes no pixel."""
    mask = (labels > 1).astype(np.uint8)
    outlines = trace(mask)
    if mask.any():
        drawn = draw_polygons(outlines, mask.shape[1], mask.shape[0])
        assert np.count_nonzero(drawn != mask) <= 0.005 * mask.sum()
    else:
        assert outlines == []


def test_pycocotools_reads_the_same(write_folder: Write, tmp_path: Path) -> None:
    """pycocotools finds the same objects, tracks and areas in what is exported."""
    labels = [blobs(seed) for seed in range(3)]
    root = write_folder(tmp_path, labels, tracks=True)
    export_dataset(root, "set", "coco", tmp_path / "out")
    coco = COCO(tmp_path / "out/annotations.json")
    for image in coco.loadImgs(coco.getImgIds()):
        label = labels[int(Path(image["file_name"]).stem)]
        found = coco.loadAnns(coco.getAnnIds(image["id"]))
        assert len(found) == 2
        for one in found:
            true = label == one["track_id"] + 1
            np.testing.assert_array_equal(coco.annToMask(one), true)
            rows, columns = np.nonzero(true)
            assert one["area"] == true.sum()
            assert one["bbox"] == [
                columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1
            ]  # fmt: skip


@pytest.mark.parametrize("form", ["coco", "yolo"])
def test_supervision_reads_the_same(write_folder: Write, tmp_path: Path, form: str) -> None:
    """supervision's masks hold ours, and at most the pixels that touch an outline beside."""
    labels = [blobs(seed) for seed in range(3)]
    root = write_folder(tmp_path, labels)
    out = tmp_path / "out"
    export_dataset(root, "set", form, out)
    if form == "coco":
        read = sv.DetectionDataset.from_coco(
            str(out / "images"), str(out / "annotations.json"), force_masks=True
        )
    else:
        read = sv.DetectionDataset.from_yolo(
            str(out / "images"), str(out / "labels"), str(out / "data.yaml"), force_masks=True
        )
    assert read.classes == ["polyp"]
    for path, _, found in read:
        true = (labels[int(Path(path).stem)] > 0).astype(np.uint8)
        mask = found.mask.any(axis=0)
        if form == "coco":
            np.testing.assert_array_equal(mask, true)
        else:
            ring = cv2.dilate(true, np.ones((5, 5))) > cv2.erode(true, np.ones((3, 3)))
            assert not (mask != true)[~ring].any()
            assert iou(mask, true > 0) > 0.9


def test_lists_of_several_folders(write_folder: Write, tmp_path: Path) -> None:
    """Equal stems get the names of their folders, and a line that stands twice counts once."""
    for name in ("one", "two"):
        write_folder(tmp_path, [blobs(1)], name)
    (tmp_path / "splits/set.txt").write_text("one/0\ntwo/0\none/0\n")
    assert export_dataset(tmp_path, "set", "masks", tmp_path / "out") == 2
    out = tmp_path / "out"
    files = sorted(path.relative_to(out).as_posix() for path in out.glob("*/*"))
    assert files == ["images/one_0.png", "images/two_0.png", "masks/one_0.png", "masks/two_0.png"]


def test_lesion_free_lists_need_no_masks(write_folder: Write, tmp_path: Path) -> None:
    """Images of a list of negatives have no object."""
    write_folder(tmp_path, [blobs(1)], "negatives_x")
    (tmp_path / "negatives_x/masks/0.png").unlink()
    export_dataset(tmp_path, "negatives_x", "yolo", tmp_path / "out")
    assert (tmp_path / "out/labels/0.txt").read_text() == ""
    done = import_dataset(tmp_path / "out", "yolo", tmp_path / "in", "negatives_y")
    assert (done.images, done.empty, done.objects) == (1, 1, 0)


def pass_through(root: Path, form: str) -> Path:
    """Export the list, import it again and return the new folder."""
    export_dataset(root, "set", form, root / "out")
    import_dataset(root / "out", form, root / "in", "again")
    return root / "in/again"


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum()) if (a | b).any() else 1.0

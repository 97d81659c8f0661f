"""Checks the readers on files written by hand as the tools' documentation shows them."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from qlumen.datasets.formats.coco import read_coco
from qlumen.datasets.formats.cvat import interpolate
from qlumen.datasets.formats.label_studio import draw_brush
from qlumen.datasets.formats.shapes import draw_polygons, draw_runs, read_counts
from qlumen.datasets.transfer import import_dataset

WIDTH, HEIGHT = 40, 30
BRUSH = [0, 0, 0, 96, 57, 27, 254, 31, 0, 183, 255, 108, 2, 223, 254, 27, 0, 0]
"""Rows 1 and 2, columns 2 to 4 of 6x4 pixels: `encode_rle` of label-studio-sdk 2.0."""
VIDEO = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
  <track id="7" label="polyp" source="manual">
    <polygon frame="1" keyframe="1" outside="0" occluded="0" points="2,2;10,2;10,8;2,8"/>
    <polygon frame="5" keyframe="1" outside="0" occluded="1" points="10,2;18,2;18,8;10,8"/>
    <polygon frame="6" keyframe="1" outside="1" occluded="0" points="10,2;18,2;18,8;10,8"/>
  </track>
  <track id="9" label="polyp" source="manual">
    <mask frame="3" keyframe="1" outside="0" occluded="0" rle="1, 2, 1" left="30" top="20"
          width="2" height="2"/>
  </track>
  <track id="4" label="instrument"><box frame="0" outside="0" xtl="0" ytl="0" xbr="9" ybr="9"/>
  </track>
</annotations>"""
STILLS = """<annotations><image id="0" name="a/still.png" width="40" height="30">
  <polygon label="polyp" points="5.00,5.00;15.00,5.00;15.00,12.00;5.00,12.00" z_order="0">
    <attribute name="size">small</attribute><attribute name="track_id">3</attribute></polygon>
  <mask label="polyp" rle="0, 6" left="20" top="10" width="3" height="2" z_order="0"/>
  <tag label="good"/></image></annotations>"""


def region(kind: str, label: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0, "type": kind,
            "id": "x1", "value": {kind: [label], **value}}  # fmt: skip


POINTS = [[10, 10], [60, 10], [60, 50], [10, 50]]
TASKS = [
    {
        "id": 1,
        "data": {"image": "/data/local-files/?d=my%20set/still.png"},
        "annotations": [
            {"result": [], "was_cancelled": True},
            {
                "result": [
                    region("polygonlabels", "polyp", {"points": POINTS, "closed": True}),
                    region("rectanglelabels", "glare", {"x": 1, "y": 1, "width": 5, "height": 5}),
                    {"type": "choices", "id": "c", "value": {"choices": ["good"]}},
                    {"type": "relation", "from_id": "x1", "to_id": "c", "direction": "right"},
                ]
            },
        ],
    }
]


@pytest.fixture
def still(tmp_path: Path) -> Path:
    return write_images(tmp_path, ["still"])


def write_images(root: Path, stems: Sequence[str]) -> Path:
    (root / "images").mkdir()
    for stem in stems:
        cv2.imwrite(str(root / f"images/{stem}.png"), np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    return root


def box(x0: int, y0: int, x1: int, y1: int) -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def read_back(root: Path, folder: str = "masks") -> dict[str, NDArray[Any]]:
    files = (root / "out/new" / folder).iterdir()
    return {file.stem: cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in files}


def test_cvat_tracks_move_between_key_frames(tmp_path: Path) -> None:
    """An outline moves evenly, also while it is occluded, and goes when it is outside."""
    write_images(tmp_path, [f"frame_{number:06d}" for number in (0, 1, 2, 3, 5, 6, 9)])
    (tmp_path / "video.xml").write_text(VIDEO)
    import_dataset(tmp_path / "video.xml", "cvat", tmp_path / "out", "new", classes=["polyp"])
    masks, tracks = read_back(tmp_path), read_back(tmp_path, "tracks")
    assert not masks["frame_000000"].any()
    np.testing.assert_array_equal(masks["frame_000001"] > 0, box(2, 2, 10, 8))
    np.testing.assert_array_equal(masks["frame_000002"] > 0, box(4, 2, 12, 8))
    np.testing.assert_array_equal(tracks["frame_000003"] == 8, box(6, 2, 14, 8))
    stroke = np.zeros((HEIGHT, WIDTH), bool)
    stroke[20, 31] = stroke[21, 30] = True
    np.testing.assert_array_equal(tracks["frame_000003"] == 10, stroke)
    np.testing.assert_array_equal(masks["frame_000005"] > 0, box(10, 2, 18, 8) | stroke)
    np.testing.assert_array_equal(masks["frame_000009"] > 0, stroke)
    with (tmp_path / "out/new/index.csv").open() as file:
        rows = {row["stem"]: row for row in csv.DictReader(file)}
    assert rows["frame_000003"]["tracks"] == "7 9"
    assert {row["group"] for row in rows.values()} == {"video"}


def test_outlines_of_other_corners_move() -> None:
    """A square with a fifth corner on its side moves like one without it."""
    square = np.array([[0.0, 0], [16, 0], [16, 16], [0, 16]])
    more = np.insert(square, 1, (8, 0), axis=0) + np.array([10, 0])
    for start, end in ((square, more), (more, square)):
        moved = interpolate(start, end, 0.5)
        assert len(moved) == 5
        mask = draw_polygons([moved], WIDTH, HEIGHT)
        assert mask.sum() == pytest.approx(16 * 16, rel=0.02)
        np.testing.assert_array_equal(mask > 0, box(5, 0, 21, 16))


def test_cvat_images(still: Path) -> None:
    """Polygons and masks of an image are read, and a tag is left out."""
    (still / "annotations.xml").write_text(STILLS)
    import_dataset(still / "annotations.xml", "cvat", still / "out", "new")
    mask = read_back(still)["still"] > 0
    np.testing.assert_array_equal(mask, box(5, 5, 15, 12) | box(20, 10, 23, 12))
    np.testing.assert_array_equal(read_back(still, "tracks")["still"] == 4, box(5, 5, 15, 12))


def test_label_studio_polygons(still: Path) -> None:
    """Points are percent of the image; other classes, choices and relations are left out."""
    (still / "export.json").write_text(json.dumps(TASKS))
    import_dataset(still / "export.json", "label-studio", still / "out", "new", classes=["polyp"])
    np.testing.assert_array_equal(read_back(still)["still"] > 0, box(4, 3, 24, 15))


def test_label_studio_brush() -> None:
    """A brush that Label Studio's own encoder wrote is read."""
    true = np.zeros((4, 6), np.uint8)
    true[1:3, 2:5] = 1
    np.testing.assert_array_equal(draw_brush(BRUSH, 6, 4), true)


def test_coco_outlines_and_classes(still: Path) -> None:
    """Outlines and plain run lengths are drawn as pycocotools draws them; classes are chosen."""
    outline = [3.5, 4.2, 20.1, 6.0, 17.3, 22.8]
    runs = [100, 30, HEIGHT * WIDTH - 130]
    content = {
        "images": [{"id": 5, "file_name": "x/still.png", "width": WIDTH, "height": HEIGHT}],
        "categories": [{"id": 1, "name": "polyp"}, {"id": 2, "name": "glare"}],
        "annotations": [
            {"image_id": 5, "category_id": 1, "segmentation": [outline],
             "attributes": {"track_id": 2, "occluded": False}},
            {"image_id": 5, "category_id": 1,
             "segmentation": {"size": [HEIGHT, WIDTH], "counts": runs}},
            {"image_id": 5, "category_id": 2, "segmentation": []},
        ],
    }  # fmt: skip
    (still / "coco.json").write_text(json.dumps(content))
    import_dataset(still / "coco.json", "coco", still / "out", "new", classes=["polyp"])
    first, second = (
        coco_mask.decode(coco_mask.frPyObjects(one, HEIGHT, WIDTH))
        for one in ([outline], {"size": [HEIGHT, WIDTH], "counts": runs})
    )
    mask = read_back(still)["still"] > 0
    np.testing.assert_array_equal(mask, (first[..., 0] | second) > 0)
    (sample,) = read_coco(still / "coco.json", still)
    assert [shape.track for shape in sample.shapes] == [2, None, None]


@given(arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)),
              elements=st.integers(0, 1)))  # fmt: skip
def test_run_lengths_are_those_of_pycocotools(mask: NDArray[np.uint8]) -> None:
    """The text of run lengths that pycocotools writes is read as it reads it."""
    runs = coco_mask.encode(np.asfortranarray(mask))
    counts = read_counts(runs["counts"].decode())
    np.testing.assert_array_equal(draw_runs(counts, "F", *mask.shape[::-1]), mask)


def test_yolo_outline_by_hand(still: Path) -> None:
    """Shares of width and height make the outline; an image without a file has no lesion."""
    cv2.imwrite(str(still / "images/free.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    (still / "labels/val").mkdir(parents=True)
    (still / "images/val").mkdir()
    (still / "images/still.png").rename(still / "images/val/still.png")
    (still / "data.yaml").write_text("names: {0: instrument, 1: polyp}\n")
    (still / "labels/val/still.txt").write_text("1 0.25 0.5 0.75 0.5 0.75 1 0.25 1\n\n")
    done = import_dataset(still, "yolo", still / "out", "new")
    np.testing.assert_array_equal(read_back(still)["still"] > 0, box(10, 15, 30, 30))
    assert (done.images, done.empty, done.objects) == (2, 1, 1)
    done = import_dataset(still, "yolo", still / "out", "part", images=still / "images/val")
    assert (done.images, done.empty, done.objects) == (1, 0, 1)


def test_nnunet_labels_by_hand(tmp_path: Path) -> None:
    """The label of the chosen class is the lesion; regions may have several values."""
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / folder).mkdir()
    cv2.imwrite(str(tmp_path / "imagesTr/c_1_0000.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[:10], labels[10:14], labels[14:20] = 1, 2, 3
    cv2.imwrite(str(tmp_path / "labelsTr/c_1.png"), labels)
    about = {"labels": {"background": 0, "instrument": 1, "polyp": [2, 3]}, "file_ending": ".png",
             "channel_names": {"0": "R", "1": "G", "2": "B"}, "numTraining": 1}  # fmt: skip
    (tmp_path / "dataset.json").write_text(json.dumps(about))
    import_dataset(tmp_path, "nnunet", tmp_path / "out", "new", classes=["polyp"])
    np.testing.assert_array_equal(read_back(tmp_path)["c_1"] > 0, box(0, 10, WIDTH, 20))

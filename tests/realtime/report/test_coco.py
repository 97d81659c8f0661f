import json
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given

from qlumen.realtime.report.coco import coco
from qlumen.realtime.report.rle import compact, run_lengths
from qlumen.realtime.review.findings import find
from qlumen.realtime.review.review import Review

from support.strategies import masks

coco_mask = pytest.importorskip("pycocotools.mask", reason="pip install pycocotools")


def test_a_worked_case() -> None:
    """Down the columns: 1 of 0, 2 of 1, 2 of 0, 1 of 1; in groups of five bits plus 48."""
    mask = np.array([[0, 0], [1, 0], [1, 1]], np.uint8)
    assert run_lengths(mask).tolist() == [1, 2, 2, 1]
    assert compact(run_lengths(mask)) == "122O"  # the last as 1 - 2 = -1: 31 + 48
    assert run_lengths(np.ones((2, 1), np.uint8)).tolist() == [0, 2]


@given(masks())
def test_runs_are_those_of_pycocotools(mask: np.ndarray) -> None:
    """COCO's own library writes the same text, and reads ours back to the same mask."""
    counts = compact(run_lengths(mask))
    theirs = coco_mask.encode(np.asfortranarray(mask))
    assert counts == theirs["counts"].decode()
    back = coco_mask.decode({"size": list(mask.shape), "counts": counts.encode()})
    assert np.array_equal(back, mask)


@given(masks(largest=6))
def test_long_runs_too(mask: np.ndarray) -> None:
    """Runs of many digits, as in large pictures, agree as well."""
    large = cv2.resize(mask, (mask.shape[1] * 97, mask.shape[0] * 53), interpolation=0)
    assert (
        compact(run_lengths(large)) == coco_mask.encode(np.asfortranarray(large))["counts"].decode()
    )


def read(review: Review) -> dict[str, Any]:
    return json.loads(json.dumps(coco(review, find(review))))


def test_annotations_are_the_findings(review: Review) -> None:
    """Each finding's mask comes back from its runs; boxes and areas are those of the mask."""
    found, told = find(review), read(review)
    assert [one["id"] for one in told["images"]] == [f.index for f in review.frames]
    assert len(told["annotations"]) == sum(map(len, found.frames))
    for one in told["annotations"]:
        mask = coco_mask.decode({**one["segmentation"]})
        assert one["area"] == mask.sum() == coco_mask.area(one["segmentation"])
        x, y, w, h = cv2.boundingRect(mask)
        assert one["bbox"] == [x, y, w, h] == coco_mask.toBbox(one["segmentation"]).tolist()
    tracked = [one["image_id"] for one in told["annotations"] if one["track_id"] == 1]
    assert tracked == [sighting.place for sighting in found.tracks[0].sightings]


def test_coco_itself_reads_it(review: Review, tmp_path: Any) -> None:
    """The COCO library indexes the file and finds annotations by image and category."""
    from pycocotools.coco import COCO

    file = tmp_path / "c.json"
    file.write_text(json.dumps(coco(review, find(review))))
    data = COCO(str(file))
    assert [one["name"] for one in data.loadCats(data.getCatIds())] == ["polyp"]
    assert data.annToMask(data.loadAnns(data.getAnnIds(imgIds=[5]))[0]).sum() > 0

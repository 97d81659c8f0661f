import json
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from qlumen.realtime.report.tables import coco
from qlumen.realtime.review.findings import find
from qlumen.realtime.review.review import Review
from qlumen.realtime.tracking.findings import fill_findings


def unpack(counts: str) -> list[int]:
    """Read COCO's run lengths by hand.

    A run is in groups of five bits, least first, plus 48. The sixth bit says that more groups
    follow. The fifth bit of the last group is the sign. From the fourth run on, the value is the
    difference from the run two before.
    """
    runs: list[int] = []
    value = shift = 0
    for group in (ord(character) - 48 for character in counts):
        value |= (group & 31) << shift
        shift += 5
        if group & 32:
            continue
        value -= (group & 16) << (shift - 4)
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs


def test_a_worked_case() -> None:
    """Runs of 1 x 0, 2 x 1, 2 x 0, 1 x 1 down the columns come back; the last is 1 - 2 = -1."""
    assert unpack("122O") == [1, 2, 2, 1]


def test_runs_are_those_of_the_mask(review: Review) -> None:
    """Alternating runs of 0 and 1 down the columns give each finding's filled contour."""
    found = find(review)
    filled = [fill_findings([one], (320, 240)) for frame in found.frames for one in frame]
    for one, mask in zip(coco(review, found)["annotations"], filled, strict=True):
        assert one["segmentation"]["size"] == [240, 320]
        runs = unpack(one["segmentation"]["counts"])
        flat = np.repeat(np.arange(len(runs)) % 2, runs)
        assert np.array_equal(flat.reshape(mask.shape, order="F"), mask)


def read(review: Review) -> dict[str, Any]:
    return json.loads(json.dumps(coco(review, find(review))))


def test_annotations_are_the_findings(review: Review) -> None:
    """Each finding's mask comes back from its runs; boxes and areas are those of the mask."""
    found, data = find(review), read(review)
    assert [one["id"] for one in data["images"]] == [f.index for f in review.frames]
    assert len(data["annotations"]) == sum(map(len, found.frames))
    for one in data["annotations"]:
        mask = coco_mask.decode({**one["segmentation"]})
        assert one["area"] == mask.sum() == coco_mask.area(one["segmentation"])
        x, y, w, h = cv2.boundingRect(mask)
        assert one["bbox"] == [x, y, w, h] == coco_mask.toBbox(one["segmentation"]).tolist()
    tracked = [one["image_id"] for one in data["annotations"] if one["track_id"] == 1]
    assert tracked == [sighting.place for sighting in found.tracks[0].sightings]


def test_coco_itself_reads_it(review: Review, tmp_path: Any) -> None:
    """The COCO library indexes the file and finds annotations by image and category."""
    from pycocotools.coco import COCO

    file = tmp_path / "c.json"
    file.write_text(json.dumps(coco(review, find(review))))
    data = COCO(str(file))
    assert [one["name"] for one in data.loadCats(data.getCatIds())] == ["polyp"]
    assert data.annToMask(data.loadAnns(data.getAnnIds(imgIds=[5]))[0]).sum() > 0

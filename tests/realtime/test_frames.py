"""Tests the record of a frame."""

import gc
import weakref
from fractions import Fraction

import numpy as np

from qlumen.realtime.frames import Finding

from support.media import result_of

SQUARE = np.array([[3, 4], [8, 4], [8, 9], [3, 9]], np.int32)


def test_a_record_is_the_result_without_its_pixels() -> None:
    """It has the same values as the result, and it releases the image and the mask."""
    found = (Finding((3, 4, 9, 10), 0.5, 36, SQUARE),)
    image = np.zeros((48, 64, 3), np.uint8)
    result = result_of(
        image, 7, pts=14, time_base=Fraction(1, 50), name="a.png", findings=found,
        stages_ms={"decode": 2.0},
    )  # fmt: skip
    held = [weakref.ref(array) for array in (image, result.segmentation.mask)]
    record = result.record()
    assert (record.index, record.pts, record.time_base) == (7, 14, Fraction(1, 50))
    assert record.time_s == result.frame.time_s == 0.28
    assert (record.size, record.name, record.grabbed_ns) == ((64, 48), "a.png", 0)
    assert (record.findings, record.stages_ms, record.live) == (found, {"decode": 2.0}, None)
    assert record.record() is record
    del image, result
    gc.collect()
    assert [array() for array in held] == [None, None]

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from qlumen.realtime.endoscope.field import FieldFinder, crop
from qlumen.realtime.frames import Field, Finding, Frame, Segmentation
from qlumen.realtime.pixels.arrays import Box, Image, Mask
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.segmentation.geometry import Geometry
from qlumen.realtime.segmentation.postprocess import Postprocessor
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource
from qlumen.realtime.tracking.findings import place_findings

SHAPES = ("octagon", "circle", "cut_square", "cut_circle")
SIZES = [(320, 240), (1920, 1080), (352, 240)]


def field_mask(shape: str, width: int, height: int, scale: float = 1.0) -> Mask:
    """Make a field in the middle of a frame, `scale` of its height tall."""
    y, x = np.mgrid[:height, :width] + 0.5
    dx, dy = np.abs(x - width / 2), np.abs(y - height / 2)
    half = scale * height / 2
    inside = {
        "octagon": (dx < 1.15 * half) & (dy < half) & (dx + dy < 1.6 * half),
        "circle": np.hypot(dx, dy) < half,
        "cut_square": (dx < half) & (dy < half) & (dx + dy < 1.8 * half),
        "cut_circle": (np.hypot(dx, dy) < 1.2 * half) & (dy < half),
    }[shape]
    return inside.astype(np.uint8)


def mucosa(field: Mask, seed: int = 0, level: float = 1.0) -> Image:
    """Make a red, mottled image in the field, `level` bright, with noise in the border."""
    height, width = field.shape
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0.5, 1, (height // 16 + 2, width // 16 + 2)).astype(np.float32)
    light = cv2.resize(coarse, (width, height)) * field
    image = light[..., None] * np.array([80, 95, 200]) * level + rng.integers(
        0, 8, (height, width, 1)
    )
    return np.clip(image, 0, 255).astype(np.uint8)


def frame_at(image: Image, time_s: float = 0.0) -> Frame:
    return Frame(0, round(1000 * time_s), Fraction(1, 1000), BgrImage(image), 0)


def paint(field: Field, width: int, height: int) -> Mask:
    mask = np.zeros((height, width), np.uint8)
    x0, y0, x1, y1 = field.box
    mask[y0:y1, x0:x1] = 1 if field.mask is None else field.mask[y0:y1, x0:x1]
    return mask


def overlap(field: Field, truth: Mask) -> float:
    mask = paint(field, truth.shape[1], truth.shape[0])
    return float((mask & truth).sum() / (mask | truth).sum())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("shape", SHAPES)
def test_finds_each_shape(shape: str, size: tuple[int, int]) -> None:
    """The field overlaps the drawn one by more than 97%, and its box is tight around its mask."""
    truth = field_mask(shape, *size)
    field = FieldFinder()(frame_at(mucosa(truth)))
    assert overlap(field, truth) > 0.97
    assert field.mask is not None
    y, x = np.nonzero(field.mask)
    x0, y0, x1, y1 = x.min(), y.min(), x.max() + 1, y.max() + 1
    width, height = size
    even = (x0 - x0 % 2, y0 - y0 % 2, min(x1 + x1 % 2, width), min(y1 + y1 % 2, height))
    assert field.box == even


@pytest.mark.parametrize("size", SIZES)
def test_full_frame_is_the_whole_frame(size: tuple[int, int]) -> None:
    """Without a border the field is the frame, without a mask."""
    field = FieldFinder()(frame_at(mucosa(np.ones(size[::-1], np.uint8))))
    assert (field.box, field.mask) == ((0, 0, *size), None)


def test_text_beside_the_field_is_not_field() -> None:
    """Burned-in text, small marks and a green scope-position image do not change the field."""
    truth = field_mask("octagon", 1280, 720, 0.9)
    image = mucosa(truth)
    for row in range(100, 400, 40):
        cv2.putText(image, "PATIENT 12", (10, row), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (255,) * 3, 2)
    for column in range(20, 140, 24):
        image[500:512, column : column + 12] = 255
    image[560:700, 30:250] = (150, 180, 20)
    assert overlap(FieldFinder()(frame_at(image)), truth) > 0.97


def test_position_image_over_the_field_is_cut_out() -> None:
    """A green image that covers a part of the field does not belong to it, and the rest has no
    hole."""
    truth = field_mask("octagon", 1280, 720)
    image = mucosa(truth)
    image[500:690, 180:480] = (150, 180, 20)
    mask = FieldFinder()(frame_at(image)).mask
    assert mask is not None
    assert mask[505:685, 185:475].mean() < 0.01
    assert np.array_equal(ndimage.binary_fill_holes(mask), mask > 0)
    assert (mask & truth).sum() > 0.85 * truth.sum()


def test_a_green_frame_is_not_all_cut_out() -> None:
    """A frame that is mostly green, and one that is all green, have a field."""
    image = np.full((240, 320, 3), (150, 180, 20), np.uint8)
    finder = FieldFinder()
    assert finder(frame_at(image)).box == (0, 0, 320, 240)
    image[:, 200:] = (80, 95, 200)
    box = finder(frame_at(image, 5)).box
    assert box[2] - box[0] >= 110
    assert box[3] - box[1] == 240


@pytest.mark.parametrize("level", [0, 0.05])
def test_dark_moments_change_nothing(level: float) -> None:
    """Dark frames for 49 s after a lit frame leave the same field object."""
    truth = field_mask("circle", 320, 240)
    finder = FieldFinder()
    before = finder(frame_at(mucosa(truth)))
    for second in range(1, 50):
        assert finder(frame_at(mucosa(truth, second, level), second)) is before


def test_half_dark_moments_change_nothing() -> None:
    """The field stays whole while only one side is lit for less than `forget_s`. A frozen frame and
    a red one change nothing."""
    truth = field_mask("octagon", 320, 240)
    image, half = mucosa(truth), mucosa(truth)
    half[:, 160:] = 0
    red = np.where(truth[..., None] > 0, np.array([20, 20, 220], np.uint8), np.uint8(0))
    finder = FieldFinder(forget_s=30)
    before = finder(frame_at(image))
    for second in range(1, 50):
        assert (
            finder(frame_at(half if second % 30 < 20 else red if second % 2 else image, second))
            is before
        )


@pytest.mark.parametrize(("first", "then"), [(0.6, 1.0), (1.0, 0.6)])
def test_follows_a_change_of_shape(first: float, then: float) -> None:
    """A larger field is found at the next search, a smaller one after `forget_s`."""
    before, after = (field_mask("octagon", 640, 480, scale) for scale in (first, then))
    finder = FieldFinder(forget_s=10)
    finder(frame_at(mucosa(before)))
    seconds = 1 if then > first else 12
    for second in range(1, seconds + 1):
        field = finder(frame_at(mucosa(after), second))
    assert overlap(field, after) > 0.97


def test_searches_only_at_intervals() -> None:
    """Between searches the field is the same object, whatever is shown."""
    finder = FieldFinder(every_s=1.0)
    first = finder(frame_at(mucosa(field_mask("circle", 320, 240, 0.5))))
    larger = mucosa(field_mask("circle", 320, 240))
    assert finder(frame_at(larger, 0.96)) is first
    assert finder(frame_at(larger, 1.0)) is not first


def test_new_size_or_earlier_time_forgets_the_field() -> None:
    """No field of another size, or of later times, is kept."""
    finder = FieldFinder()
    large, small = field_mask("circle", 320, 240), field_mask("circle", 320, 240, 0.5)
    finder(frame_at(mucosa(large), 50))
    assert overlap(finder(frame_at(mucosa(small), 0)), small) > 0.97
    other = field_mask("circle", 320, 200)
    assert overlap(finder(frame_at(mucosa(other), 0.1)), other) > 0.97


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (1, 50), (4097, 2), (3000, 17)])
def test_before_any_light_the_field_is_the_whole_frame(size: tuple[int, int]) -> None:
    """Black frames of any size are all field."""
    field = FieldFinder()(frame_at(np.zeros((size[1], size[0], 3), np.uint8)))
    assert (field.box, field.mask) == ((0, 0, *size), None)


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (1, 50), (4097, 2), (3000, 17)])
def test_tiny_bright_frames_are_all_field(size: tuple[int, int]) -> None:
    """Bright frames of any size are all field."""
    field = FieldFinder()(frame_at(np.full((size[1], size[0], 3), 200, np.uint8)))
    assert (field.box, field.mask) == ((0, 0, *size), None)


def test_finds_the_scene() -> None:
    """The field of the synthetic colon, whose border is exactly black, is found in its frames."""
    source = SceneSource(SceneSettings(960, 540))
    frames = [source.frame(index) for index in range(0, 250, 25)]
    truth = np.max([frame.image.max(axis=2) for frame in frames], axis=0) > 0
    finder = FieldFinder()
    for frame in frames:
        field = finder(frame)
    assert overlap(field, truth.astype(np.uint8)) > 0.97


@pytest.mark.data
def test_finds_real_fields(data_dir: Path) -> None:
    """On Kvasir-SEG the field agrees with the hull of lit pixels found at full size."""
    files = sorted((data_dir / "kvasir-seg" / "images").glob("*.jpg"))[::50]
    overlaps = [
        overlap(FieldFinder()(frame_at(image)), lit_hull(image)) for image in map(read, files)
    ]
    assert len(overlaps) >= 20
    assert np.mean(np.array(overlaps) > 0.98) >= 0.9


def read(file: Path) -> Image:
    return cv2.imread(str(file))


def lit_hull(image: Image) -> Mask:
    lit = ndimage.binary_opening(ndimage.median_filter(image.max(axis=2), 3) > 24, np.ones((9, 9)))
    labels, count = ndimage.label(lit)
    largest = 1 + np.argmax(np.bincount(labels.ravel(), minlength=count + 1)[1:])
    points = np.argwhere(labels == largest)[:, ::-1].astype(np.int32)
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(points), 1)
    return mask


def test_crop_is_a_view() -> None:
    """The crop shares the image's memory and is the box."""
    image = np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)
    view = crop(image, (4, 5, 14, 9))
    assert np.shares_memory(view, image)
    assert np.array_equal(view, image[5:9, 4:14])


@st.composite
def fields(draw: st.DrawFn) -> tuple[Field, tuple[int, int]]:
    """Draw boxes with and without a convex mask, some with a corner cut out."""
    width, height = draw(st.integers(1, 48)), draw(st.integers(1, 48))
    x0, y0 = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    x1, y1 = draw(st.integers(x0 + 1, width)), draw(st.integers(y0 + 1, height))
    if draw(st.booleans()):
        return Field((x0, y0, x1, y1), None), (width, height)
    points = draw(st.lists(
        st.tuples(st.integers(x0, x1 - 1), st.integers(y0, y1 - 1)), min_size=1, max_size=9
    ))  # fmt: skip
    mask = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.array(points, np.int32)), 1)
    if draw(st.booleans()):
        kept = mask.copy()
        kept[(y0 + y1) // 2 :, : (x0 + x1) // 2] = 0
        mask = kept if kept.any() else mask
    return Field(tight_box(mask), mask), (width, height)


def tight_box(mask: Mask) -> Box:
    y, x = np.nonzero(mask)
    return int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1


def segment(field: Field, seed: int, level: float) -> Segmentation:
    """Return blobs on the field's crop that the post-processing finds."""
    x0, y0, x1, y1 = field.box
    noise = np.random.default_rng(seed).random((y1 - y0, x1 - x0))
    smooth = ndimage.gaussian_filter(noise, 1.5, mode="wrap")
    low, high = smooth.min(), smooth.max()
    probability = ((smooth - low) / (high - low) if high > low else noise).astype(np.float32)
    post = Postprocessor(low=level, high=level, min_area_fraction=0.0)
    size = (x1 - x0, y1 - y0)
    return post(probability, Geometry.of(size, size, "stretch"))


@given(fields(), st.integers(0, 2**16), st.sampled_from((0.3, 0.5, 0.8)))
def test_placed_is_the_mask_moved_and_cut(
    case: tuple[Field, tuple[int, int]], seed: int, level: float
) -> None:
    """Placed findings fill the crop's mask at the box's place and within the field. Each finding's
    box and area are those of its pixels, and each piece is connected."""
    field, (width, height) = case
    before = segment(field, seed, level)
    after = place_findings(before.findings, field)
    x0, y0, x1, y1 = field.box
    wanted = np.zeros((height, width), np.uint8)
    wanted[y0:y1, x0:x1] = before.mask
    wanted &= paint(field, width, height)
    assert np.array_equal(union(after, wanted.shape), wanted)
    _, pieces = ndimage.label(wanted, np.ones((3, 3)))
    assert len(after) == pieces
    for one in after:
        alone = union([one], wanted.shape)
        assert (one.area_px, one.box) == (int(alone.sum()), tight_box(alone))
    areas = [one.area_px for one in after]
    assert areas == sorted(areas, reverse=True)
    assert {one.score for one in after} <= {one.score for one in before.findings}


def union(findings: "Iterator[Finding] | list[Finding] | tuple[Finding, ...]",
          shape: tuple[int, ...]) -> NDArray[np.uint8]:  # fmt: skip
    mask = np.zeros(shape, np.uint8)
    for one in findings:
        cv2.fillPoly(mask, [one.contour], 1)
    return mask


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**16), st.booleans())
def test_whole_and_uncut_are_the_same_objects(
    width: int, height: int, seed: int, masked: bool
) -> None:
    """Findings of a whole frame, with or without a mask that cuts nothing, stay as they are."""
    mask = np.ones((height, width), np.uint8) if masked else None
    field = Field((0, 0, width, height), mask)
    before = segment(field, seed, 0.5).findings
    after = place_findings(before, field)
    assert {id(one) for one in after} == {id(one) for one in before}


def test_cut_finding_keeps_its_score() -> None:
    """A square halved by the field has half the area and the same score."""
    mask = np.ones((20, 20), np.uint8)
    mask[:, 10:] = 0
    contour = np.array([[6, 6], [13, 6], [13, 13], [6, 13]], np.int32)
    whole = Finding((6, 6, 14, 14), 0.75, 64, contour)
    (left,) = place_findings([whole], Field((0, 0, 20, 20), mask))
    assert (left.box, left.area_px, left.score) == ((6, 6, 10, 14), 32, 0.75)

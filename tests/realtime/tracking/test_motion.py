import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from qlumen.realtime.frames import Finding, Segmentation
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.segmentation.geometry import Geometry
from qlumen.realtime.segmentation.postprocess import Postprocessor
from qlumen.realtime.tracking.findings import move_finding, move_segmentation
from qlumen.realtime.tracking.motion import (
    CUT_GREY_LEVELS,
    THUMBNAIL_PX,
    Motion,
    mismatch,
)

from support import naive, naive_flow
from support.strategies import probability_maps, sizes

EDGE_PX = 12
"""Motion cannot be known where new parts enter the image, only in the middle."""
SEEDS = st.integers(0, 2**16)


def texture(width: int, height: int, seed: int = 0) -> NDArray[np.uint8]:
    """Make smooth noise of several sizes, with contrasts like those of mucosa."""
    rng = np.random.default_rng(seed)
    noise = sum(
        cv2.GaussianBlur(rng.normal(0, 1, (height, width)), (0, 0), sigma) * sigma
        for sigma in (1.5, 3.0, 8.0)
    )
    scaled = 128 + 35 * noise / max(noise.std(), 1e-9)
    return np.clip(scaled, 0, 255).astype(np.uint8)


def warp(image: NDArray[np.uint8], matrix: NDArray[np.float64]) -> NDArray[np.uint8]:
    size = image.shape[::-1]
    return cv2.warpAffine(image, matrix, size, flags=cv2.INTER_CUBIC, borderMode=4)


def middle(flow: NDArray[np.float32]) -> NDArray[np.float32]:
    return flow[EDGE_PX:-EDGE_PX, EDGE_PX:-EDGE_PX]


@pytest.mark.parametrize("shift", [(0, 0), (1, 0), (0, -2), (-5, 3), (9, 6)])
def test_flow_finds_a_shift(shift: tuple[int, int]) -> None:
    """With a shift by whole pixels the flow's mean error is below a tenth of a pixel."""
    earlier = texture(160, 90)
    later = warp(earlier, np.array([[1, 0, shift[0]], [0, 1, shift[1]]], float))
    flow = Motion().flow(earlier, later)
    assert flow.shape == (90, 160, 2)
    assert flow.dtype == np.float32
    assert np.abs(middle(flow) - shift).mean() < 0.1


@pytest.mark.parametrize(("degrees", "zoom"), [(4.0, 1.0), (0.0, 1.08), (-3.0, 0.94)])
def test_flow_finds_an_affine_map(degrees: float, zoom: float) -> None:
    """With a turn or zoom about the middle the flow's mean error is below a quarter pixel."""
    earlier = texture(160, 120)
    matrix = cv2.getRotationMatrix2D((79.5, 59.5), degrees, zoom)
    flow = Motion().flow(earlier, warp(earlier, matrix))
    y, x = np.mgrid[:120, :160].astype(float)
    target = np.stack([x, y, np.ones_like(x)], axis=-1) @ matrix.T
    way = target - np.stack([x, y], axis=-1)
    assert np.abs(way).max() > 4
    assert np.abs(middle(flow) - middle(way)).mean() < 0.25


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (31, 33), (13, 160), (160, 13), (160, 160)])
def test_flow_takes_every_size(size: tuple[int, int]) -> None:
    """Sizes that OpenCV alone cannot process work as well, and equal images have no motion."""
    image = texture(*size)
    flow = Motion().flow(image, image)
    assert flow.shape == (size[1], size[0], 2)
    assert np.abs(flow).max() < 0.01


def test_flow_refuses_two_sizes() -> None:
    """A change of size in mid-stream is an error that names both sizes."""
    with pytest.raises(ValueError, match=r"\(9, 16\) and \(9, 12\): they must be of one size"):
        Motion().flow(texture(16, 9), texture(12, 9))


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1920, 1080), (63, 112)), ((1080, 1920), (112, 63)), ((100, 60), (60, 100)),
     ((4000, 3), (1, 112)), ((1, 1), (1, 1))],
)  # fmt: skip
def test_thumbnails_keep_proportions(size: tuple[int, int], expected: tuple[int, int]) -> None:
    """The longer side is THUMBNAIL_PX, or the image's own if that is less."""
    image = np.zeros((size[1], size[0], 3), np.uint8)
    assert Motion().reduce(BgrImage(image)).shape == expected
    assert max(expected) <= THUMBNAIL_PX


def test_mismatch_separates_a_cut_from_motion() -> None:
    """The flow explains a shifted image, and does not explain another image."""
    motion, earlier = Motion(), texture(160, 90)
    shifted = warp(earlier, np.array([[1, 0, 4], [0, 1, 2]], float))
    other = 255 - texture(160, 90, seed=1)
    assert mismatch(earlier, shifted, motion.flow(earlier, shifted)) < 5
    assert mismatch(earlier, other, motion.flow(earlier, other)) > CUT_GREY_LEVELS
    still = np.zeros((90, 160, 2), np.float32)
    expected = np.abs(earlier.astype(float) - other).mean()
    assert mismatch(earlier, other, still) == pytest.approx(expected)


@st.composite
def segmentations(draw: st.DrawFn, largest: int = 40) -> Segmentation:
    """Draw segmentations that post-processing makes of small maps."""
    frame = draw(sizes(largest))
    network = draw(sizes(16))
    probability = draw(probability_maps(*network))
    post = Postprocessor(low=0.4, high=0.6, min_area_fraction=0)
    return post(probability, Geometry.of(frame, network, "stretch"))


@settings(max_examples=150, deadline=None)
@given(segmentations(), sizes(12))
def test_no_motion_gives_the_same_back(segmentation: Segmentation, small: tuple[int, int]) -> None:
    """No motion keeps mask, boxes, areas and contours, point by point, whatever the flow's size."""
    still = move_segmentation(segmentation, np.zeros((*small, 2), np.float32))
    np.testing.assert_array_equal(still.mask, segmentation.mask)
    assert len(still.findings) == len(segmentation.findings)
    for now, before in zip(still.findings, segmentation.findings, strict=True):
        np.testing.assert_array_equal(now.contour, before.contour)
        assert (now.box, now.area_px, now.score) == (before.box, before.area_px, before.score)
    assert still.probability is segmentation.probability


def largest_piece(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the largest 8-connected component after filling holes, by SciPy."""
    labels, count = ndimage.label(ndimage.binary_fill_holes(mask), np.ones((3, 3)))
    areas = [(labels == number).sum() for number in range(1, count + 1)]
    return (labels == 1 + int(np.argmax(areas))).astype(np.uint8) if count else mask * 0


def fill_alone(finding: Finding, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [finding.contour], 1)
    return mask


@settings(max_examples=150, deadline=None)
@given(segmentations(), st.integers(-50, 50), st.integers(-50, 50))
def test_a_shift_moves_each_finding(segmentation: Segmentation, dx: int, dy: int) -> None:
    """A shift by whole pixels keeps each finding's shape, cut by the frame's edge. Of a finding cut
    in pieces, one of the largest is left."""
    height, width = segmentation.mask.shape
    flow = np.full((height, width, 2), (dx, dy), np.float32)
    kept = 0
    for finding in segmentation.findings:
        wide = np.pad(fill_alone(finding, (height, width)), 50)
        shifted = np.roll(wide, (dy, dx), (0, 1))[50:-50, 50:-50]
        now = move_finding(finding, flow, (width, height))
        assert (now is None) == (not shifted.any())
        if now is None:
            continue
        kept += 1
        piece = fill_alone(now, (height, width))
        assert not (piece & ~shifted).any()
        assert now.area_px == piece.sum() == largest_piece(shifted).sum()
    assert len(move_segmentation(segmentation, flow).findings) == kept


@settings(max_examples=100, deadline=None)
@given(segmentations(), sizes(8), SEEDS)
def test_any_motion_fills_the_moved_border(
    segmentation: Segmentation, small: tuple[int, int], seed: int
) -> None:
    """Each finding is the largest piece of its moved border, filled by OpenCV. The border's points
    go no further out than the frame's size."""
    rng = np.random.default_rng(seed)
    flow = rng.normal(0, 2, (small[1], small[0], 2)).astype(np.float32)
    height, width = segmentation.mask.shape
    step = max(1, min(width // small[0], height // small[1]))
    for finding in segmentation.findings:
        border = naive_flow.move_border(finding.contour, flow, width, height, step)
        border = border.clip((-width, -height), (2 * width, 2 * height)).astype(np.int32)
        wide = np.zeros((height + 200, width + 200), np.uint8)
        cv2.fillPoly(wide, [border + 100], 1)
        expected = naive.fill_holes(wide[100:-100, 100:-100].copy())
        now = move_finding(finding, flow, (width, height))
        assert (now is None) == (not expected.any())
        if now is not None:
            piece = fill_alone(now, (height, width))
            assert not (piece & ~expected).any()
            assert now.area_px == piece.sum() == largest_piece(expected).sum()


@settings(max_examples=150, deadline=None)
@given(segmentations(), sizes(8), SEEDS)
def test_a_moved_segmentation_is_consistent(
    segmentation: Segmentation, small: tuple[int, int], seed: int
) -> None:
    """Filled contours give the mask, boxes are tight, areas are counted, the largest is first."""
    flow = np.random.default_rng(seed).normal(0, 3, (*small, 2)).astype(np.float32)
    after = move_segmentation(segmentation, flow)
    union = np.zeros_like(after.mask)
    for finding in after.findings:
        one = fill_alone(finding, after.mask.shape)
        y, x = np.nonzero(one)
        assert finding.box == (x.min(), y.min(), x.max() + 1, y.max() + 1)
        assert finding.area_px == one.sum()
        assert finding.contour.dtype == np.int32
        union |= one
    np.testing.assert_array_equal(after.mask, union)
    areas = [finding.area_px for finding in after.findings]
    assert areas == sorted(areas, reverse=True)

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from qlumen.errors import ConfigError
from qlumen.realtime.frames import Segmentation
from qlumen.realtime.overlay.findings import CYAN_BGR, RIM_BGR, Overlay
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.segmentation.geometry import Geometry
from qlumen.realtime.segmentation.postprocess import Postprocessor

from support import naive
from support.media import planes_of
from support.strategies import masks


def segmentation(mask: NDArray[np.uint8]) -> Segmentation:
    """Return the findings of a mask, as post-processing makes them."""
    height, width = mask.shape
    geometry = Geometry.of((width, height), (width, height), "stretch")
    post = Postprocessor(low=0.5, high=0.5, min_area_fraction=0)
    return post(mask.astype(np.float32), geometry)


def random_image(shape: tuple[int, ...], seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3)).astype(np.uint8)


@settings(max_examples=200)
@given(masks(), st.integers(0, 3), st.integers(0, 2**16))
def test_pixels_outside_the_markers_keep_their_bits(
    mask: NDArray[np.uint8], width: int, seed: int
) -> None:
    """Where the marker mask is 0, drawing changes nothing; the frame itself never changes."""
    image, found = random_image(mask.shape, seed), segmentation(mask)
    before = image.copy()
    overlay = Overlay(line_width_px=width)
    drawn, markers = overlay(image, found), overlay.marker_mask(found)
    np.testing.assert_array_equal(image, before)
    np.testing.assert_array_equal(drawn[markers == 0], image[markers == 0])


@settings(max_examples=100)
@given(masks(16), st.integers(1, 3), st.floats(0, 1), st.integers(0, 2**16))
def test_drawing_is_the_oracles(
    mask: NDArray[np.uint8], width: int, alpha: float, seed: int
) -> None:
    """Each pixel is untouched, rim, line or tint by its distance to the mask, in that order."""
    image, found = random_image(mask.shape, seed), segmentation(mask)
    overlay = Overlay(line_bgr=(9, 200, 77), fill_alpha=alpha, line_width_px=width)
    parts = naive.overlay_parts(found.mask, width, 1)
    np.testing.assert_array_equal(overlay.marker_mask(found), parts > 0)
    drawn = overlay(image, found)
    for index in np.ndindex(image.shape):
        colour = (0, RIM_BGR, (9, 200, 77), (9, 200, 77))[parts[index[:2]]]
        weight = (0, 256, 256, round(alpha * 256))[parts[index[:2]]]
        value = naive.blend(int(image[index]), colour[index[2]] if weight else 0, weight)
        assert drawn[index] == value


@settings(max_examples=100)
@given(masks(), st.integers(0, 2**16))
def test_patches_put_together_are_the_drawing(mask: NDArray[np.uint8], seed: int) -> None:
    """Patches give the same image as drawing on a copy, also where findings are close."""
    image, found = random_image(mask.shape, seed), segmentation(mask)
    overlay = Overlay(line_width_px=2)
    whole = image.copy()
    drawn = overlay.annotate(BgrImage(image), found)
    overlay.draw(whole, found)
    np.testing.assert_array_equal(drawn.bgr(), whole)
    assert drawn.bgr() is drawn.bgr()


@given(st.integers(0, 2**16))
def test_planes_are_drawn_on_where_findings_are(seed: int) -> None:
    """Patches are those of the planes with all findings on them, and all other pixels are the
    frame's own."""
    rng = np.random.default_rng(seed)
    mask = (rng.random((48, 64)) > 0.99).astype(np.uint8)
    planes, found, overlay = planes_of(rng, 64, 48), segmentation(mask), Overlay(line_width_px=1)
    markers = overlay.marker_mask(found)
    drawn = overlay.annotate(planes, found)
    covered = np.zeros_like(mask)
    for (x0, y0, x1, y1), patch, marks in drawn.patches:
        bare, marked = planes.patch((x0, y0, x1, y1)), markers[y0:y1, x0:x1] > 0
        np.testing.assert_array_equal(marks > 0, marked)
        np.testing.assert_array_equal(patch[~marked], bare[~marked])
        assert (patch[marked] != bare[marked]).any()
        covered[y0:y1, x0:x1] += 1
        np.testing.assert_array_equal(drawn.bgr()[y0:y1, x0:x1][marked], patch[marked])
    assert covered.max() <= 1
    assert not markers[covered == 0].any()
    np.testing.assert_array_equal(drawn.bgr()[markers == 0], planes.bgr()[markers == 0])


def test_nothing_found_gives_a_read_only_view() -> None:
    """Without findings the frame's own pixels are shown without a copy, and cannot be written."""
    image = random_image((4, 6), 1)
    drawn = Overlay()(image, segmentation(np.zeros((4, 6), np.uint8)))
    assert np.shares_memory(drawn, image)
    assert not drawn.flags.writeable
    assert image.flags.writeable


def test_frames_in_other_memory_layouts() -> None:
    """A flipped view of a frame is drawn on like a plain copy of it."""
    image, mask = random_image((20, 30), 2), np.zeros((20, 30), np.uint8)
    mask[5:9, 7:20] = 1
    flipped = image[::-1, ::-1]
    drawn = Overlay()(flipped, segmentation(mask))
    np.testing.assert_array_equal(drawn, Overlay()(flipped.copy(), segmentation(mask)))


@pytest.mark.parametrize(("height", "line"), [(20, 1), (288, 1), (720, 2), (1080, 3), (4320, 12)])
def test_automatic_line_width_goes_with_the_height(height: int, line: int) -> None:
    """The line is 1/360 of the frame's height wide, and at least one pixel."""
    mask = np.zeros((height, 40), np.uint8)
    mask[height // 2 :] = 1
    drawn = Overlay()(np.zeros((height, 40, 3), np.uint8), segmentation(mask))
    assert np.count_nonzero((drawn[:, 20] == CYAN_BGR).all(axis=1)) == line


def test_drawn_frames_stay_as_they_are() -> None:
    """A drawn frame that a sink keeps is not changed by the next ones."""
    overlay, mask = Overlay(), np.zeros((20, 30), np.uint8)
    mask[5:15, 5:15] = 1
    found = segmentation(mask)
    images = [random_image(mask.shape, seed) for seed in range(4)]
    drawn = [overlay(image, found) for image in images]
    for image, kept in zip(images, drawn, strict=True):
        np.testing.assert_array_equal(kept, Overlay()(image, found))


def test_settings_out_of_bounds_are_refused() -> None:
    """Each bad setting is named with its bounds."""
    with pytest.raises(ConfigError, match="line_bgr is"):
        Overlay(line_bgr=(0, 256, 0))
    with pytest.raises(ConfigError, match=r"fill_alpha is 1\.5"):
        Overlay(fill_alpha=1.5)
    with pytest.raises(ConfigError, match="line_width_px is -1"):
        Overlay(line_width_px=-1)


@given(st.lists(st.tuples(masks(12), st.integers(0, 2**16)), min_size=2, max_size=4))
def test_nothing_of_earlier_frames_is_drawn(
    frames: list[tuple[NDArray[np.uint8], int]],
) -> None:
    """One overlay draws a row of frames as new ones draw each."""
    overlay = Overlay()
    for mask, seed in frames:
        image, found = random_image(mask.shape, seed), segmentation(mask)
        np.testing.assert_array_equal(overlay(image, found), Overlay()(image, found))


def test_frame_of_another_size_is_refused() -> None:
    """An image that is not the segmented frame is named with both sizes."""
    with pytest.raises(ValueError, match="image is 5x4, the mask 6x4"):
        Overlay()(random_image((4, 5), 1), segmentation(np.ones((4, 6), np.uint8)))
    planes = planes_of(np.random.default_rng(0), 4, 6)
    with pytest.raises(ValueError, match="image is 4x6, the mask 6x4"):
        Overlay().annotate(planes, segmentation(np.ones((4, 6), np.uint8)))


@pytest.mark.data
def test_real_frames_keep_their_bits_outside_the_markers(data_dir: Path) -> None:
    """On real images with their true masks only marked pixels change, and some do."""
    overlay = Overlay()
    for path in sorted((data_dir / "kvasir-seg" / "masks").iterdir())[:12]:
        image = cv2.imread(str(next((data_dir / "kvasir-seg" / "images").glob(f"{path.stem}.*"))))
        found = segmentation((cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 127).astype(np.uint8))
        drawn, markers = overlay(image, found), overlay.marker_mask(found)
        assert found.findings
        np.testing.assert_array_equal(drawn[markers == 0], image[markers == 0])
        assert (drawn != image).any()

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.pixels.planes import Planes
from qlumen.realtime.pixels.pool import FramePool
from qlumen.realtime.pixels.yuv import to_video_frame
from qlumen.realtime.segmentation.geometry import Fit
from qlumen.realtime.segmentation.preprocess import Preprocessor

SIZES = st.tuples(st.integers(1, 400), st.integers(1, 400))


@given(SIZES, st.sampled_from(["stretch", "letterbox"]), st.integers(0, 255))
@settings(max_examples=60)
def test_flat_image_stays_flat_inside_its_rectangle(
    size: tuple[int, int], fit: Fit, value: int
) -> None:
    """At any size the input is full, letterbox bars are black, and proportions are kept."""
    image = np.full((size[1], size[0], 3), value, np.uint8)
    fitted = Preprocessor((64, 32), fit)(BgrImage(image))
    assert fitted.shape == (32, 64, 3)
    assert fitted.dtype == np.uint8
    assert fitted.flags.c_contiguous
    assert set(np.unique(fitted)) <= {0, value}
    share = np.mean(fitted == value) if value else 1
    if fit == "stretch":
        assert share == 1
    elif value:
        scale = min(64 / size[0], 32 / size[1])
        area = max(1, scale * size[0]) * max(1, scale * size[1])
        assert share * 64 * 32 == pytest.approx(area, abs=66)


def test_shrinking_is_close_to_area_averaging() -> None:
    """Halving then interpolating stays close to OpenCV's exact averaging on smooth images."""
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 256, (1080, 1920, 3), np.uint8), (0, 0), 6)
    wanted = cv2.resize(image, (352, 352), interpolation=cv2.INTER_AREA)
    got = Preprocessor((352, 352), "stretch")(BgrImage(image))
    assert np.abs(got.astype(int) - wanted).mean() < 0.5


def test_fine_pattern_does_not_alias() -> None:
    """A one-pixel checkerboard becomes grey instead of a false coarse pattern."""
    image = np.zeros((1080, 1920, 3), np.uint8)
    image[::2, ::2] = image[1::2, 1::2] = 255
    got = Preprocessor((352, 352), "stretch")(BgrImage(image))
    assert np.abs(got.astype(int) - 127.5).max() < 2


def test_image_of_the_inputs_size_is_unchanged() -> None:
    """An image that has the input's size is not resampled."""
    image = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    np.testing.assert_array_equal(Preprocessor((64, 64), "stretch")(BgrImage(image)), image)


@pytest.mark.parametrize("size", [(1920, 1080), (1280, 720), (720, 576), (352, 288), (98, 40)])
@pytest.mark.parametrize("fit", ["stretch", "letterbox"])
def test_planes_become_the_image_that_their_bgr_becomes(size: tuple[int, int], fit: Fit) -> None:
    """Resizing before or after the conversion differs by less than a level in the mean, and bars
    are black."""
    rng = np.random.default_rng(2)
    colours = cv2.GaussianBlur(rng.integers(0, 256, (9, 16, 3), np.uint8), (0, 0), 1)
    image = cv2.resize(colours, size, interpolation=cv2.INTER_CUBIC)
    planes = Planes(to_video_frame(image), FramePool())
    fitted = Preprocessor((352, 352), fit)
    got, wanted = fitted(planes), fitted(BgrImage(image))
    assert got.shape == wanted.shape
    assert got.dtype == np.uint8
    assert got.flags.c_contiguous
    difference = np.abs(got.astype(int) - wanted)
    assert difference.mean() < 1
    assert np.percentile(difference, 99) <= 3
    assert not got[wanted.max(axis=2) == 0].any()

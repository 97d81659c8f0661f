from fractions import Fraction
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from qlumen.realtime.config.image import QualitySettings
from qlumen.realtime.endoscope.field import FieldFinder
from qlumen.realtime.endoscope.quality import ROWS, QualityJudge, Reducer, measure, reduce_rows
from qlumen.realtime.frames import Condition, Field, Frame
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource

WIDTH, HEIGHT = 480, 360
WHOLE = Field((0, 0, WIDTH, HEIGHT), None)
REAL_SHARE = 0.97


def make_flat(bgr: tuple[int, int, int], noise: float = 2.0) -> Image:
    values = np.random.default_rng(1).normal(bgr, noise, (HEIGHT, WIDTH, 3))
    return np.clip(values, 0, 255).astype(np.uint8)


def make_texture(bgr: tuple[int, int, int]) -> Image:
    """Make detail of all sizes in one hue, as in natural images."""
    rng = np.random.default_rng(2)
    octaves = (ndimage.zoom(rng.normal(0, 2.0**k, (HEIGHT >> k, WIDTH >> k)), 2**k, order=1)
               for k in range(6))  # fmt: skip
    light = 1 + sum(o[: HEIGHT - 40, : WIDTH - 40] for o in octaves) / 100
    light = np.pad(light, ((0, 40), (0, 40)), mode="reflect")
    return np.clip(light[..., None] * np.array(bgr), 0, 255).astype(np.uint8)


MUCOSA = make_texture((80, 95, 170))


def judge_image(image: Image, field: Field = WHOLE) -> Condition:
    return QualityJudge().instant(BgrImage(image), field)


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        (MUCOSA, Condition.CLEAR),
        (make_texture((150, 105, 130)), Condition.CLEAR),
        (cv2.GaussianBlur(MUCOSA, (0, 0), 0.02 * HEIGHT), Condition.BLURRED),
        (cv2.blur(MUCOSA, (round(0.1 * HEIGHT), 1)), Condition.BLURRED),
        (cv2.blur(MUCOSA, (1, round(0.1 * HEIGHT))), Condition.BLURRED),
        (make_flat((30, 40, 210)), Condition.RED_OUT),
        (cv2.convertScaleAbs(MUCOSA, alpha=0.15), Condition.UNDEREXPOSED),
        (np.zeros_like(MUCOSA), Condition.UNDEREXPOSED),
        (np.full_like(MUCOSA, 255), Condition.OVEREXPOSED),
        (np.where(np.arange(HEIGHT)[:, None, None] < 150, 255, MUCOSA).astype(np.uint8),
         Condition.OVEREXPOSED),
        (make_texture((130, 130, 130)), Condition.OUT_OF_BODY),
        (make_texture((210, 215, 215)), Condition.OUT_OF_BODY),
        (make_texture((140, 110, 60)), Condition.OUT_OF_BODY),
        (np.where(np.arange(WIDTH)[:, None] < 200, make_texture((130,) * 3), MUCOSA),
         Condition.OUT_OF_BODY),
    ],
)  # fmt: skip
def test_each_condition_is_found(image: Image, wanted: Condition) -> None:
    """Images with one plain fault each get its condition, and dyed, pale mucosa is clear."""
    assert judge_image(image) is wanted


@given(st.sampled_from([MUCOSA, make_flat((30, 40, 210)), make_texture((130, 130, 130))]),
       st.integers(0, 2**16))  # fmt: skip
def test_nothing_outside_the_field_matters(image: Image, seed: int) -> None:
    """Any noise beside the field leaves the measures as they are."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(mask, (WIDTH // 2, HEIGHT // 2), HEIGHT // 3, 1, cv2.FILLED)
    y, x = np.nonzero(mask)
    box = int(x.min()), int(y.min()), int(x.max()) + 1, int(y.max()) + 1
    field = Field(box, mask)
    noise = np.random.default_rng(seed).integers(0, 256, image.shape, np.uint8)
    other = np.where(mask[..., None] > 0, image, noise)
    colours = [measure(*Reducer()(BgrImage(one), field)) for one in (image, other)]
    for name in ("bright_level", "white_share", "red_share", "grey_share", "deep_red_share"):
        assert getattr(colours[0], name) == getattr(colours[1], name)
    black = cv2.copyTo(image, mask)
    assert judge_image(black, field) is judge_image(image, field)


def test_shares_are_those_counted_by_hand() -> None:
    """Bands of plain colours give the known shares, and the level of the brightest."""
    small = np.zeros((100, 100, 3), np.uint8)
    small[:20] = 255
    small[20:50] = (60, 60, 200)
    small[50:70] = (10, 10, 150)
    small[70:80] = (120, 120, 120)
    small[80:] = 20
    found = measure(small, np.ones((100, 100), np.uint8))
    assert found.white_share == pytest.approx(0.2)
    assert found.red_share == pytest.approx(50 / 60)
    assert found.grey_share == pytest.approx(10 / 60)
    assert found.deep_red_share == pytest.approx(0.5)
    assert found.bright_level == 255
    half = np.ones((100, 100), np.uint8)
    half[:50] = 0
    assert measure(small, half).bright_level == 150


def test_bright_level_leaves_out_the_brightest() -> None:
    """With values 0 to 99 on one row each, 5 rows reach the level 95."""
    small = np.repeat(np.arange(100, dtype=np.uint8)[:, None, None], 30, axis=1).repeat(3, axis=2)
    assert measure(small, np.ones((100, 30), np.uint8)).bright_level == 95


@given(st.sampled_from([(1, 0), (0, 1)]), st.floats(0.5, 6))
def test_sharpness_is_that_of_scipy(direction: tuple[int, int], sigma: float) -> None:
    """Sharpness is fine over coarse detail along every other row or column, the lower of both, as
    SciPy gives it."""
    image = reduce_rows(BgrImage(MUCOSA), WHOLE.box)
    blurred = ndimage.gaussian_filter1d(image, sigma, axis=direction[0])
    grey = cv2.cvtColor(blurred, cv2.COLOR_BGR2GRAY).astype(np.float64)
    ratios = []
    for axis in (0, 1):
        one, two, four = (
            ndimage.gaussian_filter1d(grey, s, axis=axis, mode="mirror", radius=int(4 * s))
            for s in (1, 2, 4)
        )
        lines = (slice(None), slice(None, None, 2)) if axis == 0 else slice(None, None, 2)
        fine, coarse = np.abs(one - two)[lines], np.abs(two - four)[lines]
        ratios.append(fine.mean() / (coarse.mean() + 0.3))
    found = measure(blurred, np.ones(grey.shape, np.uint8)).sharpness
    assert found == pytest.approx(min(ratios), rel=1e-3)


@pytest.mark.parametrize("size", [(320, 200), (640, 480), (1920, 1080), (3840, 2160)])
def test_size_does_not_matter(size: tuple[int, int]) -> None:
    """An image is clear, and its blurred copy is blurred, at all sizes from 200 rows."""
    field = Field((0, 0, *size), None)
    large = cv2.resize(MUCOSA, size, interpolation=cv2.INTER_AREA)
    assert judge_image(large, field) is Condition.CLEAR
    assert judge_image(cv2.GaussianBlur(large, (0, 0), 0.02 * size[1]), field) is Condition.BLURRED


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 255))
def test_any_small_image_is_judged(width: int, height: int, level: int) -> None:
    """Fields of any small size and any level get a condition, and tiny ones are clear."""
    image = np.full((height, width, 3), level, np.uint8)
    found = judge_image(image, Field((0, 0, width, height), None))
    assert found in Condition
    if min(width, height) < 16:
        assert found is Condition.CLEAR


@given(st.integers(1, 700), st.integers(1, 700))
def test_reduced_has_the_rows_and_proportions(width: int, height: int) -> None:
    """A reduced image has at most ROWS rows, is never larger, and keeps proportions to a column."""
    image = BgrImage(np.zeros((height, width, 3), np.uint8))
    small = reduce_rows(image, (0, 0, width, height))
    assert small.shape[0] == min(height, ROWS)
    assert abs(small.shape[1] - width * small.shape[0] / height) <= 1


@given(st.lists(st.sampled_from(["clear", "blur", "dark"]), max_size=20), st.integers(1, 5))
@settings(max_examples=40)
def test_a_condition_is_reported_once_it_held(kinds: list[str], hold: int) -> None:
    """The judge reports the last condition that was the same on `hold_frames` frames in a row. If
    that was clear and as many in a row were not, it reports the newest."""
    images = {
        "clear": MUCOSA,
        "blur": cv2.GaussianBlur(MUCOSA, (0, 0), 8),
        "dark": np.zeros_like(MUCOSA),
    }
    alone = [judge_image(images[kind]) for kind in kinds]
    judge = QualityJudge(hold_frames=hold)
    wanted = Condition.CLEAR
    for number, kind in enumerate(kinds):
        last = alone[max(0, number + 1 - hold) : number + 1]
        full = len(last) == hold
        fault = wanted is Condition.CLEAR and Condition.CLEAR not in last
        if full and (len(set(last)) == 1 or fault):
            wanted = last[-1]
        assert judge(BgrImage(images[kind]), WHOLE) is wanted


def test_settings_are_the_defaults() -> None:
    """The judge without arguments equals one with the settings' defaults."""
    given_by_settings = QualityJudge(**QualitySettings().model_dump())
    assert (
        vars(given_by_settings).items()
        >= {
            name: value for name, value in vars(QualityJudge()).items() if isinstance(value, float)
        }.items()
    )


def test_the_scene_is_clear() -> None:
    """The synthetic colon is judged clear on at least 95% of its frames."""
    source = SceneSource(SceneSettings(640, 480, frame_count=None))
    finder, judge = FieldFinder(), QualityJudge()
    found = [
        judge.instant(frame.pixels, finder(frame))
        for frame in map(source.frame, range(0, 1500, 30))
    ]
    assert found.count(Condition.CLEAR) >= 0.95 * len(found)


@pytest.mark.data
@pytest.mark.parametrize(("folder", "every"), [("kvasir-seg", 20), ("cvc-clinicdb", 12)])
def test_real_stills_are_clear_until_blurred(data_dir: Path, folder: str, every: int) -> None:
    """Annotated stills are judged clear, and blurred when blurred by 2% of their height."""
    files = sorted((data_dir / folder / "images").glob("*.[jp][pn]g"))[::every]
    judge, clear, blurred = QualityJudge(), [], []
    for image in map(partial(cv2.imread, flags=cv2.IMREAD_COLOR), map(str, files)):
        field = FieldFinder()(Frame(0, 0, Fraction(1, 25), BgrImage(image), 0))
        clear.append(judge.instant(BgrImage(image), field))
        soft = cv2.GaussianBlur(image, (0, 0), 0.02 * image.shape[0])
        soft = soft if field.mask is None else cv2.copyTo(soft, field.mask)
        blurred.append(judge.instant(BgrImage(soft), field))
    assert clear.count(Condition.CLEAR) >= REAL_SHARE * len(clear)
    assert blurred.count(Condition.BLURRED) >= 0.95 * len(blurred)

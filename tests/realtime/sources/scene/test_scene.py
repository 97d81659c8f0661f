import threading
from dataclasses import replace
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest

from qlumen.errors import ConfigError
from qlumen.realtime.pixels.arrays import Mask
from qlumen.realtime.sources.scene.field import FOCAL_PER_HEIGHT, make_field
from qlumen.realtime.sources.scene.render import AHEAD_MM, BEHIND_MM, Renderer
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource
from qlumen.realtime.sources.scene.world import World, make_world

from support import naive_scene as naive

SMALL = SceneSettings(width=192, height=144, seed=5)
RED, RED_OVER_GREEN, GREEN_OVER_BLUE = (125, 180), (1.3, 1.95), (1.0, 1.6)
"""Bounds of means inside the visible field. Measured: CVC-ClinicDB red 125, LDPolypVideo clip 149,
Kvasir-SEG 166, an atlas clip 180; red over green 1.4 to 2.0; green over blue 1.0 to 1.6."""
DARK, BRIGHT = (0.01, 0.26), (0.004, 0.25)
"""Bounds of the shares of the field under 60 and over 245. In the same recordings they are 0.04 to
0.26, and 0.004 to 0.24."""
POLYP_SECOND = 1.6
SPEED_LIMIT_MM_PER_S = 80


@pytest.fixture(scope="module")
def source() -> SceneSource:
    return SceneSource(SMALL)


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(SMALL.seed)


def truth_of(source: SceneSource, index: int) -> Mask:
    truth = source.frame(index).truth
    assert truth is not None
    return truth


def inside_field(width: int, height: int) -> np.ndarray:
    spans = make_field(width, height).spans
    columns = np.arange(width)[None]
    return (columns >= spans[:, :1]) & (columns < spans[:, 1:])


def test_a_frame_depends_on_settings_and_index_alone(source: SceneSource) -> None:
    """A frame has the same bytes in any order, from another source or from another thread."""
    frames = list(islice(source.frames(), 4))
    other = SceneSource(SMALL)
    found = {}
    thread = threading.Thread(target=lambda: found.update({3: source.frame(3)}))
    thread.start()
    for frame in (other.frame(3), other.frame(1)):
        np.testing.assert_array_equal(frame.image, frames[frame.index].image)
        np.testing.assert_array_equal(frame.truth, frames[frame.index].truth)
    thread.join()
    np.testing.assert_array_equal(found[3].image, frames[3].image)


def test_another_seed_is_another_examination(source: SceneSource) -> None:
    """Images and masks of two seeds differ."""
    other = SceneSource(replace(SMALL, seed=6))
    assert (source.frame(0).image != other.frame(0).image).mean() > 0.3
    assert any((truth_of(source, i) != truth_of(other, i)).any() for i in range(0, 60, 20))


def test_truth_is_what_a_ray_caster_sees(world: World) -> None:
    """On a tiny image, a ray through each pixel meets a polyp first exactly where the mask is 1.

    A pixel or two on the outline may differ.
    """
    _, truth = Renderer(world, 24, 20, polyps=True).render(POLYP_SECOND, 0)
    view = world.examination.at(POLYP_SECOND)
    field = make_field(24, 20)
    near = (world.tube.s > view.s - BEHIND_MM) & (world.tube.s < view.s + AHEAD_MM)
    wall = naive.triangles(world.tube.grid[near])
    polyps = np.concatenate([naive.triangles(polyp.grid) for polyp in world.polyps[:2]])
    wrong = 0
    for row, column in np.argwhere(inside_field(24, 20)):
        x = column - field.left - (field.width - 1) / 2
        y = row - field.top - (field.height - 1) / 2
        direction = naive.lens_direction(x, y, FOCAL_PER_HEIGHT * 20) @ view.pose[1:]
        hit = naive.first_hit(view.pose[0], direction, polyps)
        seen = hit < np.inf and hit < naive.first_hit(view.pose[0], direction, wall)
        wrong += int(seen != truth[row, column])
    assert truth.sum() >= 6
    assert wrong <= 2


def test_polyps_are_where_the_same_colon_without_them_differs(source: SceneSource) -> None:
    """Outside the masks the image is that of the colon without polyps; inside it is not."""
    without = SceneSource(replace(SMALL, polyps=False))
    seen = 0
    for index in range(0, 250, 25):
        frame, plain = source.frame(index), without.frame(index)
        assert not truth_of(without, index).any()
        truth = truth_of(source, index)
        change = np.abs(frame.image.astype(int) - plain.image).max(axis=2)
        if truth.sum() > 200:
            seen += 1
            assert np.mean(change[truth == 1] > 6) > 0.5
        assert np.mean(change[truth == 0] > 0) < 0.06
    assert seen >= 3


def test_polyps_come_and_go() -> None:
    """In ten seconds about half of the frames show polyps, the first of them early.

    Most polyps are larger than a hundredth of the frame, and none fills it.
    """
    shares = []
    for seed in range(3):
        source = SceneSource(SceneSettings(width=96, height=54, seed=seed))
        shares.append([float(truth_of(source, i).mean()) for i in range(0, 250, 10)])
    seen = np.array(shares) > 0.003
    assert 0.4 < seen.mean() < 0.75
    assert seen[:, :5].any(axis=1).all()
    assert not seen.all(axis=1).any()
    assert np.median(np.array(shares)[seen]) > 0.01
    assert np.max(shares) < 0.3


def test_an_examination_meets_polyps_of_all_kinds(world: World) -> None:
    """There are flat polyps under 4 mm, heads on stalks over 8 mm, and others between."""
    heights = [float(np.linalg.norm(polyp.tip - polyp.foot)) for polyp in world.polyps]
    assert len(heights) >= 6
    assert min(heights) < 4
    assert max(heights) > 8


def test_truth_and_image_stay_within_the_visible_field(source: SceneSource) -> None:
    """Outside the octagon the frame is black and has no polyp."""
    field = inside_field(SMALL.width, SMALL.height)
    assert 0.5 < field.mean() < 0.9
    for index in range(0, 250, 50):
        frame = source.frame(index)
        assert not truth_of(source, index)[~field].any()
        assert frame.image[~field].max() == 0
        assert frame.image[field].max(axis=1).min() > 0


@pytest.mark.parametrize(
    ("width", "height"), [(1, 1), (2, 3), (5, 90), (90, 5), (33, 17), (64, 48), (641, 361)]
)
def test_any_size_is_rendered(world: World, width: int, height: int) -> None:
    """Tiny, odd and uneven frames have the right shapes, and a field that shows something."""
    image, truth = Renderer(world, width, height, polyps=True).render(0.3, 7)
    assert image.shape == (height, width, 3)
    assert truth.shape == (height, width)
    assert image.dtype == truth.dtype == np.uint8
    assert image.any()
    assert truth.max() <= 1


def test_large_frames_show_the_same_as_small_ones(source: SceneSource, world: World) -> None:
    """A 4K frame that is made smaller looks like the small frame, and so does its mask."""
    image, truth = Renderer(world, 3840, 2880, polyps=True).render(0.8, 20)
    small = source.frame(20)
    reduced = image.reshape(144, 20, 192, 20, 3).mean(axis=(1, 3))
    assert np.abs(reduced - small.image).mean() < 8
    assert truth.mean() == pytest.approx(truth_of(source, 20).mean(), rel=0.1)


def test_colours_are_those_of_real_recordings() -> None:
    """Mean colour, and shares of dark and of overexposed pixels, are in the measured ranges."""
    field = inside_field(SMALL.width, SMALL.height)
    for seed in (0, 5):
        source = SceneSource(replace(SMALL, seed=seed))
        pixels = np.array([source.frame(i).image[field] for i in range(0, 250, 25)])
        blue, green, red = pixels.mean(axis=(0, 1))
        assert RED[0] < red < RED[1]
        assert RED_OVER_GREEN[0] < red / green < RED_OVER_GREEN[1]
        assert GREEN_OVER_BLUE[0] < green / blue < GREEN_OVER_BLUE[1]
        brightest = pixels.max(axis=2)
        assert DARK[0] < np.mean(brightest < 60) < DARK[1]
        assert BRIGHT[0] < np.mean(brightest > 245) < BRIGHT[1]


def test_camera_moves_smoothly(source: SceneSource, world: World) -> None:
    """The tip never jumps and stays in the lumen.

    Frames change less in a frame's time than in a second.
    """
    views = [world.examination.at(k / 25) for k in range(0, 2000)]
    eyes = np.array([view.pose[0] for view in views])
    assert np.linalg.norm(np.diff(eyes, axis=0), axis=1).max() * 25 < SPEED_LIMIT_MM_PER_S
    forward = np.array([view.pose[3] for view in views])
    assert (forward[1:] * forward[:-1]).sum(axis=1).min() > np.cos(0.2)
    a, b, c = (source.frame(i).image.astype(int) for i in (40, 41, 65))
    assert 0 < np.abs(a - b).mean() < 0.6 * np.abs(a - c).mean()


def test_camera_axes_are_a_turned_frame(world: World) -> None:
    """Right, down and forward are unit vectors at right angles, right-handed."""
    for second in (0.0, 3.3, 40.0, 1e4):
        axes = world.examination.at(second).pose[1:]
        np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(axes) == pytest.approx(1)


def test_the_rate_does_not_change_the_examination(source: SceneSource) -> None:
    """A moment shows the same at 25 and at 50 frames a second."""
    fast = SceneSource(replace(SMALL, fps=Fraction(50)))
    np.testing.assert_array_equal(truth_of(source, 20), truth_of(fast, 40))


def test_time_stamps_count_in_frames() -> None:
    """`pts` is the index and the time base is one frame, for any rate; the length is kept."""
    settings = SceneSettings(width=16, height=16, fps=Fraction(30000, 1001), frame_count=3)
    source = SceneSource(settings)
    frames = list(source.frames())
    assert [frame.pts for frame in frames] == [0, 1, 2]
    assert frames[2].pts * frames[2].time_base == Fraction(2002, 30000)
    assert source.info.fps == settings.fps
    assert source.info.frame_count == 3


def test_an_endless_scene_goes_on() -> None:
    """Without a count there are frames after any number, and none is black."""
    source = SceneSource(replace(SMALL, frame_count=None))
    assert source.info.frame_count is None
    assert len(list(islice(source.frames(), 12))) == 12
    assert source.frame(1_000_000).image.mean() > 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 0}, "width is 0"),
        ({"height": -1}, "height is -1"),
        ({"fps": Fraction(0)}, "rate is 0"),
        ({"frame_count": 0}, "0 frames"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_bad_settings_are_refused(change: dict[str, object], message: str) -> None:
    """The line names the setting's value and what it needs."""
    with pytest.raises(ConfigError, match=message):
        SceneSource(replace(SMALL, **change))

import threading
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.sources.choose import open_source
from qlumen.realtime.sources.scene.field import FOCAL_PER_HEIGHT, make_field
from qlumen.realtime.sources.scene.instruments import CHANNEL_MM, KINDS, Instrument, sweep
from qlumen.realtime.sources.scene.obstacles import Obstacles
from qlumen.realtime.sources.scene.render import AHEAD_MM, BEHIND_MM, Renderer
from qlumen.realtime.sources.scene.residue import STOOL
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource
from qlumen.realtime.sources.scene.visits import (
    CAP,
    HABITS,
    INSTRUMENT,
    LENS_BUBBLES,
    LIGHT,
    WASH,
    Habit,
    find_visit,
)
from qlumen.realtime.sources.scene.world import make_world

from support import naive_scene as naive

SMALL = SceneSettings(width=128, height=96, seed=3, obstacles=True)
STOOL_GREEN, STOOL_BLUE = (0.60, 0.80), (0.25, 0.48)
"""Bounds of the median green and blue of stool over its red. Measured in frames of Nerthus: green
0.64 to 0.73, blue 0.31 to 0.43."""
TWO_POLYPS_AND_AN_INSTRUMENT = 88.5
"""A second of seed 3 with nothing on the lens."""


@pytest.fixture(scope="module")
def source() -> SceneSource:
    return SceneSource(SMALL)


def seconds_without(*habits: Habit) -> list[int]:
    """Return whole seconds of the small scene at which none of the habits has a visit."""
    times = range(180)
    return [t for t in times if not any(find_visit(SMALL.seed, habit, t) for habit in habits)]


def test_a_frame_depends_on_settings_and_index_alone(source: SceneSource) -> None:
    """A frame has the same bytes in any order, from another source or from another thread."""
    indices = [40, 2212, 90, 700]
    frames = {index: source.frame(index) for index in indices}
    other = SceneSource(SMALL)
    found = {}
    thread = threading.Thread(
        target=lambda: found.update({i: other.frame(i) for i in reversed(indices)})
    )
    thread.start()
    thread.join()
    for index in indices:
        np.testing.assert_array_equal(found[index].image, frames[index].image)
        np.testing.assert_array_equal(found[index].truth, frames[index].truth)


def test_truth_and_labels_are_what_a_ray_caster_sees() -> None:
    """A ray through each pixel meets a polyp before wall, residue and instrument where the mask is
    1, and the label is that polyp's number. Some pixels on outlines may differ."""
    world = make_world(3)
    second, shape = TWO_POLYPS_AND_AN_INSTRUMENT, (30, 36)
    assert find_visit(3, INSTRUMENT, second)
    assert not any(find_visit(3, habit, second) for habit in HABITS if habit != INSTRUMENT)
    obstacles = Obstacles(3, world.tube)
    renderer = Renderer(world, shape[1], shape[0], polyps=True, obstacles=obstacles)
    _, truth = renderer.render(second, 0)
    labels = renderer.render_labels(second)
    plain = Renderer(world, shape[1], shape[0], polyps=True).render_labels(second)
    view, field = world.examination.at(second), make_field(shape[1], shape[0])
    near = (world.tube.s > view.s - BEHIND_MM) & (world.tube.s < view.s + AHEAD_MM)
    instrument = obstacles._instrument(second)
    assert instrument is not None
    pose = instrument.pose()
    parts = [(naive.triangles(g) - pose[0]) @ pose[1:].T for g, _ in instrument.parts()]
    things = [naive.triangles(world.tube.grid[near])]
    things += [p @ view.pose[1:] + view.pose[0] for p in parts]
    things += [
        naive.triangles(m.grid) for m in obstacles._residue if -BEHIND_MM < m.s - view.s < 80
    ]
    polyps = {k: naive.triangles(world.polyps[k - 1].grid) for k in np.unique(plain) if k > 0}
    assert len(polyps) == 2
    wrong = 0
    for row, column in np.argwhere((plain > 0) | (labels > 0)):
        x = column - field.left - (field.width - 1) / 2
        y = row - field.top - (field.height - 1) / 2
        direction = naive.lens_direction(x, y, FOCAL_PER_HEIGHT * shape[0]) @ view.pose[1:]
        hits = {k: naive.first_hit(view.pose[0], direction, polyps[k]) for k in polyps}
        first = min(hits, key=lambda k: hits[k])
        block = min(naive.first_hit(view.pose[0], direction, thing) for thing in things)
        wanted = first if hits[first] < block else 0
        wrong += int(wanted != labels[row, column])
    assert set(np.unique(labels)) == {0, *polyps}
    assert truth.sum() < 0.9 * (plain > 0).sum()
    assert wrong <= 2


@pytest.mark.parametrize("obstacles", [False, True])
@pytest.mark.parametrize("seed", [0, 3])
def test_labels_cover_exactly_the_truth(obstacles: bool, seed: int) -> None:
    """A label is above 0 exactly where the mask is 1, and numbers are those of the colon."""
    source = SceneSource(replace(SMALL, seed=seed, obstacles=obstacles))
    seen: set[int] = set()
    for index in range(0, 1500, 75):
        labels = source.labels(index)
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels > 0, source.frame(index).truth)
        seen |= set(np.unique(labels)) - {0}
    assert len(seen) >= 4
    assert max(seen) <= len(make_world(seed).polyps)


def test_labels_follow_the_order_along_the_colon() -> None:
    """The pixels of number k lie around the direction of the k-th polyp along the colon, also in a
    colon whose polyps were made in another order."""
    world = make_world(10)
    ranks = sorted(world.polyps, key=lambda polyp: polyp.s)
    assert ranks != world.polyps
    renderer, field = Renderer(world, 120, 96, polyps=True), make_field(120, 96)
    middle = field.left + (field.width - 1) / 2, field.top + (field.height - 1) / 2
    seen = set()
    for second in range(20):
        labels, view = renderer.render_labels(second), world.examination.at(second)
        for number in set(np.unique(labels)) - {0}:
            row, column = np.argwhere(labels == number).mean(axis=0)
            x, y = column - middle[0], row - middle[1]
            ray = naive.lens_direction(x, y, FOCAL_PER_HEIGHT * 96) @ view.pose[1:]
            ways = [polyp.tip - view.pose[0] for polyp in ranks]
            cosines = [float(way @ ray) / np.linalg.norm(way) for way in ways]
            seen.add(number)
            assert cosines[number - 1] > 0.9
            ahead = [k for k, polyp in enumerate(ranks) if abs(polyp.s - view.s) < 60]
            if number - 1 in ahead and (labels == number).sum() > 60:
                assert max(ahead, key=lambda k: cosines[k]) == number - 1
    assert {1, 2} <= seen


def test_obstacles_only_take_from_the_mask(source: SceneSource) -> None:
    """Without a wash, which bends the view, and with no change of light, the mask is part of the
    mask of the same colon without obstacles; at times it is clearly smaller."""
    world = make_world(SMALL.seed)
    plain = Renderer(world, SMALL.width, SMALL.height, polyps=True)
    hidden = []
    for second in seconds_without(WASH, LIGHT)[::2]:
        truth, whole = source.frame(second * 25).truth, plain.render(second, 0)[1]
        assert truth is not None
        assert not (truth > whole).any()
        if whole.sum() > 100:
            hidden.append(1 - truth.sum() / whole.sum())
    assert len(hidden) > 5
    assert max(hidden) > 0.1


def test_stool_has_the_colour_of_real_recordings() -> None:
    """Where only stool differs from the clean colon, red, green and blue are those of Nerthus."""
    world = make_world(SMALL.seed)
    obstacles = Obstacles(SMALL.seed, world.tube)
    obstacles._foam = obstacles._foam[:0]
    obstacles._residue = [m for m in obstacles._residue if m.kind == STOOL]
    soiled = Renderer(world, 128, 96, polyps=False, obstacles=obstacles)
    clean = Renderer(world, 128, 96, polyps=False)
    pixels = []
    for second in seconds_without(*HABITS):
        image, plain = soiled.render(second, 0)[0], clean.render(second, 0)[0]
        changed = np.abs(image.astype(int) - plain).max(axis=2) > 25
        pixels.append(image[changed & (image[..., 2] > 60)])
    blue, green, red = np.concatenate(pixels).astype(float).T
    assert len(red) > 2000
    assert STOOL_GREEN[0] < np.median(green / red) < STOOL_GREEN[1]
    assert STOOL_BLUE[0] < np.median(blue / red) < STOOL_BLUE[1]


def test_everything_comes_and_goes() -> None:
    """In ten minutes each habit has visits for some of the time, and pauses."""
    for habit in HABITS:
        here = [find_visit(SMALL.seed, habit, k / 2) is not None for k in range(1200)]
        assert 0.05 < np.mean(here) < 0.8


@given(st.integers(0, 2**32), st.sampled_from(HABITS), st.floats(0, 1e5))
def test_a_visit_is_the_same_at_each_of_its_moments(seed: int, habit: Habit, second: float) -> None:
    """A visit lasts as its habit says, and another moment finds the same random numbers."""
    visit = find_visit(seed, habit, second)
    if visit is None:
        return
    lasts = visit.age_s + visit.left_s
    assert habit.lasts_s[0] - 1e-6 < lasts < habit.lasts_s[1] + 1e-6
    middle = find_visit(seed, habit, second - visit.age_s + lasts / 2)
    assert middle is not None
    assert middle.age_s == pytest.approx(lasts / 2)
    assert middle.rng.random() == visit.rng.random()
    assert visit.share(0.5) <= middle.share(0.5) == 1


def test_obstacles_move_smoothly(source: SceneSource) -> None:
    """With an instrument, a cap or bubbles in view, a frame is nearer to the next than to the one a
    second later."""
    for habit in (INSTRUMENT, CAP, LENS_BUBBLES):
        second = next(
            t
            for t in seconds_without(WASH, LIGHT)
            if find_visit(SMALL.seed, habit, t)
            and not any(find_visit(SMALL.seed, h, t + 1) for h in (WASH, LIGHT))
        )
        index = second * 25
        a, b, c = (source.frame(i).image.astype(int) for i in (index, index + 1, index + 25))
        assert np.abs(a - b).mean() < 0.7 * np.abs(a - c).mean()


def test_narrow_band_light_takes_the_red_away(source: SceneSource) -> None:
    """In narrow-band light the image has less red over green than in white light."""
    times = [t for t in range(300) if find_visit(SMALL.seed, LIGHT, t)]
    ratios = []
    for second in times:
        _, green, red = source.frame(25 * second).image.mean(axis=(0, 1))
        ratios.append(red / green)
    assert min(ratios) < 1.3 < max(ratios)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (2, 3), (5, 60), (60, 5), (33, 17)])
def test_any_size_is_rendered(width: int, height: int) -> None:
    """Tiny, odd and uneven frames have the right shapes while each thing is in the way."""
    world = make_world(SMALL.seed)
    obstacles = Obstacles(SMALL.seed, world.tube)
    renderer = Renderer(world, width, height, polyps=True, obstacles=obstacles)
    spans = make_field(width, height).spans
    for habit in HABITS:
        second = next(k / 4 for k in range(900) if find_visit(SMALL.seed, habit, k / 4 + 0.3))
        image, truth = renderer.render(second + 0.3, 3)
        assert image.shape == (height, width, 3)
        assert truth.shape == renderer.render_labels(second).shape == (height, width)
        for row in range(height):
            assert not image[row, : spans[row, 0]].any()


@given(
    st.sampled_from(KINDS), st.sampled_from([-1, 1]), st.floats(2, 30),
    st.tuples(st.floats(0, 1), st.floats(0, 6), st.floats(-0.1, 0.1), st.floats(-0.1, 0.1)),
)  # fmt: skip
def test_an_instrument_comes_from_a_lower_corner(
    kind: str, side: int, out_mm: float, shape: tuple[float, float, float, float]
) -> None:
    """Its axes are at right angles, its tip lies at its reach from the channel, and its shaft goes
    through the channel's mouth, below the lens and at its side."""
    opening, turn, *tilt = shape
    pose = Instrument(kind, side, out_mm, opening, turn, (tilt[0], tilt[1])).pose()
    np.testing.assert_allclose(pose[1:] @ pose[1:].T, np.eye(3), atol=1e-9)
    tip, mouth = ((np.array([0, 0, z]) - pose[0]) @ pose[1:].T for z in (0.0, -out_mm))
    np.testing.assert_allclose(mouth, [side * CHANNEL_MM[0], CHANNEL_MM[1], 0], atol=1e-9)
    assert np.linalg.norm(tip - mouth) == pytest.approx(out_mm)
    assert tip[2] > 0.97 * out_mm


@given(st.integers(0, 2**32), st.integers(6, 30))
def test_a_sweep_is_a_round_tube_that_faces_outwards(seed: int, count: int) -> None:
    """Each ring lies at its radius around the path, and the normals point away from it."""
    rng = np.random.default_rng(seed)
    path = np.cumsum(rng.uniform(0.4, 0.6, (count, 3)) * [0.3, 0.1, 1], axis=0)
    radius = np.full(count, rng.uniform(0.2, 1.0))
    grid = sweep(path, radius)
    away = grid[..., :3] - path[:, None]
    np.testing.assert_allclose(np.linalg.norm(away, axis=-1), radius[0], rtol=1e-4)
    assert ((away * grid[..., 3:6]).sum(axis=-1) > 0.8 * radius[0]).all()


def test_a_setting_turns_obstacles_on() -> None:
    """`--set scene.obstacles=true` reaches the source; by default there are none."""
    size = ["scene.width=32", "scene.height=24"]
    counts = Counter[bool]()
    for more in ([], ["scene.obstacles=true"]):
        source = open_source("scene", load_settings(None, size + more))
        assert isinstance(source, SceneSource)
        counts[source.settings.obstacles] += 1
    assert counts == {False: 1, True: 1}

import threading
from dataclasses import replace
from fractions import Fraction
from itertools import islice

import numpy as np
import pytest

from qlumen.realtime.errors import ConfigError
from qlumen.realtime.sources.scene import SceneSettings, SceneSource, visible_field

SMALL = SceneSettings(width=320, height=240, seed=5)
COLONOSCOPY_RED_OVER_GREEN = (1.25, 2.3)
"""Mean of red over green inside the field: 1.3 in the LDPolypVideo clip, 1.5 over the first
hundred Kvasir-SEG images, up to 2.2 in single ones."""


def test_a_frame_depends_on_settings_and_index_alone() -> None:
    """In order, at random, from another source or another thread: the same bytes."""
    first, second = SceneSource(SMALL), SceneSource(SMALL)
    frames = list(islice(first.frames(), 4))
    others = {}
    thread = threading.Thread(target=lambda: others.update({3: second.frame(3)}))
    thread.start()
    thread.join()
    for frame in (second.frame(1), others[3]):
        np.testing.assert_array_equal(frame.image, frames[frame.index].image)
        np.testing.assert_array_equal(frame.truth, frames[frame.index].truth)


def test_polyps_are_where_the_same_colon_without_them_differs() -> None:
    """Far from the mask the picture is that of the colon without polyps; inside it is not."""
    with_them, without = SceneSource(SMALL), SceneSource(replace(SMALL, polyps=False))
    seen = 0
    for index in range(0, 250, 10):
        a, b = with_them.frame(index), without.frame(index)
        assert b.truth is not None
        assert a.truth is not None
        assert not b.truth.any()
        if a.truth.sum() < 100:
            continue
        seen += 1
        change = np.abs(a.image.astype(int) - b.image).max(axis=2)
        inside, outside = change[a.truth == 1], change[a.truth == 0]
        assert np.mean(inside > 6) > 0.5
        assert np.mean(outside > 6) < 0.25
    assert seen >= 5


def test_polyps_come_and_go() -> None:
    """In ten seconds some frames show polyps and some hardly any; the first comes early."""
    for seed in range(4):
        source = SceneSource(replace(SMALL, seed=seed))
        shares = [float(np.mean(source.frame(i).truth)) for i in range(0, 250, 5)]
        visible = np.array(shares) > 0.003
        assert 0.25 < visible.mean() <= 1
        assert visible[:20].any()
        assert max(shares) < 0.5


def test_truth_lies_within_the_visible_field() -> None:
    """Nothing outside the octagon is picture or polyp."""
    source = SceneSource(SMALL)
    field = visible_field(320, 240)
    for index in range(0, 250, 50):
        frame = source.frame(index)
        assert frame.truth is not None
        assert not (frame.truth & (field < 128)).any()
        assert frame.image[field == 0].max() == 0


@pytest.mark.parametrize(
    ("width", "height"), [(1, 1), (2, 3), (33, 17), (64, 48), (641, 361), (1921, 1081)]
)
def test_any_size_is_rendered(width: int, height: int) -> None:
    """Tiny, odd and large frames have the stated shapes."""
    frame = SceneSource(SceneSettings(width=width, height=height)).frame(7)
    assert frame.image.shape == (height, width, 3)
    assert frame.image.dtype == np.uint8
    assert frame.truth is not None
    assert frame.truth.shape == (height, width)


def test_colours_are_those_of_mucosa() -> None:
    """Red before green before blue, neither black nor burnt out, as in real recordings."""
    source = SceneSource(SMALL)
    field = visible_field(320, 240) == 255
    means = np.array([source.frame(i).image[field].mean(axis=0) for i in range(0, 250, 25)])
    blue, green, red = means.mean(axis=0)
    low, high = COLONOSCOPY_RED_OVER_GREEN
    assert low < red / green < high
    assert blue < green
    assert 60 < red < 200


def test_camera_moves_smoothly() -> None:
    """Neighbouring frames differ, by less than frames a second apart."""
    source = SceneSource(SMALL)
    a, b, c = (source.frame(i).image.astype(int) for i in (40, 41, 65))
    assert 0 < np.abs(a - b).mean() < 0.6 * np.abs(a - c).mean()


def test_time_stamps_count_in_frames() -> None:
    """pts is the index and the time base one frame, for any rate; the length is kept."""
    settings = SceneSettings(width=16, height=16, fps=Fraction(30000, 1001), frame_count=3)
    frames = list(SceneSource(settings).frames())
    assert [frame.pts for frame in frames] == [0, 1, 2]
    assert frames[2].pts * frames[2].time_base == Fraction(2002, 30000)


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
    """The line names what was given and what is wanted."""
    with pytest.raises(ConfigError, match=message):
        SceneSource(replace(SMALL, **change))

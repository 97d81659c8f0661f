from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import pytest

from qlumen.errors import SourceError
from qlumen.realtime.profiling.endless_source import EndlessSource
from qlumen.realtime.sources.ffmpeg.container import ContainerSource

from support.media import cut, pictures, write_video

FPS = 50


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("clip") / "c.mp4", pictures(7))


@pytest.fixture
def playing(clip: Path) -> Iterator[EndlessSource]:
    with EndlessSource(lambda: ContainerSource(str(clip))) as playing:
        yield playing


def test_it_has_no_end_and_loses_no_frame(playing: EndlessSource) -> None:
    """Three rounds come with indices that count on, and the pictures of each round."""
    frames = list(islice(playing.frames(), 21))
    assert [frame.index for frame in frames] == list(range(21))
    for first, again in zip(frames[:7], frames[14:], strict=True):
        assert (first.image == again.image).all()
    assert not (frames[0].image == frames[1].image).all()


def test_a_further_reader_goes_on_where_the_first_left_it(playing: EndlessSource) -> None:
    """So that several runs share one source."""
    assert [frame.index for frame in islice(playing.frames(), 3)] == [0, 1, 2]
    assert [frame.index for frame in islice(playing.frames(), 3)] == [3, 4, 5]


def test_no_frame_comes_before_it_is_due(playing: EndlessSource) -> None:
    """At a rate, times are evenly apart, whenever the frames are taken."""
    playing.pace(FPS)
    for frame in islice(playing.frames(), 8):
        due_ns = playing.due_ns(frame.index)
        assert due_ns is not None
        assert frame.grabbed_ns >= due_ns or frame.index % 7 == 0  # decoded when it was opened
        assert due_ns - (playing.due_ns(0) or 0) == frame.index * round(1e9 / FPS)


def test_without_a_rate_nothing_is_due(playing: EndlessSource) -> None:
    """Frames then come as fast as they are taken."""
    assert playing.due_ns(0) is None
    playing.pace(Fraction(10))
    assert playing.due_ns(3) is not None
    playing.pace(None)
    assert playing.due_ns(3) is None


def test_a_cut_recording_is_played_as_far_as_it_goes(tmp_path: Path) -> None:
    """Its end begins anew instead of ending the profile."""
    path = write_video(tmp_path / "cut.ts", pictures(30))
    cut(path, 0.6)
    with EndlessSource(lambda: ContainerSource(str(path))) as playing:
        assert len(list(islice(playing.frames(), 60))) == 60


def test_a_source_that_is_gone_in_a_later_round_is_told(tmp_path: Path) -> None:
    """The reader gets the source's own error."""
    path = write_video(tmp_path / "gone.mp4", pictures(5))
    with EndlessSource(lambda: ContainerSource(str(path))) as playing:
        path.unlink()
        with pytest.raises(SourceError):
            list(islice(playing.frames(), 11))

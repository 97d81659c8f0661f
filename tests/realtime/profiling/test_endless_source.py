from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import pytest

from qlumen.errors import SourceError
from qlumen.realtime.profiling.endless_source import EndlessSource
from qlumen.realtime.sources.ffmpeg.container import ContainerSource

from support.media import cut, make_images, write_video

FPS = 50


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("clip") / "c.mp4", make_images(7))


@pytest.fixture
def playing(clip: Path) -> Iterator[EndlessSource]:
    with EndlessSource(lambda: ContainerSource(str(clip))) as playing:
        yield playing


def test_it_has_no_end_and_loses_no_frame(playing: EndlessSource) -> None:
    """Three rounds come with indices that count on, and with the images of each round."""
    frames = list(islice(playing.frames(), 21))
    assert [frame.index for frame in frames] == list(range(21))
    for first, again in zip(frames[:7], frames[14:], strict=True):
        assert (first.image == again.image).all()
    assert not (frames[0].image == frames[1].image).all()


def test_a_second_reader_continues_where_the_first_ended(playing: EndlessSource) -> None:
    """Several runs can share one source."""
    assert [frame.index for frame in islice(playing.frames(), 3)] == [0, 1, 2]
    assert [frame.index for frame in islice(playing.frames(), 3)] == [3, 4, 5]


def test_no_frame_comes_before_it_is_due(playing: EndlessSource) -> None:
    """Due times have equal distances, whenever the frames are taken."""
    playing.pace(FPS)
    for frame in islice(playing.frames(), 8):
        due_ns = playing.due_ns(frame.index)
        assert due_ns is not None
        assert frame.grabbed_ns >= due_ns or frame.index % 7 == 0  # decoded by the opening
        assert due_ns - (playing.due_ns(0) or 0) == frame.index * round(1e9 / FPS)


def test_without_a_rate_nothing_is_due(playing: EndlessSource) -> None:
    """Frames come as fast as they are taken."""
    assert playing.due_ns(0) is None
    playing.pace(Fraction(10))
    assert playing.due_ns(3) is not None
    playing.pace(None)
    assert playing.due_ns(3) is None


def test_a_cut_recording_is_played_as_far_as_it_goes(tmp_path: Path) -> None:
    """It starts again at its end, and the profile goes on."""
    path = write_video(tmp_path / "cut.ts", make_images(30))
    cut(path, 0.6)
    with EndlessSource(lambda: ContainerSource(str(path))) as playing:
        assert len(list(islice(playing.frames(), 60))) == 60


def test_a_source_that_is_missing_in_a_later_round_is_an_error(tmp_path: Path) -> None:
    """The reader gets the source's own error."""
    path = write_video(tmp_path / "gone.mp4", make_images(5))
    with EndlessSource(lambda: ContainerSource(str(path))) as playing:
        path.unlink()
        with pytest.raises(SourceError):
            list(islice(playing.frames(), 11))

"""Recordings and synthetic frames play at their own rate."""

import signal
import threading
import time
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from qlumen.errors import SourceNotFoundError, TruncatedError, UsageError
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.frames import Frame
from qlumen.realtime.pixels.base import Pixels
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.pixels.planes import Planes
from qlumen.realtime.sources.base import LiveSource, SignalLost, StopFlag
from qlumen.realtime.sources.choose import open_live_source, open_source
from qlumen.realtime.sources.pattern import read_number

from support.media import cut, damage_packets, make_images, start_python, write_image, write_video
from support.senders import STEP_US, pattern_clip


def live(location: str | Path, *settings: str) -> LiveSource:
    return open_live_source(str(location), load_settings(None, settings))


def frames(source: LiveSource, limit: int | None = None) -> list[Frame]:
    """Return up to `limit` frames; a played source loses no signal."""
    arrivals = list(islice(source.arrivals(), limit))
    assert not any(isinstance(arrival, SignalLost) for arrival in arrivals)
    return [arrival for arrival in arrivals if isinstance(arrival, Frame)]


def test_file_is_played_as_replay_reads_it(tmp_path: Path) -> None:
    """Every frame comes, to the byte, with the distances in time that the file has."""
    path = write_video(
        tmp_path / "a.mkv", make_images(8), pts=[0, 40, 80, 200, 210, 300, 340, 380],
        time_base=Fraction(1, 1000),
    )  # fmt: skip
    with live(path) as source, open_source(str(path), load_settings()) as replayed:
        played, expected = frames(source), list(replayed.frames())
    assert [f.index for f in played] == list(range(8))
    for ours, theirs in zip(played, expected, strict=True):
        np.testing.assert_array_equal(ours.image, theirs.image)
        assert ours.pts * ours.time_base == theirs.pts * theirs.time_base


@pytest.mark.parametrize(("colour", "form"), [((1, 1), Planes), ((5, 1), BgrImage)])
def test_the_network_sees_live_what_a_replay_gives_it(
    tmp_path: Path, colour: tuple[int, int], form: type[Pixels]
) -> None:
    """Frames keep their form, so live and replay resize the same samples, equal to the byte."""
    path = write_video(tmp_path / "a.mp4", make_images(4, 96, 64), colour=colour)
    with live(path) as source, open_source(str(path), load_settings()) as replayed:
        played, expected = frames(source), list(replayed.frames())
    assert len(played) == len(expected) == 4
    for ours, theirs in zip(played, expected, strict=True):
        assert type(ours.pixels) is type(theirs.pixels) is form
        network_input = [f.pixels.resize((352, 352)) for f in (ours, theirs)]
        np.testing.assert_array_equal(*network_input)
        np.testing.assert_array_equal(ours.pixels.bgr(), theirs.pixels.bgr())


def test_no_frame_comes_before_its_time(tmp_path: Path) -> None:
    """Frames wait for their time stamps; `grabbed_ns` is the time when they came."""
    path = write_video(tmp_path / "a.mp4", make_images(15))
    with live(path) as source:
        played = frames(source)
    start_ns = played[0].grabbed_ns
    assert all(f.grabbed_ns - start_ns >= f.index * 40_000_000 for f in played)


def test_a_sleep_ends_in_time_among_signals() -> None:
    """Signals that come as the time runs out neither end it early nor keep it for good."""
    before = signal.signal(signal.SIGALRM, lambda number, frame: None)
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
    try:
        begun = time.monotonic()
        flag = StopFlag()
        for _ in range(1000):
            assert not flag.wait(0.0003)
        assert 0.3 <= time.monotonic() - begun < 30
        flag.set()
        assert flag.wait(60)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_loop_goes_on_in_time(tmp_path: Path) -> None:
    """After the last frame the first one follows a frame's time later, without an end."""
    path = pattern_clip(tmp_path / "a.mp4", frames=5)
    with live(path, "source.loop=true") as source:
        played = frames(source, 17)
    assert [read_number(f.image) for f in played] == [i % 5 for i in range(17)]
    assert [f.index for f in played] == list(range(17))
    assert [f.pts for f in played] == [i * STEP_US for i in range(17)]


def test_file_that_vanishes_ends_the_loop_with_an_error(tmp_path: Path) -> None:
    """When a file cannot be opened for another round, the frames end with the reason."""
    path = write_video(tmp_path / "a.mp4", make_images(4))
    with live(path, "source.loop=true") as source:
        arrivals = source.arrivals()
        assert len(list(islice(arrivals, 4))) == 4
        path.unlink()
        with pytest.raises(SourceNotFoundError):
            list(islice(arrivals, 12))


def test_drops_add_up_over_rounds(tmp_path: Path) -> None:
    """A file with packets that cannot be decoded counts them in each round."""
    whole = write_video(tmp_path / "a.mkv", make_images(12), options={"g": "6"})
    damaged = damage_packets(whole, tmp_path / "b.mkv", {3})
    with live(damaged) as source:
        count = len(frames(source))
        once = source.drops["decode_error"]
    with live(damaged, "source.loop=true") as source:
        frames(source, 3 * count)
        assert once > 0
        assert source.drops["decode_error"] == 3 * once


def test_file_cut_short_says_so_after_its_last_frame(tmp_path: Path) -> None:
    """The readable part is played; then comes the error, as in a replay."""
    path = cut(write_video(tmp_path / "a.mkv", make_images(30)), 0.6)
    played: list[Frame | SignalLost] = []
    with live(path) as source, pytest.raises(TruncatedError):
        played.extend(source.arrivals())
    assert 0 < len(played) < 30
    with live(path, "source.loop=true") as source:
        assert len(frames(source, 40)) == 40


def test_slow_source_loses_no_frame_but_counts() -> None:
    """At a rate that is too high frames are late, and none is left out."""
    with live("pattern", "pattern.fps=1000") as source:
        played = frames(source, 20)
        assert source.late > 0
        assert not source.drops
    assert [read_number(f.image) for f in played] == list(range(20))


def test_scene_keeps_its_truth_and_ends() -> None:
    """The scene's masks come with the frames, and it ends after its last frame or loops."""
    small = ("scene.width=96", "scene.height=64", "scene.frames=3")
    with live("scene", *small) as source:
        played = frames(source)
    assert len(played) == 3
    assert all(f.truth is not None and f.truth.shape == (64, 96) for f in played)
    with live("scene", *small, "source.loop=true") as source:
        assert len(frames(source, 5)) == 5


def test_folder_is_played_if_it_is_a_sequence(tmp_path: Path) -> None:
    """Images of a sequence are played; single images are refused in one line."""
    for index, image in enumerate(make_images(4)):
        write_image(tmp_path / f"{index}.png", image)
    with pytest.raises(UsageError, match=r"source\.sequence=true"):
        live(tmp_path)
    with live(tmp_path, "source.sequence=true", "source.fps=50") as source:
        assert [f.pts for f in frames(source)] == [0, 20_000, 40_000, 60_000]


@pytest.mark.parametrize(
    ("location", "error"), [("", UsageError), ("absent.mp4", SourceNotFoundError)]
)
def test_what_cannot_be_opened_is_named(location: str, error: type[Exception]) -> None:
    """A missing file or name is an error before anything starts."""
    with pytest.raises(error):
        live(location)


def slow_clip(tmp_path: Path) -> Path:
    """Write two frames, nine seconds apart."""
    return write_video(tmp_path / "a.mkv", make_images(2), pts=[0, 9], time_base=Fraction(1))


def test_stop_ends_a_wait(tmp_path: Path) -> None:
    """A source that waits for a frame's time ends immediately when it is stopped."""
    with live(slow_clip(tmp_path)) as source:
        arrivals = source.arrivals()
        next(arrivals)
        threading.Timer(0.2, source.stop).start()
        started = time.monotonic()
        assert list(arrivals) == []
        assert time.monotonic() - started < 8


STOPPED_BY_SIGNAL = """
import signal, sys
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.pixels.base import Pixels
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.pixels.planes import Planes
from qlumen.realtime.sources.choose import open_live_source
with open_live_source(sys.argv[1], load_settings()) as source:
    signal.signal(signal.SIGINT, lambda number, frame: source.stop())
    for frame in source.arrivals():
        print(frame.index, flush=True)
"""


def test_stop_in_a_signal_handler(tmp_path: Path) -> None:
    """Ctrl-C that calls `stop` in the waiting thread ends the source without an error."""
    process = start_python(STOPPED_BY_SIGNAL, slow_clip(tmp_path))
    assert process.stdout is not None
    assert process.stdout.readline() == "0\n"
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output, errors) == (0, "", "")

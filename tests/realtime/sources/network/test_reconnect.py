"""Streams may break off, stall, be damaged or change, and sources can be stopped meanwhile."""

import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

from qlumen.realtime.frames import Frame
from qlumen.realtime.sources.base import LiveSource
from qlumen.realtime.sources.pattern import read_number
from qlumen.system.locations import without_secrets

from support.receiving import (
    CLIP_FRAMES,
    KINDS,
    Arrivals,
    Kind,
    arrivals_of,
    assert_each_frame_once,
    frames,
    live,
    udp,
    until_frame,
    until_lost,
)
from support.senders import LOOPBACK, DamagingRelay, ffmpeg_sender, needs_ffmpeg, pattern_clip

QUICK = (
    "reconnect.stall_s=1",
    "reconnect.first_s=0.1",
    "reconnect.max_s=0.4",
    "reconnect.open_s=2",
)
PATIENT = ("reconnect.stall_s=60", "reconnect.open_s=60", "reconnect.first_s=60")
"""Long times, so that only a stop can end the wait."""

pytestmark = needs_ffmpeg


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pattern_clip(tmp_path_factory.mktemp("clip") / "a.mp4", CLIP_FRAMES)


@pytest.mark.parametrize("kind", KINDS)
def test_sender_killed_and_started_again(kind: Kind, clip: Path) -> None:
    """The loss is reported, attempts follow, then frames again; index and time go on."""
    sender, url = kind(clip)
    with sender, arrivals_of(live(url, *QUICK)) as arrivals:
        opening = frames(arrivals, 10)
        sender.kill()
        before, lost = until_lost(arrivals)
        first, last = opening[0], [*opening, *before][-1]
        failed = [next(arrivals)]
        sender.start()
        losses, again = until_frame(arrivals)
        following = [again, *frames(arrivals, 5)]
    assert lost.attempt == 0
    assert lost.reason.startswith(without_secrets(url))
    assert [loss.attempt for loss in (*failed, *losses)] == list(range(1, len(losses) + 2))
    assert all(loss.retry_in_s <= 0.4 * 1.2 for loss in (lost, *losses))
    assert again.index == last.index + 1
    # The clock starts again at the arrival, measured from the first frame's arrival.
    assert again.pts == (again.grabbed_ns - first.grabbed_ns) // 1000
    assert_each_frame_once(following)


@pytest.mark.parametrize("kind", KINDS)
def test_a_silent_sender_is_noticed(kind: Kind, clip: Path) -> None:
    """A sender that pauses with an open connection counts as lost after `stall_s`."""
    sender, url = kind(clip)
    with sender, arrivals_of(live(url, *QUICK)) as arrivals:
        first = frames(arrivals, 10)
        sender.pause()
        before, lost = until_lost(arrivals)
        last = [*first, *before][-1]
        assert lost.at_ns - last.grabbed_ns >= 0.9e9
        assert lost.attempt == 0


def test_a_silent_sender_that_goes_on(clip: Path) -> None:
    """Frames come again when a paused UDP sender goes on."""
    sender, url = udp(clip)
    with sender, arrivals_of(live(url, *QUICK)) as arrivals:
        last = frames(arrivals, 10)[-1]
        sender.pause()
        before, _ = until_lost(arrivals)
        sender.resume()
        again = until_frame(arrivals)[1]
        assert again.index == last.index + len(before) + 1


def test_damaged_packets_are_survived(clip: Path) -> None:
    """Frames go on while most packets are damaged; damage is counted; later frames are whole."""
    _, url = udp(clip)
    with DamagingRelay(int(url.rpartition(":")[2]), damaged=range(40, 120)) as relay:
        relayed = f"udp://{LOOPBACK}:{relay.port}?pkt_size=1316"
        with ffmpeg_sender(clip, relayed, "-f", "mpegts"):
            source = live(url, "reconnect.stall_s=10")
            with arrivals_of(source) as arrivals:
                taken: list[Frame] = []
                while relay.passed < 120:
                    taken += frames(arrivals, 1)
                taken += frames(arrivals, 40)
                assert source.damaged + source.drops["decode_error"] > 0
                assert source.info.notes
    assert any(read_number(frame.image) is None for frame in taken)
    assert_each_frame_once(taken[-15:])


def test_size_changes_in_mid_stream(clip: Path, tmp_path: Path) -> None:
    """A sender of another size replaces the first: frames have that size, without a loss."""
    sender, url = udp(clip)
    other = ffmpeg_sender(pattern_clip(tmp_path / "b.mp4", 100, (640, 360)), url, "-f", "mpegts")
    with sender, arrivals_of(live(url, "reconnect.stall_s=10")) as arrivals:
        taken = frames(arrivals, 10)
        sender.kill()
        with other:
            while taken[-1].size == (352, 288):
                taken += frames(arrivals, 1)
            taken += frames(arrivals, 20)
    assert {frame.size for frame in taken} == {(352, 288), (640, 360)}
    assert_each_frame_once(taken[-15:])
    assert all(b.pts > a.pts and b.index == a.index + 1 for a, b in pairwise(taken))


def assert_ends_soon(source: LiveSource, arrivals: Arrivals) -> None:
    """Stop the source a moment later in another thread, and wait until `arrivals` ends."""
    threading.Timer(0.3, source.stop).start()
    started = time.monotonic()
    for _ in arrivals:
        pass
    assert time.monotonic() - started < 20
    source.close()


@pytest.mark.parametrize("state", ["streaming", "stalled", "backing off", "opening"])
def test_stop_in_each_state(state: str, clip: Path) -> None:
    """In each state a stop ends the source long before its wait would end."""
    sender, url = udp(clip)
    settings = {
        "backing off": ("reconnect.stall_s=0.5", "reconnect.max_s=60"),
        "opening": ("reconnect.stall_s=0.5", "reconnect.first_s=0.01"),
    }.get(state, ())
    with sender:
        source = live(url, *PATIENT, *settings)
        arrivals = source.arrivals()
        frames(arrivals, 3)
        if state != "streaming":
            sender.pause()
        if state in ("backing off", "opening"):
            until_lost(arrivals)
        assert_ends_soon(source, arrivals)

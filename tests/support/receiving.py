"""Sends streams of each kind, and takes their frames, for the tests of received streams."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice, pairwise
from pathlib import Path

from qlumen.errors import SourceError
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.frames import Frame
from qlumen.realtime.sources.base import LiveSource, SignalLost
from qlumen.realtime.sources.choose import open_live_source
from qlumen.realtime.sources.pattern import read_number

from support.senders import LOOPBACK, STEP_US, Sender, ffmpeg_sender, free_port

CLIP_FRAMES = 250
GIVE_UP_S = 30

Arrivals = Iterator[Frame | SignalLost]
Kind = Callable[[Path], tuple[Sender, str]]
"""Takes a clip, and returns its sender, which is not started, and the URL of the stream."""


def udp(clip: Path) -> tuple[Sender, str]:
    url = f"udp://{LOOPBACK}:{free_port(socket.SOCK_DGRAM)}"
    return ffmpeg_sender(clip, url, "-f", "mpegts"), url


def rtmp(clip: Path) -> tuple[Sender, str]:
    url = f"rtmp://{LOOPBACK}:{free_port()}/live/a"
    return ffmpeg_sender(clip, url, "-f", "flv", "-listen", "1"), url


def srt(clip: Path) -> tuple[Sender, str]:
    url = f"srt://{LOOPBACK}:{free_port(socket.SOCK_DGRAM)}"
    return ffmpeg_sender(clip, f"{url}?mode=listener", "-f", "mpegts"), url


def live(url: str, *settings: str) -> LiveSource:
    """Open a stream; its sender may still be starting."""
    until = time.monotonic() + GIVE_UP_S
    while True:
        try:
            return open_live_source(url, load_settings(None, settings))
        except SourceError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


@contextmanager
def arrivals_of(source: LiveSource) -> Iterator[Arrivals]:
    """Yield what arrives; a silent source is stopped, so that no test hangs."""
    watchdog = threading.Timer(GIVE_UP_S, source.stop)
    watchdog.start()
    try:
        with source:
            yield source.arrivals()
    finally:
        watchdog.cancel()


def frames(arrivals: Arrivals, count: int) -> list[Frame]:
    """Return the next frames; all must arrive, without a loss of the signal."""
    taken = list(islice(arrivals, count))
    assert len(taken) == count
    assert all(isinstance(arrival, Frame) for arrival in taken), taken
    return [arrival for arrival in taken if isinstance(arrival, Frame)]


def until_lost(arrivals: Arrivals) -> tuple[list[Frame], SignalLost]:
    """Return the frames up to a loss of the signal, and the loss."""
    before = []
    for arrival in arrivals:
        if isinstance(arrival, SignalLost):
            return before, arrival
        before.append(arrival)
    raise AssertionError("the source ended")


def until_frame(arrivals: Arrivals) -> tuple[list[SignalLost], Frame]:
    """Return the failed attempts up to the next frame, and the frame."""
    losses = []
    for arrival in arrivals:
        if isinstance(arrival, Frame):
            return losses, arrival
        losses.append(arrival)
    raise AssertionError("the source ended")


def assert_each_frame_once(taken: list[Frame]) -> None:
    """Check consecutive numbers in the pixels, consecutive indices, and time steps."""
    numbers = [read_number(frame.image) for frame in taken]
    assert all(number is not None for number in numbers)
    assert all((b - a) % CLIP_FRAMES == 1 for a, b in pairwise(numbers) if a and b)
    assert all(b.index - a.index == 1 for a, b in pairwise(taken))
    assert all(abs(b.pts - a.pts - STEP_US) <= 1000 for a, b in pairwise(taken))


KINDS: list[Kind] = [udp, rtmp, srt]

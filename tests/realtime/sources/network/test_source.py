"""Streams of real senders over loopback give every frame, or the reason why there is none."""

import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from qlumen.errors import MissingExtraError, SourceError
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.sources.choose import open_live_source
from qlumen.realtime.sources.pattern import read_number
from qlumen.system.locations import without_secrets

from support.media import start_python
from support.receiving import (
    CLIP_FRAMES,
    KINDS,
    Kind,
    arrivals_of,
    assert_each_frame_once,
    frames,
    live,
    udp,
    until_frame,
    until_lost,
)
from support.senders import LOOPBACK, free_port, needs_ffmpeg, pattern_clip, rtsp_server


@needs_ffmpeg
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("b_frames", [0, 2])
def test_every_frame_of_a_stream_arrives(kind: Kind, b_frames: int, tmp_path: Path) -> None:
    """Each frame comes once and in order, at its size, also if B-frames reorder them."""
    sender, url = kind(pattern_clip(tmp_path / "a.mp4", CLIP_FRAMES, b_frames=b_frames))
    with sender, arrivals_of(live(url)) as arrivals:
        taken = frames(arrivals, 30)
    assert (taken[0].index, taken[0].pts, taken[0].size) == (0, 0, (352, 288))
    assert_each_frame_once(taken)


@needs_ffmpeg
def test_rtsp(tmp_path: Path) -> None:
    """A server's clip comes to its end; there the signal is lost, then it comes again."""
    clip = pattern_clip(tmp_path / "a.mp4", 60)
    with rtsp_server(clip, free_port()) as url, arrivals_of(live(url)) as arrivals:
        taken, lost = until_lost(arrivals)
        again = until_frame(arrivals)[1]
    assert_each_frame_once(taken)
    assert read_number(taken[-1].image) == 59
    assert lost.reason == f"{without_secrets(url)} has ended"
    assert (again.index, read_number(again.image)) == (len(taken), 0)


@needs_ffmpeg
def test_nothing_waits_before_the_first_frame_is_read(tmp_path: Path) -> None:
    """A source that has been open for a while begins with its newest frame."""
    sender, url = udp(pattern_clip(tmp_path / "a.mp4", CLIP_FRAMES))
    with sender:
        source = live(url)
        opened_ns = time.monotonic_ns()
        time.sleep(1.5)
        with arrivals_of(source) as arrivals:
            taken = frames(arrivals, 10)
    assert taken[0].grabbed_ns > opened_ns + 0.5e9
    assert (taken[0].index, taken[0].pts) == (0, 0)
    assert_each_frame_once(taken)


OPENED_IN_VAIN = """
import os
import sys
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.sources.choose import open_live_source
print("opening", flush=True)
try:
    open_live_source(sys.argv[1], load_settings(None, ["reconnect.open_s=60"]))
except KeyboardInterrupt:
    print("interrupted", flush=True)
    os._exit(0)  # as the command does while a thread is left in FFmpeg
"""


def test_ctrl_c_while_opening() -> None:
    """Ctrl-C ends the first opening immediately, although FFmpeg goes on waiting."""
    url = f"udp://{LOOPBACK}:{free_port(socket.SOCK_DGRAM)}"
    process = start_python(OPENED_IN_VAIN, url)
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (0, "interrupted\n", "")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("rtmp://127.0.0.1:{port}/a", "cannot be opened: Connection refused"),
        ("rtsp://me:secret@127.0.0.1:{port}/a", "cannot be opened: Connection refused"),
        ("udp://127.0.0.1:{port}", "did not answer within 0.5 s; check address"),
        ("tcp://127.0.0.1:{port}", "cannot be opened: Connection refused"),
    ],
)
def test_bad_address_is_an_error_on_opening(url: str, message: str) -> None:
    """The first opening ends in one line, which holds no password."""
    with pytest.raises(SourceError) as error:
        open_live_source(
            url.format(port=free_port()), load_settings(None, ["reconnect.open_s=0.5"])
        )
    assert message in str(error.value)
    assert "secret" not in str(error.value)
    assert "\n" not in str(error.value)


@needs_ffmpeg
def test_srt_says_why_it_cannot_be_opened() -> None:
    """The error has the message of the relaying command, but not the key."""
    url = f"srt://{LOOPBACK}:{free_port()}?passphrase=0123456789abc"
    with pytest.raises(
        SourceError, match=r"srt://.*\*\*\* cannot be opened: .*[Ss][Rr][Tt]"
    ) as error:
        open_live_source(url, load_settings(None, ["reconnect.open_s=20"]))
    assert "0123456789abc" not in str(error.value)


def test_srt_without_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install for SRT."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingExtraError, match="apt install ffmpeg"):
        open_live_source("srt://127.0.0.1:9", load_settings())


def test_a_stream_that_is_no_video(tmp_path: Path) -> None:
    """A server that sends other data gives another error than one that does not answer."""
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]

        def serve() -> None:
            connection = server.accept()[0]
            with connection:
                connection.sendall(b"This is no video. " * 2000)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(SourceError, match="Invalid data"):
            open_live_source(f"tcp://{LOOPBACK}:{port}", load_settings())
        thread.join()

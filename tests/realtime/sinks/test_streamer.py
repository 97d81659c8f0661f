"""Streams reach a real receiver whole and without delay, and a dead one blocks nothing."""

import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from qlumen.errors import MissingExtraError, SinkError, UsageError
from qlumen.realtime.sinks.streamer import Streamer
from qlumen.realtime.sources.base import SourceInfo

from support.media import RATE, make_images, read_video, result_of, start_python
from support.screen import missing_programs

INFO = SourceInfo("made", None, None, RATE, None)
FRAME_US = 40_000
TIMEOUT_S = 2
PATIENCE_S = 30
TS_PACKET_BYTES, TS_VIDEO_PID = 188, 0x100  # ISO/IEC 13818-1; FFmpeg's first stream
LISTENING = {
    "udp": ("-f", "mpegts", "-i", "udp://127.0.0.1:{}?timeout=1000000"),
    "rtmp": ("-listen", "1", "-i", "rtmp://127.0.0.1:{}/live/room"),
    "srt": ("-f", "mpegts", "-i", "srt://127.0.0.1:{}?mode=listener"),
    "rtsp": ("-rtsp_flags", "listen", "-i", "rtsp://127.0.0.1:{}/room"),
}
PATHS = {"udp": "", "rtmp": "/live/room", "srt": "", "rtsp": "/room"}
Receive = Callable[..., "tuple[str, subprocess.Popen[bytes]]"]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_bound(port: int, protocol: str) -> bool:
    """Check in /proc, without connecting, whether a process of this machine listens there."""
    tables = ("udp", "udp6") if protocol in ("udp", "srt") else ("tcp", "tcp6")
    lines = "".join(Path(f"/proc/net/{table}").read_text() for table in tables)
    return f":{port:04X} " in lines


@pytest.fixture
def receive(tmp_path: Path) -> Iterator[Receive]:
    """Start an ffmpeg that stores in a file what it receives; return its address."""
    if reason := missing_programs("ffmpeg"):
        pytest.skip(reason)
    with ExitStack() as stack:

        def start(protocol: str, file: str = "got.mkv") -> "tuple[str, subprocess.Popen[bytes]]":
            port = free_port()
            taking = [part.format(port) for part in LISTENING[protocol]]
            command = ["ffmpeg", "-v", "quiet", "-nostdin", *taking, "-c", "copy"]
            process = subprocess.Popen([*command, str(tmp_path / file)])
            stack.enter_context(process)
            stack.callback(process.kill)
            deadline = time.monotonic() + PATIENCE_S
            while not is_bound(port, protocol):
                assert time.monotonic() < deadline, f"no {protocol} receiver"
                time.sleep(0.02)
            return f"{protocol}://127.0.0.1:{port}{PATHS[protocol]}", process

        yield start


def write(streamer: Streamer, image: np.ndarray, index: int) -> None:
    pts, time_base = index * FRAME_US, Fraction(1, 1_000_000)
    streamer.write(
        result_of(np.zeros_like(image), index, pts=pts, time_base=time_base, annotated=image)
    )


def write_until_error(streamer: Streamer, images: list[np.ndarray]) -> str:
    """Write in real time until a SinkError comes, and return its message."""
    deadline = time.monotonic() + PATIENCE_S
    index = 0
    while time.monotonic() < deadline:
        try:
            write(streamer, images[index % len(images)], index)
        except SinkError as error:
            return str(error)
        index += 1
        time.sleep(FRAME_US / 1e6)
    raise AssertionError(f"no error after {PATIENCE_S} s")


@pytest.mark.parametrize(("protocol", "lost"), [("udp", 0), ("rtmp", 0), ("rtsp", 0), ("srt", 6)])
def test_all_frames_arrive(protocol: str, lost: int, receive: Receive, tmp_path: Path) -> None:
    """A real receiver gets each frame, with the right times between them.

    SRT drops the last 200 ms. FFmpeg's RTSP receiver learns the first frame's time late.
    """
    url, receiver = receive(protocol)
    images = make_images(40, 320, 240)
    with Streamer(url, INFO) as streamer:
        assert streamer.wants_overlay
        for index, image in enumerate(images):
            write(streamer, image, index)
            time.sleep(FRAME_US / 1e6)
    receiver.wait(PATIENCE_S)
    seconds, received = read_video(tmp_path / "got.mkv")
    assert 0 <= len(images) - len(received) <= lost
    gaps = np.diff([float(second) for second in seconds])
    assert gaps[protocol == "rtsp" :] == pytest.approx(0.04, abs=0.0011)
    for image, expected in zip(received, images, strict=False):
        assert np.abs(image.astype(int) - expected).mean() < 4
    with av.open(str(tmp_path / "got.mkv")) as container:
        assert container.streams.video[0].codec_context.name == "h264"


def test_a_frame_leaves_before_the_next_comes() -> None:
    """No stage holds a frame back: the next is written when the one before has arrived."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as incoming:
        incoming.bind(("127.0.0.1", 0))
        incoming.settimeout(PATIENCE_S)
        with Streamer(f"udp://127.0.0.1:{incoming.getsockname()[1]}", INFO) as streamer:
            arrived = 0
            for index, image in enumerate(make_images(30)):
                write(streamer, image, index)
                while arrived <= index:
                    arrived += count_frame_starts(incoming.recv(65536))
            assert arrived == 30


def count_frame_starts(datagram: bytes) -> int:
    """Count the video frames that begin in these packets of MPEG-TS."""
    starts = 0
    for offset in range(0, len(datagram), TS_PACKET_BYTES):
        header = int.from_bytes(datagram[offset : offset + 4], "big")
        starts += bool(header & 0x400000) and (header >> 8 & 0x1FFF) == TS_VIDEO_PID
    return starts


@pytest.mark.parametrize("protocol", ["rtmp", "rtsp", "srt"])
def test_nobody_there_is_an_error(protocol: str) -> None:
    """If nothing listens, the stream ends soon with the reason, and can be closed."""
    if protocol == "srt" and (reason := missing_programs("ffmpeg")):
        pytest.skip(reason)
    url = f"{protocol}://127.0.0.1:{free_port()}{PATHS[protocol]}"
    streamer = Streamer(url, INFO)
    message = write_until_error(streamer, make_images(8))
    hidden = "/***" if PATHS[protocol] else ""
    assert message.startswith(f"stream to {url.removesuffix(PATHS[protocol])}{hidden} ended: ")
    assert protocol == "srt" or "Connection refused" in message
    streamer.close()
    streamer.close()


def test_a_killed_receiver_is_an_error(receive: Receive) -> None:
    """When the receiver dies in mid-stream, an error follows, and closing is quick."""
    url, receiver = receive("rtmp")
    streamer = Streamer(url, INFO, timeout_s=TIMEOUT_S)
    images = make_images(8)
    for index in range(25):
        write(streamer, images[index % 8], index)
        time.sleep(FRAME_US / 1e6)
    receiver.kill()
    assert "stream to rtmp://127.0.0.1" in write_until_error(streamer, images)
    streamer.close()


def test_a_silent_server_is_an_error() -> None:
    """A server that connects and never answers is an error after the time-out."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        streamer = Streamer(
            f"rtmp://127.0.0.1:{server.getsockname()[1]}/live/room", INFO, timeout_s=TIMEOUT_S
        )
        assert "nothing could be sent for 2" in write_until_error(streamer, make_images(8))


def test_a_stopped_receiver_is_an_error(receive: Receive) -> None:
    """A receiver that no longer reads is an error when the system's buffers are full."""
    url, receiver = receive("rtmp")
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (240, 320, 3), np.uint8) for _ in range(8)]
    streamer = Streamer(url, INFO, timeout_s=TIMEOUT_S, crf=1, max_kbps=200_000)
    for index in range(10):
        write(streamer, noise[index % 8], index)
    receiver.send_signal(signal.SIGSTOP)
    assert "ended: " in write_until_error(streamer, noise)
    receiver.send_signal(signal.SIGCONT)


def test_closing_waits_for_nobody() -> None:
    """With a server that never answers, closing ends with an error after the time-out."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        url = f"rtmp://127.0.0.1:{server.getsockname()[1]}/live/room"
        streamer = Streamer(url, INFO, timeout_s=TIMEOUT_S)
        write(streamer, make_images(1)[0], 0)
        closing = threading.Thread(target=lambda: closed.append(error_of(streamer)))
        closed: list[str] = []
        closing.start()
        closing.join(PATIENCE_S)
    assert "the rest was not taken in time" in closed[0]


def error_of(streamer: Streamer) -> str:
    try:
        streamer.close()
    except SinkError as error:
        return str(error)
    return ""


def test_without_frames_nothing_is_sent() -> None:
    """A stream that is opened and closed connects to nobody."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        Streamer(f"rtmp://127.0.0.1:{server.getsockname()[1]}/live/room", INFO).close()
        assert not select.select([server], [], [], 0)[0]


def test_no_process_or_file_is_left_open(receive: Receive) -> None:
    """After good and bad streams the process has as many open files as before."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  counts itself, as below
    for url in (receive("rtmp")[0], f"rtmp://127.0.0.1:{free_port()}/live/room"):
        streamer = Streamer(url, INFO, timeout_s=TIMEOUT_S)
        write(streamer, make_images(1)[0], 0)
        error_of(streamer)
        del streamer
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
    children = Path("/proc/self/task") / str(os.getpid()) / "children"
    names = [Path(f"/proc/{child}/cmdline").read_text() for child in children.read_text().split()]
    assert not any("packet_sender" in name for name in names)


def test_the_sender_does_not_outlive_its_parent() -> None:
    """When the parent is killed while its sender waits for a server, the connection ends."""
    code = """
import time
from support.media import RATE, make_images, result_of
from qlumen.realtime.sinks.streamer import Streamer
from qlumen.realtime.sources.base import SourceInfo
streamer = Streamer(sys.argv[1], SourceInfo("made", None, None, RATE, None), timeout_s=0.5)
streamer.write(result_of(make_images(1)[0]))
sys.stdin.read()
"""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        server.settimeout(PATIENCE_S)
        process = start_python(code, f"rtmp://127.0.0.1:{server.getsockname()[1]}/live/room")
        with server.accept()[0] as connection:
            process.kill()
            process.communicate()
            connection.settimeout(PATIENCE_S)
            while connection.recv(65536):
                pass


def test_frames_of_another_size_go_on(receive: Receive, tmp_path: Path) -> None:
    """The stream keeps the size of its first frame."""
    url, receiver = receive("rtmp")
    with Streamer(url, INFO) as streamer:
        for index in range(30):
            side = 64 if index % 2 else 96
            write(streamer, np.full((side, side, 3), 180, np.uint8), index)
    receiver.wait(PATIENCE_S)
    images = read_video(tmp_path / "got.mkv")[1]
    assert {image.shape for image in images} == {(96, 96, 3)}
    assert streamer.notes == ["frames of another size scaled to that of the first"]


def test_unknown_protocols_are_refused() -> None:
    """The line lists the usable protocols and no part of the address that may be secret."""
    for url in ("http://user:pass@host/key?secret=1", "file.mp4", ""):
        known = r"rtmp://, rtmps://, rtsp://, srt://, udp://"
        with pytest.raises(UsageError, match=known) as caught:
            Streamer(url, INFO)
        assert not any(word in str(caught.value) for word in ("user", "pass", "key", "secret"))


def test_srt_needs_a_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without ffmpeg on the path, the line says what to install, before anything starts."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingExtraError, match="needs the program ffmpeg"):
        Streamer("srt://127.0.0.1:9", INFO)

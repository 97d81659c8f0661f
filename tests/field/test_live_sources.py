"""Live sources show their newest picture, in order, at a constant delay, and are opened again."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count, pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlumen.realtime.frames import AiState, Condition, Frame, LiveState
from qlumen.realtime.latency import NS_PER_S
from qlumen.realtime.overlay.status import draw_marks
from qlumen.realtime.sources.base import SignalLost
from qlumen.realtime.sources.ffmpeg.decoding import Decoding
from qlumen.realtime.sources.network import packet_queue
from qlumen.realtime.sources.network.packet_queue import PacketQueue
from qlumen.realtime.sources.network.source import ReceivedSource
from qlumen.realtime.sources.pattern import PatternSource, read_number
from qlumen.realtime.sources.playback import PacedSource

from support.media import write_video
from support.receiving import (
    CLIP_FRAMES,
    arrivals_of,
    assert_each_frame_once,
    frames,
    live,
    udp,
    until_frame,
    until_lost,
)
from support.senders import LOOPBACK, RATE, ffmpeg_sender, needs_ffmpeg, pattern_clip

PICTURES = 300
QUICK = ("reconnect.first_s=0.1", "reconnect.max_s=0.2")


@cache
def jpegs(width: int = 320, height: int = 240) -> Sequence[bytes]:
    pattern = PatternSource(width, height, RATE)
    return [cv2.imencode(".jpg", pattern.picture(i))[1].tobytes() for i in range(PICTURES)]


class HttpCamera:
    """Serves JPEG pictures as `multipart/x-mixed-replace`, as network cameras do.

    Args:
        rate: pictures per second; None: as fast as they are taken.
        limit: pictures after which a connection ends.
        length: length of the whole answer that is announced, as some cameras do; None for none.

    Attributes:
        sent_ns: monotonic time at which each picture was sent.
        connections: number of connections so far.
    """

    def __init__(
        self,
        pictures: Sequence[bytes],
        rate: float | None,
        limit: int | None = None,
        length: int | None = None,
    ) -> None:
        self.sent_ns: dict[int, int] = {}
        self.connections = 0
        self._pictures, self._rate, self._limit = pictures, rate, limit
        self._numbers = count()
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                camera.connections += 1
                self.send_response(200)
                boundary = "multipart/x-mixed-replace; boundary=picture"
                self.send_header("Content-Type", boundary)
                if length is not None:
                    self.send_header("Content-Length", str(length))
                self.end_headers()
                camera.send(self.wfile.write)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{LOOPBACK}:{self._server.server_port}/video"

    def __enter__(self) -> "HttpCamera":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._limit = 0
        self._server.shutdown()
        self._server.server_close()

    def send(self, write: Callable[[bytes], object]) -> None:
        """Send pictures until the limit, or until nobody takes them."""
        started, sent = time.monotonic(), 0
        try:
            while self._limit is None or sent < self._limit:
                number, sent = next(self._numbers), sent + 1
                if self._rate is not None:
                    time.sleep(max(0.0, started + sent / self._rate - time.monotonic()))
                picture = self._pictures[number % len(self._pictures)]
                self.sent_ns[number] = time.monotonic_ns()
                write(b"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
                      % len(picture) + picture + b"\r\n")  # fmt: skip
        except OSError:
            return


def number_of(frame: Frame) -> int:
    number = read_number(frame.image)
    assert number is not None
    return number


@pytest.mark.parametrize("length", [None, 2**31 - 1])
def test_an_http_camera_keeps_its_delay(length: int | None) -> None:
    """A camera of 50/s is not played as a file of 25/s: its pictures are as old at the end as at
    the beginning, and their times are those of the camera's clock. An announced length makes it
    no file (roboflow/inference #1160, motioneye-project/motioneyeos #2113).
    """
    camera = HttpCamera(jpegs(), 50, length=length)
    with camera, arrivals_of(live(camera.url)) as arrivals:
        opening = frames(arrivals, 40)  # among them those that came while FFmpeg looked
        taken = frames(arrivals, 120)
        sent_ns = [camera.sent_ns[number_of(frame)] for frame in taken]
        assert camera.connections == 1  # some cameras have one client only
    assert [frame.index for frame in (*opening, *taken)] == list(range(160))
    sender_s = (sent_ns[-1] - sent_ns[0]) / 1e9
    assert 0.8 < (taken[-1].grabbed_ns - taken[0].grabbed_ns) / 1e9 / sender_s < 1.25
    assert 0.8 < (taken[-1].pts - taken[0].pts) / 1e6 / sender_s < 1.25
    ages_ns = [frame.grabbed_ns - sent for frame, sent in zip(taken, sent_ns, strict=True)]
    assert min(ages_ns[60:]) - min(ages_ns[:60]) < sender_s * 1e9 / 10


def test_an_http_camera_is_opened_again() -> None:
    """Where the camera's connection ends, the loss is reported and newer pictures follow
    (roboflow/inference #1160).
    """
    with (
        HttpCamera(jpegs(), 50, limit=25) as camera,
        arrivals_of(live(camera.url, *QUICK)) as arrivals,
    ):
        before, lost = until_lost(arrivals)
        again = until_frame(arrivals)[1]
        following = [again, *frames(arrivals, 5)]
    assert lost.reason.startswith(f"http://{LOOPBACK}")
    assert again.index == before[-1].index + 1
    numbers = [number_of(frame) for frame in [*before, *following]]
    assert all(b > a for a, b in pairwise(numbers))
    assert number_of(again) >= 25


def test_a_camera_that_is_faster_than_the_decoder_drops_its_oldest_pictures() -> None:
    """Where a camera sends more than can be decoded, no backlog grows: pictures are left out and
    counted (motioneye-project/motioneyeos #2113).
    """
    with HttpCamera(jpegs(1280, 960), None) as camera:
        source = live(camera.url)
        with arrivals_of(source) as arrivals:
            frames(arrivals, 1)  # what was left out until then is no loss
            numbers = [number_of(frame) for frame in frames(arrivals, 60)]
        dropped = source.drops["decode_late"]
    left_out = sum((b - a) % PICTURES - 1 for a, b in pairwise(numbers))
    assert 0 < left_out <= dropped


@pytest.fixture
def slow_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make each packet take half a second."""
    decode = Decoding._decode

    def decode_slowly(self: Decoding, packet: av.Packet | None) -> list[av.VideoFrame]:
        time.sleep(0.5)
        return decode(self, packet)

    monkeypatch.setattr(Decoding, "_decode", decode_slowly)


@needs_ffmpeg
@pytest.mark.usefixtures("slow_decoder")
def test_a_decoder_that_is_late_from_the_start_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a slow decoder loses before its first frame is counted too: 4K cameras meet small
    computers.
    """
    monkeypatch.setattr(packet_queue, "LATE_S", 0.1)
    sender, url = udp(pattern_clip(tmp_path / "a.ts"))
    with sender, live(url) as source:
        assert source.drops["decode_late"] > 0


@pytest.mark.usefixtures("slow_decoder")
def test_pictures_before_the_first_one_are_not_late() -> None:
    """Of the pictures that an HTTP camera sends before the session begins, the newest is shown,
    and the others are no loss (motioneye-project/motioneyeos #2113).
    """
    with HttpCamera(jpegs(), 50) as camera, live(camera.url) as source:
        assert not source.drops


@contextmanager
def web_server(files: Path) -> Iterator[str]:
    """Serve a folder over HTTP with lengths, and yield its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = (files / self.path.lstrip("/")).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://{LOOPBACK}:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_file_on_a_web_server_is_played(suffix: str, tmp_path: Path) -> None:
    """A recording that a web server holds is played to its end, as from the disk: people show
    recordings that lie on their clinic's server.
    """
    pattern_clip(tmp_path / f"a.{suffix}", 10)
    with web_server(tmp_path) as url:
        source = live(f"{url}/a.{suffix}")
        assert isinstance(source, PacedSource)
        with arrivals_of(source) as arrivals:
            taken = list(arrivals)
    assert [read_number(frame.image) for frame in taken if isinstance(frame, Frame)] == [*range(10)]


@needs_ffmpeg
@pytest.mark.parametrize("codec", ["mpeg2video", "mpeg4"])
def test_b_frames_come_in_order_of_presentation(codec: str, tmp_path: Path) -> None:
    """MPEG-2 and MPEG-4 part 2 with B-frames, as hardware encoders send them, are shown in order,
    each picture once (insight-platform/Savant #182, #681).
    """
    pattern = PatternSource(352, 288, RATE)
    images = [pattern.picture(index) for index in range(CLIP_FRAMES)]
    options = {"bf": "2", "g": "10", "qmin": "2", "qmax": "4"}
    clip = write_video(tmp_path / "a.ts", images, codec=codec, rate=Fraction(RATE), options=options)
    sender, url = udp(clip)
    with sender:
        source = live(url)
        assert isinstance(source, ReceivedSource)
        with arrivals_of(source) as arrivals:
            taken = frames(arrivals, 40)
    assert_each_frame_once(taken)
    assert source.drops["out_of_order"] == 0
    # A third of the frames waits for the two that arrive later and are shown earlier.
    held = sorted(frame.held_ns for frame in taken)
    assert held[-len(held) // 6] > 0.5 * NS_PER_S / RATE


def test_the_age_on_the_plate_has_what_the_source_held_back() -> None:
    """The plate's age is that of the findings and the time that the source had the frame before
    (roboflow/inference #1160).
    """
    state = LiveState(AiState.ON, 5, 40.0, Condition.CLEAR, (), False, True, held_ms=80.0)
    at_once = replace(state, annotation_age_ms=120.0, held_ms=0.0)
    shown, expected, younger = (np.zeros((360, 640, 3), np.uint8) for _ in range(3))
    draw_marks(shown, state)
    draw_marks(expected, at_once)
    draw_marks(younger, replace(state, held_ms=0.0))
    np.testing.assert_array_equal(shown, expected)
    assert (shown != younger).any()


def packet(number: int, *, key: bool) -> av.Packet:
    made = av.Packet(b"-")
    made.pts, made.is_keyframe = number, key
    return made


@given(st.integers(2, 40), st.floats(0.01, 0.2), st.integers(1, 8))
def test_a_slow_decoder_goes_on_at_a_key_frame(group: int, step_s: float, slowness: int) -> None:
    """Where a decoder is too slow for a stream, the delay stays below a second and two groups of
    frames, and what follows a gap is a key frame: 4K cameras meet small computers.
    """
    now_s = [0.0]
    queue = PacketQueue(whole=False, clock=lambda: now_s[0])
    dropped, taken = 0, []
    for number in range(400):
        dropped += queue.put(packet(number, key=number % group == 0))
        if number % slowness == 0:
            got = queue.get()
            assert got is not None
            taken.append(got.pts)
            assert (number - got.pts) * step_s <= 1 + 2 * group * step_s
        now_s[0] += step_s
    assert all(b == a + 1 or b % group == 0 for a, b in pairwise(taken))
    assert dropped == 0 if slowness == 1 else dropped <= 400 - len(taken)


@needs_ffmpeg
def test_a_live_playlist_is_opened_again(tmp_path: Path) -> None:
    """An HLS stream whose encoder stops is lost, its last pieces are not shown again as if they
    were new, and what an encoder sends later follows (roboflow/inference #1160, for HLS).
    """
    clip = pattern_clip(tmp_path / "a.ts")
    pieces = ("-f", "hls", "-hls_time", "0.6", "-hls_list_size", "5")
    sender = ffmpeg_sender(clip, str(tmp_path / "live.m3u8"), *pieces)
    with web_server(tmp_path) as url, sender:
        source = live(f"{url}/live.m3u8", *QUICK, "reconnect.stall_s=1.5", "reconnect.open_s=1.5")
        assert isinstance(source, ReceivedSource)
        with arrivals_of(source) as arrivals:
            taken = frames(arrivals, 100)
            assert_each_frame_once(taken)
            assert 1.5 < (taken[-1].grabbed_ns - taken[0].grabbed_ns) / NS_PER_S < 4  # not at once
            sender.kill()
            until_lost(arrivals)
            assert isinstance(next(arrivals), SignalLost)  # of the opening of what is left
            sender.start()
            assert_each_frame_once([until_frame(arrivals)[1], *frames(arrivals, 30)])

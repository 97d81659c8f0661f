"""Tests faults around a running session, with real senders and a real screen.

The video goes on, the recording plays, the log verifies, and losses are reported.
"""

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from qlumen.realtime.commands.live import Steering, _Stopped
from qlumen.realtime.live.outputs import TITLE
from qlumen.realtime.sinks.hash_chain import check_chain

from support.live_process import (
    events,
    frame_lines,
    kinds,
    start_live,
    wait_for_event,
    wait_for_frames,
    wait_until,
)
from support.media import read_video
from support.screen import missing_programs, screen
from support.senders import LOOPBACK, ffmpeg_sender, free_port, needs_ffmpeg, pattern_clip

QUICK = ("reconnect.stall_s=1", "reconnect.first_s=0.1", "reconnect.max_s=0.4")
SILENT_S = 1.0


def end_in_order(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    """Send SIGTERM, then check that everything is whole."""
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()
    check_left(folder)


def check_left(folder: Path) -> None:
    """Check that the log verifies, its frames have no gap, and the recording plays in order."""
    assert check_chain(folder / "e.jsonl").fault is None
    indices = [line["frame"] for line in frame_lines(folder)]
    assert indices == list(range(len(indices)))
    seconds, _ = read_video(folder / "o.mp4")
    assert seconds == sorted(seconds)
    assert len(seconds) > 5


def source_losses(folder: Path) -> list[dict[str, Any]]:
    """Return losses that the source reported, without those that the display reported."""
    return [event for event in events(folder, "signal_lost") if "attempt" in event]


@needs_ffmpeg
def test_a_sender_that_dies_and_comes_back_with_another_size(tmp_path: Path) -> None:
    """The log has the loss, the return and the new size. The recording has the pause, with the last
    frame in it."""
    url = f"udp://{LOOPBACK}:{free_port()}"
    first = pattern_clip(tmp_path / "a.mp4", 100)
    second = pattern_clip(tmp_path / "b.mp4", 100, (160, 128))
    with ffmpeg_sender(first, url + "?pkt_size=1316", "-f", "mpegts"):
        process = start_live(tmp_path, url, settings=QUICK)
        wait_for_frames(tmp_path, 20)
    wait_until(lambda: bool(source_losses(tmp_path)), "the source never gave the sender up")
    lost_at = len(frame_lines(tmp_path))
    with ffmpeg_sender(second, url + "?pkt_size=1316", "-f", "mpegts"):
        wait_for_event(tmp_path, "signal_back")
        wait_for_frames(tmp_path, lost_at + 20)
        end_in_order(process, tmp_path)
    sizes = [(event["width"], event["height"]) for event in events(tmp_path, "format")]
    assert sizes == [(352, 288), (160, 128)]
    gap_s = events(tmp_path, "signal_back")[0]["gap_s"]
    assert gap_s > SILENT_S
    seconds, images = read_video(tmp_path / "o.mp4")
    assert float(seconds[-1]) > gap_s
    assert all(image.shape == images[0].shape for image in images)


def test_a_closed_window_costs_the_window_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recording goes on, and the log says that the monitor is gone."""
    if reason := missing_programs("Xvfb", "xdotool", "ffmpeg"):
        pytest.skip(reason)
    with screen() as desk:
        monkeypatch.setenv("DISPLAY", desk.name)
        process = start_live(tmp_path, "pattern", "--monitor")
        wait_for_frames(tmp_path, 20)
        desk.close(desk.window(TITLE))
        wait_for_event(tmp_path, "sink_detached")
        wait_for_frames(tmp_path, len(frame_lines(tmp_path)) + 20)
        end_in_order(process, tmp_path)
    assert events(tmp_path, "sink_detached")[0]["sink"] == "monitor"


def test_keys_steer_the_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys for overlay, threshold, mark and snapshot work and are logged; q ends the session."""
    if reason := missing_programs("Xvfb", "xdotool", "ffmpeg"):
        pytest.skip(reason)
    with screen() as desk:
        monkeypatch.setenv("DISPLAY", desk.name)
        process = start_live(tmp_path, "pattern", "--monitor", "--snapshots", str(tmp_path / "p"))
        wait_for_frames(tmp_path, 20)
        window = desk.window(TITLE)
        for count, key in enumerate(("space", "minus", "m", "s"), 1):
            desk.press(window, key)
            wait_until(lambda n=count: kinds(tmp_path).count("action") >= n, f"{key} did nothing")
        wait_until(lambda: any((tmp_path / "p").glob("*.png")), "no snapshot")
        desk.press(window, "q")
        _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()
    check_left(tmp_path)
    actions = [event["action"] for event in events(tmp_path, "action")]
    assert actions == ["toggle_overlay", "sensitivity", "mark", "snapshot", "quit"]


@needs_ffmpeg
def test_a_dead_network_costs_the_stream_alone(tmp_path: Path) -> None:
    """With no listener the stream is detached and tried again, and the recording is whole."""
    url = f"rtmp://{LOOPBACK}:{free_port()}/live/room"
    process = start_live(tmp_path, "pattern", "--stream", url)
    wait_for_event(tmp_path, "sink_detached")
    wait_for_frames(tmp_path, len(frame_lines(tmp_path)) + 25)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    check_left(tmp_path)
    assert {event["sink"] for event in events(tmp_path, "sink_detached")} == {"stream"}


def test_a_log_that_hangs_delays_nothing(tmp_path: Path) -> None:
    """With a pipe of events that nobody reads, every frame is recorded, and the session ends in
    time."""
    pipe = tmp_path / "e.jsonl"
    os.mkfifo(pipe)
    held = os.open(pipe, os.O_RDWR)
    try:
        process = start_live(
            tmp_path,
            "pattern",
            "--seconds",
            "4",
            settings=("live.sink_close_s=1", "pattern.fps=50"),
        )
        process.communicate(timeout=120)
    finally:
        os.close(held)
    seconds, _ = read_video(tmp_path / "o.mp4")
    assert float(seconds[-1]) > 3


def test_a_lost_terminal_ends_nothing(tmp_path: Path) -> None:
    """With both ends of standard error gone the session goes on to its end, and all is whole."""
    process = start_live(tmp_path, "pattern", "--seconds", "2")
    assert process.stderr is not None
    process.stderr.close()
    wait_for_event(tmp_path, "stop")
    process.wait(120)
    assert process.returncode == 0
    check_left(tmp_path)
    assert events(tmp_path, "stop")[0]["frames"] > 40


def test_a_signal_whose_error_is_lost_ends_the_opening() -> None:
    """A callback of a library swallows the handler's error; the session must not begin."""
    steering = Steering()
    with steering.handle_signals():
        with pytest.raises(_Stopped):  # as in a callback, the opening goes on after this
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(_Stopped):
            steering.begin(lambda: None, lambda: None)


def test_a_signal_before_the_session_has_begun_leaves_no_file(tmp_path: Path) -> None:
    """Files opened by then are removed, so that the same command can run again."""
    process = start_live(tmp_path)
    wait_until(lambda: (tmp_path / "o.mp4").exists(), "the recording was not opened")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 0
    if not (tmp_path / "e.jsonl").read_bytes():
        assert not (tmp_path / "o.mp4").exists()

"""Tests whole sessions on real parts: the video goes on whatever fails, and all files are whole."""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import cv2
import pytest
from hdrh.histogram import HdrHistogram
from rich.console import Console

from qlumen.errors import BundleError, EngineError, UsageError
from qlumen.realtime.actions import Action
from qlumen.realtime.config.settings import Settings, load_settings
from qlumen.realtime.frames import Frame
from qlumen.realtime.live.annotator import Annotation, Annotator
from qlumen.realtime.live.outputs import LiveOutputs
from qlumen.realtime.live.session import LiveSession
from qlumen.realtime.live.summary import LiveSummary
from qlumen.realtime.live.watchdog import ModelState
from qlumen.realtime.sinks.hash_chain import check_chain

from support.live_process import (
    SMALL_SCENE,
    frame_lines,
    kinds,
    lines,
    start_live,
    wait_for_frames,
    wait_until,
)  # fmt: skip
from support.media import make_images, read_video, start_python, write_video
from support.small_network import small_network

SMALL = [*SMALL_SCENE, "engine.threads=1", "watchdog.hang_s=1.5", "watchdog.first_s=0.05"]
FRAMES = 60
Fault = Callable[[Frame], None]


def open_session(
    outputs: LiveOutputs, fault: Fault | None = None, frames: int = FRAMES, *more: str
) -> LiveSession:
    """Open a session on the scene; the model calls `fault` before each frame."""

    class Faulty(Annotator):
        def __call__(self, frame: Frame) -> Annotation:
            if fault:
                fault(frame)
            return super().__call__(frame)

    settings = load_settings(None, [*SMALL, small_network(), f"scene.frames={frames}", *more])
    return LiveSession("scene", outputs, settings, Console(quiet=True), Faulty)


def check_whole(summary: LiveSummary, folder: Path, frames: int = FRAMES) -> None:
    """Check that every frame was shown, recorded and logged, and that the chain verifies."""
    assert (summary.arrived, summary.shown) == (frames, frames)
    seconds, _ = read_video(folder / "o.mp4")
    events = lines(folder / "e.jsonl")
    shown = [line["frame"] for line in events if "frame" in line and "event" not in line]
    assert len(seconds) == summary.written["recorder"]
    assert shown == list(range(frames))
    assert check_chain(folder / "e.jsonl").fault is None
    assert seconds == sorted(seconds)


def outputs_in(folder: Path) -> LiveOutputs:
    return LiveOutputs(record=folder / "o.mp4", events=folder / "e.jsonl")


@pytest.fixture(autouse=True)
def switch_interval() -> Iterator[None]:
    """Restore the interval of thread switches, which a session makes shorter."""
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


def test_every_frame_is_shown_recorded_and_logged(tmp_path: Path) -> None:
    """All frames come at the source's rate, and the summary adds up."""
    with open_session(outputs_in(tmp_path)) as running:
        summary = running.run()
    check_whole(summary, tmp_path)
    assert summary.error is None
    assert summary.ai_restarts == 0
    assert summary.raw_delay_ms is not None
    assert summary.raw_delay_ms.count == FRAMES
    kept = HdrHistogram.decode(summary.histograms["raw_delay"])
    assert kept.get_total_count() == FRAMES
    judged = summary.stages_ms["quality"].count
    assert judged + summary.drops.get("model_busy", 0) <= FRAMES
    assert kinds(tmp_path)[0] == "start"
    assert kinds(tmp_path)[-1] == "stop"
    assert summary.seconds > 0.9 * FRAMES / 25


def test_a_session_ends_after_its_time(tmp_path: Path) -> None:
    """An endless scene is ended in order after the given time."""
    with open_session(outputs_in(tmp_path), None, 10_000) as running:
        summary = running.run(seconds=1.0)
    check_whole(summary, tmp_path, summary.shown)
    assert 10 < summary.shown < 100


def raise_error(frame: Frame) -> None:
    if frame.index % 10 == 5:
        raise EngineError("made to raise")


def be_slow(frame: Frame) -> None:
    time.sleep(0.25)


def make_hang() -> Fault:
    hung = count()

    def fault(frame: Frame) -> None:
        if frame.index > 5 and next(hung) == 0:
            threading.Event().wait(4)

    return fault


@pytest.mark.parametrize(
    "fault", [raise_error, be_slow, make_hang()], ids=["raises", "slow", "hangs"]
)
def test_video_goes_on_whatever_the_model_does(tmp_path: Path, fault: Fault) -> None:
    """No frame is lost while the model raises, is slow or hangs, and the state reports it."""
    with open_session(outputs_in(tmp_path), fault, 125) as running:
        summary = running.run()
    check_whole(summary, tmp_path, 125)
    assert summary.states.get("late", 0) + summary.states.get("off", 0) > 0
    if fault is not be_slow:
        assert summary.ai_restarts >= 1
        assert "ai_failed" in kinds(tmp_path)
        assert "ai_running" in kinds(tmp_path)


def test_a_model_that_was_given_up_comes_back_when_asked(tmp_path: Path) -> None:
    """After two failures the model is off, the key brings it back, and the log has both."""
    broken = threading.Event()
    broken.set()

    def fault(frame: Frame) -> None:
        if broken.is_set():
            raise EngineError("made to raise")

    with open_session(outputs_in(tmp_path), fault, 200, "watchdog.failures=2") as running:

        def repair() -> None:
            while "ai_off" not in kinds(tmp_path):
                time.sleep(0.05)
            broken.clear()
            running.act(Action.RESTART_AI)

        threading.Thread(target=repair, daemon=True).start()
        summary = running.run()
    check_whole(summary, tmp_path, 200)
    assert summary.states["off"] > 0
    after = kinds(tmp_path)[kinds(tmp_path).index("ai_off") :]
    assert after[:3] == ["ai_off", "action", "ai_running"]


def test_actions_during_a_session_are_done_and_logged(tmp_path: Path) -> None:
    """A mark is a line in the log, a restart replaces the model, and quit ends the session."""
    with open_session(outputs_in(tmp_path), None, 10_000) as running:

        def ask() -> None:
            wait_until(lambda: running.status().ai is ModelState.RUNNING, "it never ran")
            running.act(Action.MARK)
            running.act(Action.SNAPSHOT)
            running.act(Action.RESTART_AI)
            while "ai_running" not in kinds(tmp_path):
                time.sleep(0.05)
            running.act(Action.QUIT)

        threading.Thread(target=ask, daemon=True).start()
        summary = running.run()
    check_whole(summary, tmp_path, summary.shown)
    assert summary.ai_restarts == 1
    asked = [line for line in lines(tmp_path / "e.jsonl") if line.get("event") == "action"]
    assert [line["action"] for line in asked] == ["mark", "snapshot", "restart_ai", "quit"]
    assert "snapshot_refused" in kinds(tmp_path)


def test_the_picture_does_not_wait_until_the_model_is_warm(tmp_path: Path) -> None:
    """Frames are shown with the AI off while it warms up; findings come afterwards."""
    warm = threading.Event()

    class Cold(Annotator):
        def warm_up(self, frame_size: tuple[int, int]) -> None:
            assert warm.wait(60)
            super().warm_up(frame_size)

    def show(mode: str) -> list[dict[str, Any]]:
        outputs = LiveOutputs(events=tmp_path / "e.jsonl")
        settings = load_settings(None, [*SMALL, small_network(), f"live.mode={mode}"])
        quiet = Console(quiet=True)
        with LiveSession("scene", outputs, settings, quiet, Cold) as running:

            def end() -> None:
                wait_for_frames(tmp_path, 10)
                warm.set()
                wait_until(lambda: frame_lines(tmp_path)[-1]["ai"] == "on", "it never ran")
                running.stop()

            threading.Thread(target=end, daemon=True).start()
            running.run()
        return frame_lines(tmp_path)

    shown = show("passthrough")
    assert [line["frame"] for line in shown] == list(range(len(shown)))
    assert {line["ai"] for line in shown[:10]} == {"off"}
    assert next(line for line in shown if line["ai"] == "on")["annotated_frame"] > 9
    warm.clear()
    (tmp_path / "e.jsonl").unlink()
    threading.Timer(0.5, warm.set).start()
    assert "off" not in {line["ai"] for line in show("synchronous")}


def test_nothing_is_started_when_something_asked_for_is_wrong(tmp_path: Path) -> None:
    """An existing recording is kept, and a bad bundle ends the session before it begins."""
    existing = tmp_path / "o.mp4"
    existing.write_bytes(b"precious")
    with pytest.raises(UsageError, match="exists"):
        open_session(outputs_in(tmp_path))
    assert existing.read_bytes() == b"precious"
    with pytest.raises(BundleError):
        open_session(LiveOutputs(), None, 5, f"model.bundle={tmp_path}")


def test_a_stream_needs_a_posix_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Python has no alarms, as on Windows, it is refused before anything starts."""
    monkeypatch.delattr(signal, "alarm")
    with pytest.raises(UsageError, match="--stream needs a POSIX system"):
        open_session(LiveOutputs(stream="udp://127.0.0.1:9"))


def test_a_full_disk_costs_the_recording_and_nothing_else(tmp_path: Path) -> None:
    """The recorder is detached, every frame is shown, and the file on disk plays. The summary names
    the recorder, and counts the frames that it did not get."""
    code = f"""
import json
from pathlib import Path
from rich.console import Console
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.live.outputs import LiveOutputs
from qlumen.realtime.live.session import LiveSession
more = ["scene.frames=100", "recorder.crf=0", "watchdog.hang_s=30"]
settings = load_settings(None, {[*SMALL, small_network()]!r} + more)
folder = Path(sys.argv[1])
outputs = LiveOutputs(record=folder / "o.mp4", events=folder / "e.jsonl")
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # writing then fails as on a full disk
with LiveSession("scene", outputs, settings, Console(quiet=True)) as session:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    print(json.dumps(session.run().as_json()))
"""
    output, errors = start_python(code, tmp_path).communicate(timeout=120)
    assert not errors, errors
    summary = json.loads(output)
    assert (summary["arrived"], summary["shown"]) == (100, 100)
    written, drops = summary["written"], summary["drops"]
    lacks = drops["recorder_detached"] + drops.get("recorder_slow", 0)
    assert written["recorder"] + lacks == written["privacy"]
    assert "recorder" in summary["error"]
    assert len(read_video(tmp_path / "o.mp4")[0]) > 5
    assert "sink_detached" in kinds(tmp_path)
    assert check_chain(tmp_path / "e.jsonl").fault is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_session_in_order(tmp_path: Path, number: signal.Signals) -> None:
    """The session ends with exit code 0, a whole recording, and a valid log with `stop` last."""
    process = start_live(tmp_path)
    wait_for_frames(tmp_path, 30)
    process.send_signal(number)
    assert process.wait(60) == 0, process.stderr and process.stderr.read()
    assert check_chain(tmp_path / "e.jsonl").fault is None
    assert kinds(tmp_path)[-1] == "stop"
    assert len(read_video(tmp_path / "o.mp4")[0]) >= 25


def test_a_killed_session_leaves_all_but_its_last_second(tmp_path: Path) -> None:
    """The recording plays, and lacks less than a second of the frames in the log."""
    process = start_live(tmp_path)
    wait_for_frames(tmp_path, 75)
    process.kill()
    process.wait(60)
    content = (tmp_path / "e.jsonl").read_bytes()
    whole = content[: content.rindex(b"\n")].splitlines()
    logged = [json.loads(line) for line in whole]
    last_s = max(line["time_s"] for line in logged if "frame" in line and "time_s" in line)
    seconds, _ = read_video(tmp_path / "o.mp4")
    assert float(seconds[-1]) > last_s - 1.0


def test_a_log_is_continued_by_the_next_session(tmp_path: Path) -> None:
    """The log has one chain over both sessions."""
    for name in ("a.mp4", "b.mp4"):
        outputs = LiveOutputs(record=tmp_path / name, events=tmp_path / "e.jsonl")
        with open_session(outputs, None, 10) as running:
            running.run()
    assert check_chain(tmp_path / "e.jsonl").fault is None
    assert kinds(tmp_path).count("start") == 2


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no SIGHUP on this system")
def test_settings_are_read_again_on_sighup(tmp_path: Path) -> None:
    """A changed alarm hold is in force and in the log without a restart."""
    config = tmp_path / "c.yaml"
    config.write_text("temporal: {hold_s: 0.1}\n")
    process = start_live(tmp_path, "pattern", "--config", str(config))
    wait_for_frames(tmp_path, 10)
    config.write_text("temporal: {hold_s: 0.7}\n")
    os.kill(process.pid, signal.SIGHUP)
    wait_for_frames(tmp_path, 30)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    changes = [line for line in lines(tmp_path / "e.jsonl") if line.get("event") == "settings"]
    assert changes[0]["changed"] == {"temporal.hold_s": 0.7}


def test_a_change_of_size_in_mid_stream_is_survived(tmp_path: Path) -> None:
    """Two sizes in one folder's sequence are both shown, and the log has each change."""
    for index, size in enumerate([(64, 48)] * 15 + [(96, 64)] * 15):
        cv2.imwrite(str(tmp_path / f"{index:03}.png"), make_images(1, *size)[0])
    (tmp_path / "out").mkdir()
    settings = load_settings(None, ["source.sequence=true"])
    with LiveSession(
        str(tmp_path), outputs_in(tmp_path / "out"), settings, Console(quiet=True)
    ) as running:
        summary = running.run()
    check_whole(summary, tmp_path / "out", 30)
    formats = [line for line in lines(tmp_path / "out/e.jsonl") if line.get("event") == "format"]
    assert [(f["frame"], f["width"]) for f in formats] == [(0, 64), (15, 96)]


def test_a_file_is_played_at_its_own_rate(tmp_path: Path) -> None:
    """A file of 25 frames at 25 frames/s takes a second."""
    clip = write_video(tmp_path / "c.mp4", make_images(25))
    with LiveSession(str(clip), LiveOutputs(), Settings(), Console(quiet=True)) as running:
        summary = running.run()
    assert summary.shown == 25
    assert 0.9 < summary.seconds < 10


def test_findings_are_shown_without_judging_over_time(tmp_path: Path) -> None:
    """With `analysis.temporal=false` findings appear on later frames, and no track or alarm."""
    options = ("analysis.temporal=false", "postprocess.low=0.02", "postprocess.high=0.02")
    with open_session(outputs_in(tmp_path), None, FRAMES, *options) as running:
        summary = running.run()
    assert summary.error is None
    shown = [line for line in lines(tmp_path / "e.jsonl") if line.get("findings")]
    assert any(line["annotated_frame"] != line["frame"] for line in shown)
    assert not any(line["tracks"] for line in shown)
    assert "alarm" not in kinds(tmp_path)


def test_track_numbers_go_on_after_a_restart(tmp_path: Path) -> None:
    """No number is used twice in a session, although the model was replaced in between."""
    fault_at = iter([30])

    def fault(frame: Frame) -> None:
        if frame.index >= 30 and next(fault_at, None) is not None:
            raise EngineError("made to raise")

    outputs = outputs_in(tmp_path)
    with open_session(
        outputs, fault, 100, "postprocess.low=0.02", "postprocess.high=0.02"
    ) as running:
        running.run()
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for line in lines(tmp_path / "e.jsonl"):
        for track in line.get("tracks", []):
            first.setdefault(track["number"], line["frame"])
            last[track["number"]] = line["frame"]
    restarted = next(
        i for i, line in enumerate(lines(tmp_path / "e.jsonl")) if line.get("event") == "ai_failed"
    )
    assert all(first[n] > restarted - 10 or last[n] < restarted + 10 for n in first)

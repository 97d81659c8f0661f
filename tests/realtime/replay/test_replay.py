"""Tests replay from end to end, with real files in and real files out."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from qlumen.networks.bundle import MODEL, find_bundle
from qlumen.realtime.cli import main
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.replay.outputs import Outputs
from qlumen.realtime.replay.replay import replay
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource

RunHere = Callable[..., tuple[object, str]]
FRAMES = 12
SMALL_SCENE = ["scene.width=320", "scene.height=240", f"scene.frames={FRAMES}", "scene.seed=3"]
MARKER_PX = 2
"""Width of the outline with its rim on frames of 240 rows."""
IOU_OF_A_HIT = 0.3
MIN_HITS = 20


def run_qlumen(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run the command in a process of its own."""
    return subprocess.run(command_line(*arguments), capture_output=True, text=True)


@pytest.fixture
def run_here(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> RunHere:
    """Return a function that runs the command in this process.

    It returns the exit code, and the text on standard error.
    """

    def run(*arguments: object) -> tuple[object, str]:
        monkeypatch.setattr(sys, "argv", ["qlumen", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, capsys.readouterr().err

    return run


def command_line(*arguments: object) -> list[str]:
    code = "from qlumen.realtime.cli import main; main()"
    return [sys.executable, "-c", code, *map(str, arguments)]


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def times_of(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Record the scene."""
    folder = tmp_path_factory.mktemp("clip")
    settings = load_settings(None, SMALL_SCENE)
    replay("scene", Outputs(video=folder / "clip.mp4"), settings)
    return folder / "clip.mp4"


def test_every_frame_is_written_with_its_time(clip: Path, tmp_path: Path) -> None:
    """As many frames come out as go in, at the same times, each with its event line."""
    outputs = Outputs(
        video=tmp_path / "o.mp4", events=tmp_path / "e.jsonl", json=tmp_path / "s.json"
    )
    summary = replay(str(clip), outputs, load_settings())
    events = lines_of(tmp_path / "e.jsonl")
    assert summary.frames == summary.frames_expected == FRAMES
    assert [event["frame"] for event in events] == list(range(FRAMES))
    assert times_of(tmp_path / "o.mp4") == times_of(clip)
    assert [event["time_s"] for event in events] == pytest.approx(times_of(clip), abs=1e-6)
    written = json.loads((tmp_path / "s.json").read_text())
    assert written["frames"] == FRAMES
    assert set(written["stages_ms"]) >= {"decode", "preprocess", "inference", "postprocess"}
    assert written["end_to_end_ms"]["count"] == FRAMES
    assert len(written["config_sha256"]) == len(written["bundle"]["sha256"]) == 64


def test_pixels_outside_the_markers_are_the_frames_own(tmp_path: Path) -> None:
    """Lossless snapshots differ from the source only where the marker mask allows it."""
    settings = load_settings(None, [*SMALL_SCENE, "postprocess.low=0.1", "postprocess.high=0.1"])
    outputs = Outputs(snapshots=tmp_path / "shots", masks=tmp_path / "masks")
    replay("scene", outputs, settings)
    source = SceneSource(SceneSettings(width=320, height=240, frame_count=FRAMES, seed=3))
    changed = 0
    for frame in source.frames():
        shot = cv2.imread(str(tmp_path / f"shots/frame_{frame.index:06d}.png"))
        mask = cv2.imread(str(tmp_path / f"masks/frame_{frame.index:06d}.png"), 0)
        allowed = cv2.dilate(mask, np.ones((2 * MARKER_PX + 1,) * 2, np.uint8))
        differs = (shot != frame.image).any(axis=2)
        assert not (differs & (allowed == 0)).any()
        changed += int(differs.sum())
    assert changed > 0


def test_limit_and_folder_of_stills(tmp_path: Path) -> None:
    """Stills of different sizes keep their sizes and names; --limit stops early."""
    rng = np.random.default_rng(0)
    for name, size in (("b10.png", (40, 60)), ("b9.png", (33, 21)), ("b11.jpg", (1, 1))):
        cv2.imwrite(str(tmp_path / name), rng.integers(0, 256, (*size, 3), np.uint8))
    outputs = Outputs(events=tmp_path / "e.jsonl", masks=tmp_path / "masks")
    assert replay(str(tmp_path), outputs, load_settings()).frames == 3
    assert [event["name"] for event in lines_of(tmp_path / "e.jsonl")] == [
        "b9.png", "b10.png", "b11.jpg",
    ]  # fmt: skip
    assert cv2.imread(str(tmp_path / "masks/b9.png")).shape[:2] == (33, 21)
    assert replay(str(tmp_path), Outputs(), load_settings(), limit=2).frames == 2


def test_truncated_recording_keeps_what_was_decoded(clip: Path, tmp_path: Path) -> None:
    """A file cut in the middle ends with code 1 and its count, and the part before is playable."""
    cut = tmp_path / "cut.mp4"
    move_index_first(clip, cut)
    data = cut.read_bytes()
    cut.write_bytes(data[: len(data) * 6 // 10])
    outputs = ("--output", tmp_path / "o.mp4", "--events", tmp_path / "e.jsonl")
    result = run_qlumen("replay", cut, *outputs)
    assert result.returncode == 1, result.stderr
    assert f"of {FRAMES} frames" in result.stderr
    written = len(times_of(tmp_path / "o.mp4"))
    assert 0 < written < FRAMES
    assert len(lines_of(tmp_path / "e.jsonl")) == written


def move_index_first(source: Path, target: Path) -> None:
    """Remux with the index in front, so that a cut file can still be opened."""
    with (
        av.open(str(source)) as given,
        av.open(str(target), "w", options={"movflags": "faststart"}) as container,
    ):
        stream = container.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                container.mux(packet)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_replay_leaves_playable_files(tmp_path: Path, number: signal.Signals) -> None:
    """Ctrl-C or SIGTERM finishes the frames on their way, closes the files and exits with 130."""
    video, events = tmp_path / "o.mp4", tmp_path / "e.jsonl"
    arguments = ["replay", "scene", "--output", video, "--events", events]
    arguments += ["--json", tmp_path / "s.json", "--set", "scene.frames=100000"]
    arguments += ["--set", "scene.width=160", "--set", "scene.height=120"]
    process = subprocess.Popen(
        command_line(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (events.exists() and events.stat().st_size > 1000):
        time.sleep(0.05)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 130
    summary = json.loads((tmp_path / "s.json").read_text())
    assert summary["interrupted"]
    assert summary["frames"] == len(times_of(video)) == len(lines_of(events)) > 0


def test_usage_errors_end_in_one_line_and_write_nothing(
    clip: Path, tmp_path: Path, run_here: RunHere
) -> None:
    """Each mistake exits with 2, names itself, and no output file appears."""
    folder = tmp_path / "folder"
    folder.mkdir()
    out = tmp_path / "o.mp4"
    cases = [
        (["/no/such/file.mp4", "--output", out], "/no/such/file.mp4"),
        ([clip, "--output", tmp_path / "absent" / "o.mp4"], "there is no folder"),
        ([clip, "--output", clip], "is the input itself"),
        ([clip, "--output", folder], "is a folder"),
        ([clip, "--output", out, "--events", out], "are both"),
        ([clip, "--output", out, "--set", "overlay.nonsense=1"], "overlay.nonsense"),
        ([clip, "--output", out, "--config", tmp_path / "absent.yaml"], "absent.yaml"),
    ]
    for arguments, message in cases:
        code, errors = run_here("replay", *arguments)
        assert code == 2, (arguments, errors)
        assert message in errors
        assert len(errors.strip().splitlines()) == 1, errors
        assert not out.exists()


def test_inputs_are_safe_from_outputs(clip: Path, tmp_path: Path, run_here: RunHere) -> None:
    """An output that is an input under another name is refused, and the input stays as it was."""
    mine = tmp_path / "mine.mp4"
    mine.write_bytes(clip.read_bytes())
    hard, soft = tmp_path / "hard.mp4", tmp_path / "soft.mp4"
    hard.hardlink_to(mine)
    soft.symlink_to(mine)
    config = tmp_path / "c.yaml"
    config.write_text("recorder: {crf: 30}\n")
    stills = tmp_path / "stills"
    stills.mkdir()
    (stills / "a.png").write_bytes(b"precious")
    cases = [
        [mine, "--events", hard],
        [mine, "--output", soft],
        [f"file://{mine}", "--output", mine],
        [mine, "--json", config, "--config", config],
        [stills, "--events", stills / "a.png"],
        [stills, "--masks", stills],
        [mine, "--events", tmp_path / "o.txt", "--output", tmp_path / "o.txt"],
    ]
    for arguments in cases:
        code, message = run_here("replay", *arguments)
        assert code == 2, (arguments, message)
        assert len(message.strip().splitlines()) == 1, message
    assert mine.read_bytes() == clip.read_bytes()
    assert (stills / "a.png").read_bytes() == b"precious"


def test_second_signal_ends_immediately_and_leaves_a_playable_part(tmp_path: Path) -> None:
    """Ctrl-C pressed twice does not wait, and the part file holds the recording."""
    video, events = tmp_path / "o.mp4", tmp_path / "e.jsonl"
    arguments = ["replay", "scene", "--output", video, "--events", events]
    arguments += ["--set", "scene.frames=100000", "--set", "scene.width=1920"]
    arguments += ["--set", "scene.height=1080", "--set", "pipeline.queue_frames=16"]
    process = subprocess.Popen(command_line(*arguments), stderr=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (events.exists() and events.stat().st_size > 1000):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert all(line["stages_ms"] for line in lines_of(events))
    assert video.exists() or (tmp_path / ".o.mp4.part").exists()


def test_read_only_home_and_full_disk(clip: Path, tmp_path: Path) -> None:
    """Replay works without a cache folder, and one line reports a summary that is not written."""
    environment = os.environ | {"HOME": "/proc/nowhere", "QLUMEN_CACHE": "/proc/nowhere"}
    command = command_line("replay", clip, "--limit", 2, "--json", "/dev/full")
    empty = tmp_path / "empty"
    empty.mkdir()
    result = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=empty)
    assert result.returncode == 1
    assert "2 frames in" in result.stdout
    assert result.stderr.strip().splitlines()[-1].startswith("qlumen: /dev/full cannot be written")
    assert "Traceback" not in result.stderr
    assert not list(empty.iterdir())


def test_failures_end_in_one_line_and_write_nothing(
    clip: Path, tmp_path: Path, run_here: RunHere
) -> None:
    """A file that is no video, an empty folder and a damaged bundle exit with 1 and no output."""
    text, empty = tmp_path / "notes.mp4", tmp_path / "empty"
    text.write_text("this is no video " * 100)
    empty.mkdir()
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    for path in find_bundle().iterdir():
        (bundle / path.name).write_bytes(path.read_bytes())
    with (bundle / MODEL).open("ab") as file:
        file.write(b" ")
    cases = [
        ([text], "notes.mp4"),
        ([empty], "empty"),
        ([clip, "--set", f"model.bundle={bundle}"], "does not match its bundle"),
    ]
    for arguments, message in cases:
        code, errors = run_here("replay", *arguments, "--output", tmp_path / "o.mp4")
        assert code == 1, (arguments, errors)
        assert message in errors
        assert len(errors.strip().splitlines()) == 1, errors
        assert not (tmp_path / "o.mp4").exists()


@pytest.mark.data
def test_real_clip_polyp_is_found(data_dir: Path, tmp_path: Path) -> None:
    """All 181 frames get an event, and 20 of the 31 boxed ones a finding on a true box."""
    clip = data_dir / "clips" / "ldpolypvideo_test101.mp4"
    summary = replay(str(clip), Outputs(events=tmp_path / "e.jsonl"), load_settings())
    events = lines_of(tmp_path / "e.jsonl")
    assert summary.frames == len(events) == 181
    boxes = json.loads(clip.with_suffix(".boxes.json").read_text())["boxes"]
    hits = 0
    for index, truths in boxes.items():
        found = [finding["box"] for finding in events[int(index)]["findings"]]
        hits += any(iou(a, b) >= IOU_OF_A_HIT for a in found for b in truths)
    assert hits >= MIN_HITS


def iou(a: list[int], b: list[int]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    overlap = max(0, width) * max(0, height)
    areas = [(x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in (a, b)]
    return overlap / (sum(areas) - overlap)

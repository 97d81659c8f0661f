"""Tests that live video, replay, report and evaluation judge one recording in the same way."""

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from qlumen.realtime.cli import commands
from qlumen.realtime.sources.ffmpeg.container import ContainerSource

from support.media import write_video

RATE = 8
"""Frames per second of the recording, slow enough for every frame to be judged while it plays."""
FRAMES = 26
FIRST, STEP = 60, 4
ATTEMPTS = 5


@pytest.fixture(scope="module", params=[None, (1, 1)], ids=["BT.601", "BT.709"])
def recording(
    data_dir: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Path:
    """Write a real clip in slow motion, with a polyp and dark frames, on a wider black frame.

    It has both forms of a decoded image: converted immediately, and as planes.
    """
    clip = data_dir / "clips" / "ldpolypvideo_test101.mp4"
    images = []
    with ContainerSource(str(clip)) as source:
        for frame in source.frames():
            if frame.index >= FIRST and (frame.index - FIRST) % STEP == 0:
                wide = np.zeros((frame.size[1], frame.size[0] + 200, 3), np.uint8)
                wide[:, 120 : 120 + frame.size[0]] = frame.image
                images.append(wide)
    for index in range(14, 18):
        images[index][:] = 0
    file = tmp_path_factory.mktemp("one") / "clip.mp4"
    return write_video(file, images[:FRAMES], rate=Fraction(RATE), colour=request.param)


def run(*arguments: object) -> None:
    assert not commands.main([*map(str, arguments)], standalone_mode=False)


def run_alone(*arguments: object) -> None:
    """Run a command in a process of its own: live video sets up the whole interpreter."""
    code = "from qlumen.realtime.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def frames_of(events: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in events.read_text().splitlines()]
    return [line for line in lines if "frame" in line and "event" not in line]


KEYS = ("findings", "tracks", "condition")


@pytest.mark.data
def test_every_command_finds_the_same(recording: Path, tmp_path: Path) -> None:
    """Live video without left-out frames, a replay and a report give the same findings, tracks and
    conditions for each frame. `evaluate --clip` counts the same frames with findings."""
    live, replayed, reported = (tmp_path / f"{name}.jsonl" for name in ("live", "replay", "report"))
    summary, scores, boxes = (tmp_path / f"{name}.json" for name in ("live", "scores", "boxes"))
    synchronous = ("--set", "live.mode=synchronous", "--set", "live.wait_ms=1000")
    slow = ("--set", "live.max_age_ms=2000")
    for _ in range(ATTEMPTS):  # a busy machine may leave frames out
        live.unlink(missing_ok=True)
        run_alone("live", recording, "--events", live, "--json", summary, *synchronous, *slow)
        if not json.loads(summary.read_text())["drops"]:
            break
    causal = ("--set", "analysis.look_ahead=false")
    run("replay", recording, "--events", replayed, *causal)
    run("report", recording, "--events", reported, *causal)
    boxes.write_text('{"boxes": {"5": [[0, 0, 9, 9]]}}')
    run("evaluate", "--clip", recording, "--boxes", boxes, "--json", scores, *causal)
    assert json.loads(summary.read_text())["drops"] == {}
    shown = frames_of(live)
    assert len(shown) == FRAMES
    for one, two, three in zip(shown, frames_of(replayed), frames_of(reported), strict=True):
        assert one["annotated_frame"] == one["frame"]
        assert [{key: line[key] for key in KEYS} for line in (two, three)] == 2 * [
            {key: one[key] for key in KEYS}
        ]
    found = [bool(line["findings"]) for line in shown]
    assert json.loads(scores.read_text())["frames_with_findings"] == sum(found)
    assert 0 < sum(found) < FRAMES
    assert {"clear", "underexposed"} <= {line["condition"] for line in shown}

"""Measures how the cost grows with the length of a recording, in one long replay."""

import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import psutil

from support.scaling_axis import CLIP_FRAMES, AxisResult, Row, Setup

TIMES = (5, 10, 20, 40, 80)
"""Points of the replay in multiples of `--frames`."""
SAMPLE_SECONDS = 0.25
CHEAP = "recorder.crf=40"
REPLAY = "from qlumen.realtime.cli import main; main()"
FRAMES_AN_HOUR = 90_000
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Sample:
    """Holds the finished frames, the time, the processor time so far and the memory."""

    frames: int
    at_s: float
    cpu_s: float
    rss_mib: float


def length(setup: Setup) -> AxisResult:
    """Replay and record a long recording with events; measure memory, and time a frame since
    the last row. `length_mib_an_hour` is the growth of memory in the second half."""
    points = [times * setup.frames for times in TIMES]
    # More than the last point, so that the replay passes it before the end.
    rounds = points[-1] // CLIP_FRAMES + 2
    samples = _sample_replay(_repeat(setup.clip, setup.folder / "long.mp4", rounds), setup.folder)
    passed = [next(s for s in samples if s.frames >= point) for point in (1, *points)]
    rows = [_row(earlier, later) for earlier, later in pairwise(passed)]
    later_half = [s for s in samples if points[-1] / 2 <= s.frames <= points[-1]]
    figures = {"length_mib_an_hour": _mib_a_frame(later_half) * FRAMES_AN_HOUR}
    return AxisResult(rows, ("ms_a_frame", "cpu_ms", "rss_mib"), figures)


def _row(earlier: Sample, later: Sample) -> Row:
    frames = later.frames - earlier.frames
    return {
        "axis": "length",
        "size": later.frames,
        "ms_a_frame": 1000 * (later.at_s - earlier.at_s) / frames,
        "cpu_ms": 1000 * (later.cpu_s - earlier.cpu_s) / frames,
        "rss_mib": later.rss_mib,
    }


def _mib_a_frame(samples: list[Sample]) -> float:
    """Fit the growth by least squares."""
    frames, mib = [s.frames for s in samples], [s.rss_mib for s in samples]
    return float(np.polynomial.Polynomial.fit(frames, mib, 1).convert().coef[1])


def _repeat(clip: Path, target: Path, rounds: int) -> Path:
    """Write the clip `rounds` times, one after the other, with its packets as they are."""
    with av.open(str(clip)) as given, av.open(str(target), "w") as joined:
        video = given.streams.video[0]
        stream = joined.add_stream_from_template(video)
        for number in range(rounds):
            given.seek(0)
            for packet in given.demux(video):
                if packet.dts is None:  # the last, empty one
                    continue
                packet.pts += number * video.duration
                packet.dts += number * video.duration
                packet.stream = stream
                joined.mux(packet)
    return target


def _sample_replay(recording: Path, folder: Path) -> list[Sample]:
    """Replay it in another process, and take samples while it runs."""
    events = folder / "length.jsonl"
    command = [sys.executable, "-c", REPLAY, "replay", str(recording), "--set", CHEAP]
    command += ["--output", str(folder / "length.mp4"), "--events", str(events)]
    samples, frames = [], 0
    with events.open("w+b") as lines:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        watching = psutil.Process(process.pid)
        while process.poll() is None:
            frames += lines.read().count(b"\n")
            samples.append(_sample(watching, frames))
            time.sleep(SAMPLE_SECONDS)
    if process.returncode:
        raise SystemExit(f"qlumen replay ended with {process.returncode}")
    return samples


def _sample(process: psutil.Process, frames: int) -> Sample:
    with process.oneshot():
        cpu, memory = process.cpu_times(), process.memory_info()
    return Sample(frames, time.monotonic(), cpu.user + cpu.system, memory.rss / MIB)

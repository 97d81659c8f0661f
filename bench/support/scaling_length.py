"""How the cost grows with the length of a recording: the course of one long replay."""

import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import psutil

from support.scaling_axis import CLIP_FRAMES, Found, Given, Row

TIMES = (5, 10, 20, 40, 80)
"""The points of the course, times `--frames`."""
SAMPLE_SECONDS = 0.25
CHEAP = "recorder.crf=40"
REPLAY = "from qlumen.realtime.cli import main; main()"
FRAMES_AN_HOUR = 90_000
MIB = 2**20


@dataclass(frozen=True, slots=True)
class Sample:
    """Attributes:
    frames: that are done. at_s: when. cpu_s: used so far. rss_mib: resident.
    """

    frames: int
    at_s: float
    cpu_s: float
    rss_mib: float


def length(given: Given) -> Found:
    """Frames of a recording that is replayed and recorded, with events; time a frame since the
    size before, and memory. `length_mib_an_hour` is what memory grows by in the later half."""
    points = [times * given.frames for times in TIMES]
    # More than the last point, so that it is passed before the end.
    rounds = points[-1] // CLIP_FRAMES + 2
    samples = _watched(_repeated(given.clip, given.folder / "long.mp4", rounds), given.folder)
    passed = [next(s for s in samples if s.frames >= point) for point in (1, *points)]
    rows = [_row(earlier, later) for earlier, later in pairwise(passed)]
    later_half = [s for s in samples if points[-1] / 2 <= s.frames <= points[-1]]
    figures = {"length_mib_an_hour": _mib_a_frame(later_half) * FRAMES_AN_HOUR}
    return Found(rows, ("ms_a_frame", "cpu_ms", "rss_mib"), figures)


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
    """Least squares."""
    frames, mib = [s.frames for s in samples], [s.rss_mib for s in samples]
    return float(np.polynomial.Polynomial.fit(frames, mib, 1).convert().coef[1])


def _repeated(clip: Path, target: Path, rounds: int) -> Path:
    """The clip so many times, one after the other, its packets as they are."""
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


def _watched(recording: Path, folder: Path) -> list[Sample]:
    """Replay it in a process of its own, sampled while it runs."""
    events = folder / "length.jsonl"
    command = [sys.executable, "-c", REPLAY, "replay", str(recording), "--set", CHEAP]
    command += ["--output", str(folder / "length.mp4"), "--events", str(events)]
    samples, frames = [], 0
    with events.open("w+b") as lines:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            frames += lines.read().count(b"\n")
            samples.append(_sample(watched, frames))
            time.sleep(SAMPLE_SECONDS)
    if process.returncode:
        raise SystemExit(f"qlumen replay ended with {process.returncode}")
    return samples


def _sample(watched: psutil.Process, frames: int) -> Sample:
    with watched.oneshot():
        cpu, memory = watched.cpu_times(), watched.memory_info()
    return Sample(frames, time.monotonic(), cpu.user + cpu.system, memory.rss / MIB)

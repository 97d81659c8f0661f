"""Measures the memory of a long replay from outside: its peak and its growth.

    python bench/memory.py [--json FILE] [--frames N] [--source FILE]

It replays the built-in scene at 1080p, or FILE, with recorder and events in another process.
Growth compares the medians of the second and the last tenth of the samples, and fits a line to
all but the first tenth. The last seconds, in which the replay closes, count only for the peak.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil

from support.common import parser, report

SAMPLE_SECONDS = 0.5
CLOSING_SAMPLES = 4
MIB = 2**20
SCENE = "scene"
SCENE_SIZE_PX = 1920, 1080


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--frames", type=int, default=5000)
    arguments.add_argument("--source", default=SCENE, help="a recording to replay instead")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        samples = resident_mib(replay_command(options.source, folder, options.frames))
        frames = json.loads((folder / "s.json").read_text(encoding="utf-8"))["frames"]
    name = "replay_recording_" + ("1080p" if options.source == SCENE else "file")
    row = {"name": name, "frames": frames, **figures(samples, frames)}
    report([row], {"late_over_early": row["late_mib"] / row["early_mib"]}, options.json)


def figures(samples: Sequence[float], frames: int) -> dict[str, float]:
    """Return peak, early and late memory in MiB, and the slope, of a run of `frames` frames."""
    tenth, running = len(samples) // 10, samples[:-CLOSING_SAMPLES]
    if tenth <= CLOSING_SAMPLES:
        raise SystemExit(f"{frames} frames are too few to measure growth; take a longer run")
    per_1000 = len(samples) / frames * 1000
    return {
        "samples": len(samples),
        "peak_mib": max(samples),
        "early_mib": statistics.median(running[tenth : 2 * tenth]),
        "late_mib": statistics.median(running[-tenth:]),
        "slope_mib_per_1000_frames": slope(running[tenth:]) * per_1000,
        "second_half_slope_mib_per_1000_frames": slope(running[len(running) // 2 :]) * per_1000,
    }


def slope(samples: Sequence[float]) -> float:
    """Return the slope by least squares, a sample."""
    fit = np.polynomial.Polynomial.fit(range(len(samples)), samples, 1)
    return float(fit.convert().coef[1])


def replay_command(source: str, folder: Path, frames: int) -> list[str]:
    code = "from qlumen.realtime.cli import main; main()"
    width, height = SCENE_SIZE_PX
    settings = {"scene.width": width, "scene.height": height, "scene.frames": frames}
    command = [sys.executable, "-c", code, "replay", source, "--limit", str(frames)]
    command += ["--output", str(folder / "o.mp4"), "--events", str(folder / "e.jsonl")]
    command += ["--json", str(folder / "s.json")]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    return command


def resident_mib(command: list[str]) -> list[float]:
    """Run `command` and sample its resident memory."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    watching, samples = psutil.Process(process.pid), []
    while process.poll() is None:
        samples.append(watching.memory_info().rss / MIB)
        time.sleep(SAMPLE_SECONDS)
    if process.returncode:
        raise SystemExit(f"replay ended with {process.returncode}")
    return samples


if __name__ == "__main__":
    main()

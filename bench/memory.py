"""Memory of a long replay, sampled from outside: its peak, and whether it grows.

    python bench/memory.py [--json FILE] [--frames N]

Replays the built-in scene at 1080p with recorder and events in a process of its own. Growth
compares the medians of the second and the last tenth of the samples.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from common import parser, report

SAMPLE_SECONDS = 0.5
MIB = 2**20


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--frames", type=int, default=5000)
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        samples = resident_mib(replay_command(Path(folder), options.frames))
    tenth = max(1, len(samples) // 10)
    early = statistics.median(samples[tenth : 2 * tenth])
    late = statistics.median(samples[-tenth:])
    row = {
        "name": "replay_recording_1080p",
        "frames": options.frames,
        "samples": len(samples),
        "peak_mib": max(samples),
        "early_mib": early,
        "late_mib": late,
    }
    report([row], {"late_over_early": late / early}, options.json)


def replay_command(folder: Path, frames: int) -> list[str]:
    code = "from qlumen.realtime.cli import main; main()"
    settings = {"scene.width": 1920, "scene.height": 1080, "scene.frames": frames}
    command = [sys.executable, "-c", code, "replay", "scene"]
    command += ["--output", str(folder / "o.mp4"), "--events", str(folder / "e.jsonl")]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    return command


def resident_mib(command: list[str]) -> list[float]:
    """Resident memory of `command` while it runs, sampled."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    watched, samples = psutil.Process(process.pid), []
    while process.poll() is None:
        samples.append(watched.memory_info().rss / MIB)
        time.sleep(SAMPLE_SECONDS)
    if process.returncode:
        raise SystemExit(f"replay ended with {process.returncode}")
    return samples


if __name__ == "__main__":
    main()

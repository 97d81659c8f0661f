"""Measures how long `qlumen live` takes from its start to the first picture and first findings.

    python bench/start.py [--json FILE] [--rounds N] [--against LINKS]

It plays a recording, once with an empty cache of compiled code, as after an installation, and then
`--rounds` times with that cache (medians). `picture` is the first line of a frame in the events,
`findings` the first line with the AI on. Processor seconds are those of the process until then: on
a busy machine compare these. With --against, a version in another folder runs in turns with this
one; LINKS is a folder with a package `qlumen` as `make links` builds it.
The parts are the processor seconds of one more start, step by step without a session, with an
empty cache and with a full one.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from support.common import Row, parser, report
from support.recording import record_scene

CLIP_FRAMES = 75
LOOK_S = 0.002
PATIENCE_S = 300.0
AFTER_S = 1.0
STEPS = "--steps"


def main() -> None:
    if STEPS in sys.argv:
        print(json.dumps(run_steps(Path(sys.argv[-1]))))
        return
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=3, help="starts with a full cache")
    arguments.add_argument("--against", type=Path, metavar="LINKS", help="another version")
    options = arguments.parse_args()
    versions = {"now": None} | ({"before": options.against} if options.against else {})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = record_scene(folder / "scene.mp4", CLIP_FRAMES)
        runs: dict[tuple[str, str], list[dict[str, float]]] = {}
        for turn in range(options.rounds + 1):
            for version, links in versions.items():
                cache = "full" if turn else "empty"
                started = measure_start(clip, folder / version, links)
                runs.setdefault((version, cache), []).append(started)
        rows: list[Row] = [
            {"name": f"{version}_{cache}_cache", **median(found)}
            for (version, cache), found in runs.items()
        ]
        for cache in ("empty", "full"):
            rows.append({"name": f"processor_s_{cache}_cache", **ask_steps(clip, folder / "steps")})
    ratios = {}
    if options.against:
        for cache in ("empty", "full"):
            now, before = (median(runs[version, cache]) for version in ("now", "before"))
            ratios |= {f"{cache}_cache_{key}": now[key] / before[key] for key in now}
    report(rows, ratios, options.json)


def measure_start(clip: Path, folder: Path, links: Path | None) -> dict[str, float]:
    """Start `qlumen live`; return seconds and processor seconds until picture and findings."""
    folder.mkdir(exist_ok=True)
    events = folder / "events.jsonl"
    events.unlink(missing_ok=True)
    code = "from qlumen.realtime.cli import main; main()"
    command = [sys.executable, "-c", code, "live", str(clip), "--loop", "--events", str(events)]
    environment = with_cache(folder) | ({"PYTHONPATH": str(links)} if links else {})
    started = time.monotonic()
    messages = folder / "messages.txt"
    with messages.open("wb") as told:
        process = subprocess.Popen(command, env=environment, stdout=told, stderr=told)
    watched, found = psutil.Process(process.pid), {}
    try:
        for key, mark in (("picture", b'"findings":'), ("findings", b'"ai":"on"')):
            while not (events.exists() and mark in events.read_bytes()):
                if process.poll() is not None or time.monotonic() > started + PATIENCE_S:
                    raise SystemExit(f"qlumen live showed no {key}: {messages.read_text()}")
                time.sleep(LOOK_S)
            found[f"{key}_s"] = time.monotonic() - started
            used = watched.cpu_times()
            found[f"{key}_processor_s"] = used.user + used.system
        time.sleep(AFTER_S)
    finally:
        process.terminate()
        process.wait()
    return found


def ask_steps(clip: Path, folder: Path) -> dict[str, float]:
    """Take the steps of a start in another process."""
    folder.mkdir(exist_ok=True)
    command = [sys.executable, __file__, STEPS, str(clip)]
    output = subprocess.run(command, env=with_cache(folder), check=True, capture_output=True)
    steps: dict[str, float] = json.loads(output.stdout.splitlines()[-1])
    return steps


def run_steps(clip: Path) -> dict[str, float]:
    """Open a session that waits until it is warm; return the processor seconds of each step."""
    used: dict[str, float] = {}

    def lap(name: str) -> None:
        used[name] = time.process_time() - sum(used.values())

    lap("python")
    from rich.console import Console

    import qlumen.realtime.commands.live  # noqa: F401
    from qlumen.realtime.config.settings import load_settings
    from qlumen.realtime.live.annotator import Annotator
    from qlumen.realtime.live.outputs import LiveOutputs
    from qlumen.realtime.live.session import LiveSession

    class Timed(Annotator):
        def __init__(self, *arguments: Any) -> None:
            lap("source_and_its_kernels")
            super().__init__(*arguments)
            lap("network")

        def warm_up(self, frame_size: tuple[int, int]) -> None:
            super().warm_up(frame_size)
            lap("kernels_of_analysis")

    lap("imports")
    settings = load_settings(None, ["live.mode=synchronous"])
    with LiveSession(str(clip), LiveOutputs(), settings, Console(quiet=True), Timed):
        lap("kernels_of_display")
    return used


def with_cache(folder: Path) -> dict[str, str]:
    return os.environ | {"QLUMEN_CACHE": str(folder / "cache")}


def median(found: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(one[key] for one in found) for key in found[0]}


if __name__ == "__main__":
    main()

"""Measures four 720p streams of 25 frames/s in one process, with a fault in one each minute.

    python bench/rooms.py [--json FILE] [--seconds N] [--every N] [--fault N] [--rooms N]
                          [--set KEY=VALUE ...]

It runs `qlumen live` in another process on cameras that this one serves (MJPEG of the built-in
scene), with events and metrics of each room. Every N seconds one room has a fault, in turns:
camera cut, frozen, garbage, another size, a storm of viewers, the AI restarted; at last the disk
is full for the one recording. All figures are of the other rooms, from before to during the fault,
in one run: ratios can be compared, times on a shared machine cannot.
`judged_least_of_mean` is the least judged room over the mean of all, over the whole run.
"""

import json
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection, connect

from qlumen.realtime.pixels.jpeg import jpeg_bytes
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource

from support.common import parser, report
from support.faulty_camera import FAULTS, FaultyCamera

SIZE, RESIZED = (1280, 720), (640, 480)
RATE = 25
PICTURES = 100
JPEG_QUALITY = 85
VIEWERS = 30
METRICS, PAGE = 9923, 7923
START_SECONDS = 180
LIVE = "from qlumen.realtime.cli import main; main()"
MORE_FAULTS = ("viewers", "restart_ai")


@dataclass(frozen=True, slots=True)
class Count:
    """Holds what one room has counted until `at_s`."""

    at_s: float
    arrived: float
    shown: float
    judged: float
    delay_s: float


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--seconds", type=float, default=180.0)
    arguments.add_argument("--every", type=float, default=60.0, help="seconds between two faults")
    arguments.add_argument("--fault", type=float, default=10.0, help="seconds of a fault")
    arguments.add_argument("--rooms", type=int, default=4)
    arguments.add_argument("--set", action="append", default=[], help="a setting of qlumen live")
    options = arguments.parse_args()
    names = [f"room{number}" for number in range(options.rooms)]
    pictures, resized = make_pictures(*SIZE), make_pictures(*RESIZED)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        cameras = {
            name: stack.enter_context(FaultyCamera(pictures, resized, RATE)) for name in names
        }
        process = stack.enter_context(run_live(cameras, folder, options.set))
        wait_for_judgement(names, process)
        rows, begun = [], read_counts()
        for number in range(int(options.seconds // options.every)):
            fault = (*FAULTS, *MORE_FAULTS)[number % (len(FAULTS) + len(MORE_FAULTS))]
            name = names[number % len(names)]
            rows.append(measure(fault, name, cameras[name], options.every, options.fault))
        whole, ended = rates(begun, read_counts()), read_counts()
        rows.append(measure("disk_full", names[0], process, options.every, options.fault))
        process.send_signal(signal.SIGTERM)
        process.wait()
        summary = json.loads((folder / "summary.json").read_text())["rooms"]
    judged = [whole[name].judged for name in names]
    figures = {
        "judged_per_s_least": min(judged),
        "judged_least_of_mean": min(judged) / statistics.mean(judged),
        "shown_share": sum(ended[name].shown for name in names)
        / sum(ended[name].arrived for name in names),
        "delay_ms_mean": 1000 * statistics.mean(whole[name].delay_s for name in names),
        "delay_ratio_worst": max(row["others_delay_ratio"] for row in rows),
        "judged_ratio_worst": min(row["others_judged_ratio"] for row in rows),
    }
    ends = [
        {
            "name": row["room"],
            **{key: row[key] for key in ("arrived", "shown", "ai_restarts", "missed_deadlines")},
            "raw_delay_ms_p99": row["raw_delay_ms"]["p99"],
            "error": row["error"] or "",
        }
        for row in summary
    ]
    report([*rows, *ends], {}, options.json, figures)


def make_pictures(width: int, height: int) -> list[bytes]:
    """Render the scene as JPEG."""
    source = SceneSource(SceneSettings(width=width, height=height, frame_count=PICTURES))
    return [jpeg_bytes(frame.image, JPEG_QUALITY) for frame in source.frames()]


@contextmanager
def run_live(
    cameras: dict[str, FaultyCamera], folder: Path, overrides: list[str]
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the rooms; the first one also records."""
    rooms = [
        {"name": name, "source": camera.url, "events": str(folder / f"{name}.jsonl")}
        for name, camera in cameras.items()
    ]
    rooms[0]["record"] = str(folder / "recording.mp4")
    file = folder / "rooms.yaml"
    file.write_text(yaml.safe_dump({"rooms": rooms, "view": {"port": PAGE}}))
    command = [sys.executable, "-c", LIVE, "live", "--config", str(file), "--view"]
    command += ["--metrics", str(METRICS), "--json", str(folder / "summary.json")]
    for override in overrides:
        command += ["--set", override]
    with (folder / "terminal.txt").open("wb") as terminal:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=terminal)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def wait_for_judgement(names: list[str], process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError):
            counts = read_counts()
            if all(name in counts and counts[name].judged > RATE for name in names):
                return
        time.sleep(1)
    raise SystemExit("the rooms did not start")


def measure(
    fault: str,
    name: str,
    target: "FaultyCamera | subprocess.Popen[bytes]",
    every_s: float,
    fault_s: float,
) -> dict[str, str | float]:
    """Wait, put the fault on, and compare the other rooms during it with the time before it."""
    start = read_counts()
    time.sleep(every_s - fault_s)
    before = read_counts()
    with inject(fault, name, target):
        time.sleep(fault_s)
        during = read_counts()
    quiet, troubled = rates(start, before), rates(before, during)
    others = [other for other in quiet if other != name]

    def ratio(value: str) -> float:
        was, became = (
            statistics.mean(getattr(each[other], value) for other in others)
            for each in (quiet, troubled)
        )
        return became / was

    return {
        "name": f"{fault}_in_{name}",
        "others_judged_ratio": ratio("judged"),
        "others_shown_ratio": ratio("shown"),
        "others_delay_ratio": ratio("delay_s"),
        "others_judged_per_s": statistics.mean(troubled[other].judged for other in others),
    }


@contextmanager
def inject(
    fault: str, name: str, target: "FaultyCamera | subprocess.Popen[bytes]"
) -> Iterator[None]:
    """Keep the fault on during the block."""
    if isinstance(target, subprocess.Popen):
        recorded = max(path.stat().st_size for path in _recordings(target.pid))
        before = resource.prlimit(target.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(target.pid, resource.RLIMIT_FSIZE, (recorded, before[1]))
        yield
        resource.prlimit(target.pid, resource.RLIMIT_FSIZE, before)
    elif fault in FAULTS:
        target.fault = fault
        yield
        target.fault = None
    else:
        url = f"ws://127.0.0.1:{PAGE}/rooms/{name}/live/stream"
        with ExitStack() as stack:
            for _ in range(VIEWERS if fault == "viewers" else 1):
                with suppress(OSError, WebSocketException):
                    viewer: ClientConnection = stack.enter_context(connect(url, ping_interval=None))
            if fault == "restart_ai":
                viewer.send(json.dumps({"do": fault}))
            yield


def _recordings(pid: int) -> Iterator[Path]:
    """Yield the files that the process records to."""
    for opened in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            if opened.readlink().suffix == ".mp4":
                yield opened.readlink()


def read_counts() -> dict[str, Count]:
    """Read the counters of all rooms from the metrics."""
    url = f"http://127.0.0.1:{METRICS}/metrics"
    with urllib.request.urlopen(url, timeout=20) as answer:
        at_s, text = time.monotonic(), answer.read().decode()
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if (source := sample.labels.get("source")) is None:
                continue
            counts = found.setdefault(source, {})
            if sample.labels.get("stage", "inference") == "inference":
                counts[sample.name] = counts.get(sample.name, 0.0) + sample.value
    return {
        name: Count(
            at_s,
            counts["qlumen_frames_arrived_total"],
            counts["qlumen_frames_shown_total"],
            counts.get("qlumen_stage_seconds_count", 0.0),
            counts["qlumen_raw_delay_seconds_sum"],
        )
        for name, counts in found.items()
    }


def rates(first: dict[str, Count], last: dict[str, Count]) -> dict[str, Count]:
    """Return the counts per second between two readings, and the mean delay of a frame."""
    made = {}
    for name, one in first.items():
        two = last[name]
        span_s, shown = two.at_s - one.at_s, two.shown - one.shown
        made[name] = Count(
            span_s,
            (two.arrived - one.arrived) / span_s,
            shown / span_s,
            (two.judged - one.judged) / span_s,
            (two.delay_s - one.delay_s) / shown if shown else 0.0,
        )
    return made


if __name__ == "__main__":
    main()

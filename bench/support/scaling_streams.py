"""Measures how the cost grows with streams side by side, each in its own process.

    python bench/support/scaling_streams.py CLIP SECONDS

This runs one of the replays of `bench/scaling.py`: it opens and warms up everything, prints
`ready`, waits for a line, replays and records for SECONDS, and prints a line of JSON. All replays
begin when the last one is ready. Live streams run `qlumen live --metrics`. Their counters are
read a while after all are ready, and again some seconds later.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import psutil
from prometheus_client.parser import text_string_to_metric_families

from qlumen.realtime.config.settings import Settings
from qlumen.realtime.latency import NullRecorder
from qlumen.realtime.profiling.passes import WARM_UP_FRAMES
from qlumen.realtime.profiling.rig import Rig

from support.scaling_axis import AxisResult, Row, Setup, Trials

STREAMS = (1, 2, 4, 8)
SETTLE_SECONDS, SECONDS = 1.0, 6.0
PATIENCE_SECONDS = 120.0
ENOUGH = 0.95
"""Share of the most frames/s of any number of replays; beyond it more replays gain nothing."""
KEPT = 0.99
"""Share of the frames of live streams that must be kept."""
LIVE = "from qlumen.realtime.cli import main; main()"
COUNTERS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "arrived": ("qlumen_frames_arrived_total", {}),
    "shown": ("qlumen_frames_shown_total", {}),
    "late": ("qlumen_frames_late_total", {}),
    "fresh": ("qlumen_frames_fresh_total", {}),
    "unmasked": ("qlumen_frames_dropped_total", {"cause": "privacy_slow"}),
    "unwritten": ("qlumen_frames_dropped_total", {"cause": "recorder_slow"}),
    "delay_s": ("qlumen_raw_delay_seconds_sum", {}),
    "age_s": ("qlumen_annotation_age_seconds_sum", {}),
    "aged": ("qlumen_annotation_age_seconds_count", {}),
}
"""Metrics of a live stream, summed over all labels except these."""

Process = subprocess.Popen[str]


def main() -> None:
    clip, seconds = sys.argv[1:]
    with Rig(clip, Settings(), record=True) as rig:
        rig.run(NullRecorder(), WARM_UP_FRAMES)
        print("ready", flush=True)
        sys.stdin.readline()
        cpu_s = time.process_time()
        until_ns = time.monotonic_ns() + round(float(seconds) * 1e9)
        outcome = rig.run(NullRecorder(), sys.maxsize, until_ns=until_ns)
        cpu_s = time.process_time() - cpu_s
    print(json.dumps({"frames": outcome.frames, "seconds": outcome.seconds, "cpu_s": cpu_s}))


def streams(setup: Setup) -> AxisResult:
    """Measure replays with recording at full speed. The knee is the least number that together
    reaches nearly the most frames/s of any number."""
    rows = [_replays(setup.clip, count) for count in STREAMS]
    most = max(float(row["fps_of_all"]) for row in rows)
    knee = next(row for row in rows if float(row["fps_of_all"]) >= ENOUGH * most)
    figures = {"streams_knee": float(knee["size"]), "streams_knee_cores": float(knee["cores"])}
    return AxisResult(rows, ("fps_of_all", "ms_a_frame_of_one", "cpu_ms"), figures)


def live_streams(setup: Setup) -> AxisResult:
    """Measure live streams of 1080p at 25 frames/s that record, up to three knees. Up to them
    99% of the frames are shown from a source that is not late; are recorded; are shown with
    findings of the same frame or of the frame before."""
    trials = Trials(partial(_lives, setup), STREAMS)
    figures: dict[str, float] = {}
    knees = []
    for name in ("shown", "recorded", "fresh"):
        if knee := trials.knee(partial(_keeps, f"{name}_share"), near=1.0):
            figures |= knee.figures(f"live_streams_{name}")
            knees.append(figures[f"live_streams_{name}_knee"])
    return AxisResult(trials.rows, ("cores", "delay_ms"), figures, min(knees, default=STREAMS[-1]))


def _keeps(share: str, row: Row) -> bool:
    return float(row[share]) >= KEPT


def _replays(clip: Path, count: int) -> Row:
    command = [sys.executable, __file__, str(clip), str(SECONDS)]
    with _running([command] * count) as processes:
        for process in processes:
            _line(process)
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        results = [json.loads(_line(process)) for process in processes]
    fps = sum(result["frames"] / result["seconds"] for result in results)
    cpu_s = sum(result["cpu_s"] for result in results)
    return {
        "axis": "streams",
        "size": count,
        "fps_of_all": fps,
        "ms_a_frame_of_one": 1000 * count / fps,
        "cpu_ms": 1000 * cpu_s / sum(result["frames"] for result in results),
        "cores": sum(result["cpu_s"] / result["seconds"] for result in results),
    }


def _line(process: Process) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit("a replay ended early")
    return line


def _lives(setup: Setup, count: int) -> Row:
    """Measure `count` live streams; without all of them ready, no frame counts as shown."""
    ports = _free_ports(count)
    targets = [setup.folder / f"live-{count}-{number}.mp4" for number in range(count)]
    commands = [_live(setup.clip, *each) for each in zip(targets, ports, strict=True)]
    with _running(commands, stderr=subprocess.DEVNULL) as processes:
        try:
            ready = all(_ready(port) for port in ports)
            time.sleep(SETTLE_SECONDS)
            before = _read_counters(ports) if ready else {}
            cores = _cores(processes)
            after = _read_counters(ports) if ready else {}
        finally:
            for process in processes:
                process.send_signal(signal.SIGINT)
    for target in targets:
        target.unlink(missing_ok=True)
    counts = {name: after.get(name, 0.0) - before.get(name, 0.0) for name in COUNTERS}
    shown = counts["shown"]
    return {
        "axis": "live_streams",
        "size": count,
        "shown_share": _share(shown - counts["late"], counts["arrived"]),
        "recorded_share": _share(shown - counts["unmasked"] - counts["unwritten"], shown),
        "fresh_share": _share(counts["fresh"], shown),
        "delay_ms": 1000 * _share(counts["delay_s"], shown),
        "age_ms": 1000 * _share(counts["age_s"], counts["aged"]),
        "cores": cores,
    }


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _cores(processes: Sequence[Process]) -> float:
    """Wait `SECONDS` and return the processors that all processes use together."""
    watching = [psutil.Process(process.pid) for process in processes]

    def used_s() -> float:
        return sum(sum(process.cpu_times()[:2]) for process in watching)

    begun_s, before_s = time.monotonic(), used_s()
    time.sleep(SECONDS)
    return (used_s() - before_s) / (time.monotonic() - begun_s)


def _live(clip: Path, target: Path, port: int) -> list[str]:
    command = [sys.executable, "-c", LIVE, "live", str(clip), "--loop", "--record", str(target)]
    return [*command, "--metrics", str(port)]


@contextmanager
def _running(
    commands: Sequence[Sequence[str]], stderr: int | None = None
) -> Iterator[list[Process]]:
    """Start all processes; each must end when its input ends, or on a signal."""
    pipe = subprocess.PIPE
    paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    processes = [
        subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=stderr, text=True, env=environment
        )
        for command in commands
    ]
    try:
        yield processes
    finally:
        for process in processes:
            _end(process)


def _end(process: Process) -> None:
    try:
        process.communicate(timeout=PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


def _free_ports(count: int) -> list[int]:
    """Find free ports; all are held until the last one is found, so each is different."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _ready(port: int) -> bool:
    """Wait until the stream is ready, up to a limit."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            _get(port, "ready")
        except OSError:  # it does not listen yet, or the answer is 503
            time.sleep(0.1)
        else:
            return True
    return False


def _read_counters(ports: Iterable[int]) -> dict[str, float]:
    """Return the sums of the counters of all streams."""
    texts = [_get(port, "metrics") for port in ports]
    families = [family for text in texts for family in text_string_to_metric_families(text)]
    samples = [sample for family in families for sample in family.samples]
    return {
        key: sum(
            sample.value
            for sample in samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )
        for key, (name, labels) in COUNTERS.items()
    }


def _get(port: int, path: str) -> str:
    url = f"http://127.0.0.1:{port}/{path}"
    with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
        return str(answer.read().decode())


if __name__ == "__main__":
    main()

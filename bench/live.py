"""Measures live video at 1080p and 25 frames/s with recording: delays, drops, cores, memory.

    python bench/live.py [--json FILE] [--seconds N] [--runs N] [--clip FILE] [--busy N]
                         [--set KEY=VALUE ...]

It runs `qlumen live` in another process on a looped recording, with recorder and events. The
recording shows the built-in scene, unless --clip names one. It samples memory and processor time
from outside. With --busy, N other programs each use a whole core. Beside it runs a control, which
only copies the same frames: what the control's delays show, the machine does to everybody.
Figures are medians of the runs, none left out; the file has each run's histograms.
`recorded` and `logged` are frames counted in the written files.
`raw_delay` runs from a frame complete in memory until every output has it with its overlay.
`annotation_age` runs from the grab of the frame on which the findings were made until they are
shown on a later frame.
`stolen` is processor time that the host gave to others, as a share of all cores; its maximum is
over half a second.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass
from itertools import pairwise
from operator import truediv
from pathlib import Path
from typing import Any

import av
import psutil

from support.common import parser, report
from support.recording import record_scene

CLIP_FRAMES = 500
SAMPLE_SECONDS = 0.5
COURSE = 20
MIB = 2**20
CORES = psutil.cpu_count()
DELAYS = ("p50", "p99", "p99_9", "max")
CONTROL = Path(__file__).parent / "support" / "control.py"


@dataclass(frozen=True, slots=True)
class Sample:
    """Holds a sample `seconds` after the start; `anonymous_mib` is `rss_mib` without files, and
    `stolen_seconds` those of all cores since the machine's start."""

    seconds: float
    rss_mib: float
    anonymous_mib: float
    cpu_seconds: float
    threads: int
    files: int
    stolen_seconds: float


@dataclass(frozen=True, slots=True)
class Run:
    """Holds the results of one run."""

    rows: list[dict[str, Any]]
    figures: dict[str, float]
    histograms: dict[str, str]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--seconds", type=float, default=180.0)
    arguments.add_argument("--runs", type=int, default=1)
    arguments.add_argument("--clip", type=Path, help="a 1080p recording at 25 frames/s")
    arguments.add_argument("--busy", type=int, default=0, help="number of busy programs")
    arguments.add_argument("--set", action="append", default=[], help="a setting of qlumen live")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        clip = options.clip or record_scene(Path(name) / "scene.mp4", CLIP_FRAMES)
        runs = [measure(clip, options) for _ in range(options.runs)]
    figures = {name: statistics.median(r.figures[name] for r in runs) for name in runs[0].figures}
    kept = {"runs": [{"figures": run.figures, "histograms": run.histograms} for run in runs]}
    report([row for run in runs for row in run.rows], {}, options.json, figures, kept)


def measure(clip: Path, options: Namespace) -> Run:
    """Run live video and the control once."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        summary_file = folder / "summary.json"
        command = live_command(clip, folder, summary_file, options.seconds, options.set)
        with busy_programs(options.busy), Control(clip) as control:
            samples = sample_run(command)
        summary = json.loads(summary_file.read_text(encoding="utf-8"))
        recording = (folder / "live.mp4").stat().st_size / MIB
        recorded, logged = packet_count(folder / "live.mp4"), frame_lines(folder / "events.jsonl")
    running = [sample for sample in samples if sample.seconds > samples[-1].seconds / 3]
    row = {
        "name": "live_recording_1080p25",
        "seconds": summary["seconds"],
        "busy_programs": options.busy,
        "arrived": summary["arrived"],
        "shown": summary["shown"],
        "recorded": recorded,
        "logged": logged,
        "missed_deadlines": summary["missed_deadlines"],
        **{f"dropped_{cause}": count for cause, count in summary["drops"].items()},
        "cpu_share_of_machine": cpu_share(running),
        "rss_mib_at_third": near(samples, 1 / 3).rss_mib,
        "rss_mib_at_end": near(samples, 1).rss_mib,
        "threads_growth": near(samples, 1).threads - near(samples, 1 / 3).threads,
        "files_growth": near(samples, 1).files - near(samples, 1 / 3).files,
        "recording_mib": recording,
    }
    course = [
        {"name": f"at_{share:.2f}_of_the_time", **asdict(near(samples, share))}
        for share in (step / COURSE for step in range(1, COURSE + 1))
    ]
    stages = [{"name": stage, **row} for stage, row in summary["stages_ms"].items()]
    histograms = summary["histograms"] | {"control_delay": control.result["histogram"]}
    return Run(
        [row, *course, *stages], figures_of(summary, control.result["ms"], samples), histograms
    )


def live_command(
    clip: Path, folder: Path, summary: Path, seconds: float, overrides: list[str]
) -> list[str]:
    code = "from qlumen.realtime.cli import main; main()"
    command = [sys.executable, "-c", code, "live", str(clip), "--loop"]
    command += ["--record", str(folder / "live.mp4"), "--events", str(folder / "events.jsonl")]
    command += ["--json", str(summary), "--seconds", str(seconds)]
    for override in overrides:
        command += ["--set", override]
    return command


@contextmanager
def busy_programs(count: int) -> Iterator[None]:
    """Run processes of ordinary priority that never rest."""
    command = [sys.executable, "-c", "while True: pass"]
    running = [subprocess.Popen(command) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


class Control:
    """Runs `support/control.py` during the block; `result` is what it printed, afterwards."""

    def __init__(self, clip: Path) -> None:
        self._command = [sys.executable, str(CONTROL), str(clip)]
        self.result: dict[str, Any] = {}

    def __enter__(self) -> "Control":
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self.result = json.loads(self._process.communicate()[0])


def sample_run(command: list[str]) -> list[Sample]:
    """Run the command and sample it until it ends."""
    started = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    watching, samples = psutil.Process(process.pid), []
    while process.poll() is None:
        with watching.oneshot():
            cpu, memory = watching.cpu_times(), watching.memory_info()
            samples.append(
                Sample(
                    time.monotonic() - started,
                    memory.rss / MIB,
                    (memory.rss - memory.shared) / MIB,
                    cpu.user + cpu.system,
                    watching.num_threads(),
                    watching.num_fds(),
                    getattr(psutil.cpu_times(), "steal", 0.0),
                )
            )
        time.sleep(SAMPLE_SECONDS)
    if process.returncode:
        raise SystemExit(f"qlumen live ended with {process.returncode}")
    while samples[-1].threads < 0.9 * samples[len(samples) // 2].threads:
        samples.pop()  # the process was closing
    return samples


def packet_count(recording: Path) -> int:
    """Count the video packets in the file."""
    with av.open(str(recording)) as container:
        return sum(1 for packet in container.demux(video=0) if packet.size)


def frame_lines(events: Path) -> int:
    """Count the lines of frames, without other events."""
    with events.open(encoding="utf-8") as lines:
        return sum(1 for line in lines if "findings" in json.loads(line))


def figures_of(
    summary: dict[str, Any], control: dict[str, float], samples: list[Sample]
) -> dict[str, float]:
    raw, age = summary["raw_delay_ms"], summary["annotation_age_ms"]
    stolen = [later.stolen_seconds - one.stolen_seconds for one, later in pairwise(samples)]
    spans = [later.seconds - one.seconds for one, later in pairwise(samples)]
    return {
        **{f"raw_delay_ms_{name}": raw[name] for name in DELAYS},
        **{f"control_delay_ms_{name}": control[name] for name in DELAYS},
        **{f"above_control_ms_{name}": raw[name] - control[name] for name in DELAYS},
        "annotation_age_ms_p50": age["p50"],
        "annotation_age_ms_p99": age["p99"],
        "shown_share": summary["shown"] / summary["arrived"],
        "fresh_share": summary["fresh"] / summary["shown"],
        "rss_growth": near(samples, 1).rss_mib / near(samples, 1 / 3).rss_mib,
        "stolen_share": sum(stolen) / sum(spans) / CORES,
        "stolen_share_max": max(map(truediv, stolen, spans)) / CORES,
    }


def near(samples: list[Sample], share: float) -> Sample:
    """Return medians of the twentieth of the samples that ends at this share of the time."""
    width = max(1, len(samples) // COURSE)
    end = min(len(samples), max(width, round(share * len(samples))))
    columns = zip(*(astuple(sample) for sample in samples[end - width : end]), strict=True)
    return Sample(*(statistics.median_low(column) for column in columns))


def cpu_share(samples: list[Sample]) -> float:
    """Return the share of all cores."""
    first, last = samples[0], samples[-1]
    used = last.cpu_seconds - first.cpu_seconds
    return used / (last.seconds - first.seconds) / CORES


if __name__ == "__main__":
    main()

"""qlumen against what people use today, on the same recording and machine, in one run.

    python bench/race.py [--json FILE] [--frames N] [--rounds N] [--clip FILE] [--peers DIR]

Contestants are described in `bench/peers.py`; each runs in a process of its own, all in turns,
the order reversed every other round. DIR is where peers are installed, aside from qlumen:

    pip install --no-deps --target DIR ultralytics ultralytics-thop supervision defusedxml \\
        pydeprecate torchvision segmentation-models-pytorch timm

(ultralytics is AGPL, so it is no dependency of anything here.) A peer that is not there, or
cannot be prepared, is left out, with the reason. `start_s` runs from the start of the process
until one frame is drawn and the output closed; `cpu_ms` is processor time a frame without that
start; `peak_mib` the largest resident memory. Ratios `qlumen_over_...` are frames per second.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from peers import RUNS, SIZE_PX

from common import parser, report
from recording import record_scene

FEW_FRAMES = {"eager_unet": 12, "onnx_unet": 24}
"""Of contestants that take over half a second a frame."""
LIMIT_SECONDS = 1800
HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Run:
    """Attributes:
    result: what the contestant printed. wall_s, cpu_s: of its process.
    """

    result: dict[str, float]
    wall_s: float
    cpu_s: float


class FailedError(Exception):
    """A contestant did not come to its end."""


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--frames", type=int, default=250, help="a round")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--clip", type=Path, help="a recording to take instead of the scene")
    arguments.add_argument("--peers", type=Path, help="where peers are installed")
    arguments.add_argument("--only", nargs="*", choices=sorted(RUNS), help="some of them")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        race = Race(folder, options.clip, options.frames, options.peers)
        runs = race.run(options.only or list(RUNS), options.rounds)
        rows = [race.row(contestant, found) for contestant, found in runs.items()]
    rows += [{"name": left, "left_out": reason} for left, reason in race.left_out.items()]
    report(rows, ratios(rows), options.json)


class Race:
    """Attributes:
    left_out: contestants that are not there or failed, with the reason.
    """

    def __init__(self, folder: Path, clip: Path | None, frames: int, peers: Path | None) -> None:
        self.left_out: dict[str, str] = {}
        self._folder, self._frames = folder, frames
        paths = [str(peers)] if peers else []
        known = os.environ.get("PYTHONPATH")
        self._environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([*([known] if known else []), *paths]),
            "YOLO_CONFIG_DIR": str(folder),
            "YOLO_AUTOINSTALL": "false",
        }
        self._clip = clip or record_scene(folder / "scene.mp4", frames)

    def run(self, names: list[str], rounds: int) -> dict[str, list[Run]]:
        """First one frame each, for the start; then the rounds."""
        there = [name for name in names if self._prepared(name)]
        starts = {name: run for name in there if (run := self._tried(name, 1))}
        runs = {name: [start] for name, start in starts.items()}
        for number in range(rounds):
            order = list(runs) if number % 2 == 0 else list(runs)[::-1]
            for name in order:
                run = self._tried(name, min(self._frames, FEW_FRAMES.get(name, self._frames)))
                if run is None:
                    del runs[name]
                else:
                    runs[name].append(run)
        return runs

    def row(self, name: str, runs: list[Run]) -> dict[str, str | float]:
        """Medians of the rounds."""
        start, *rounds = runs
        results = [run.result for run in rounds]
        row: dict[str, str | float] = {
            "name": name,
            "fps": statistics.median(r["frames"] / r["seconds"] for r in results),
            "p50_ms": statistics.median(r["p50"] for r in results),
            "p99_ms": statistics.median(r["p99"] for r in results),
            "cpu_ms": statistics.median(_cpu_ms(run, start) for run in rounds),
            "peak_mib": statistics.median(r["peak_mib"] for r in results),
            "start_s": start.wall_s,
            "frames": results[0]["frames"],
            "settings": " ".join((RUNS[name].__doc__ or "").split()),
        }
        if "age_p50" in results[0]:
            row["age_p50_ms"] = statistics.median(r["age_p50"] for r in results)
            row["age_p99_ms"] = statistics.median(r["age_p99"] for r in results)
        return row

    def _tried(self, name: str, frames: int) -> Run | None:
        print(f"{name}: {frames} frames", file=sys.stderr)
        try:
            return self._started(name, frames)
        except FailedError as error:
            self.left_out[name] = str(error)
            return None

    def _started(self, name: str, frames: int) -> Run:
        command = [sys.executable, str(HERE / "peers.py"), name, str(self._clip)]
        begun = time.monotonic()
        with (self._folder / "stderr").open("w+b") as errors:
            process = subprocess.Popen(
                [*command, str(self._folder), str(frames)],
                stdout=subprocess.PIPE, stderr=errors, env=self._environment,
            )  # fmt: skip
            assert process.stdout is not None
            output = process.stdout.read()
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            wall_s = time.monotonic() - begun
            if status:
                errors.seek(0)
                lines = errors.read().decode(errors="replace").strip().splitlines()
                raise FailedError(lines[-1] if lines else f"exit code {process.returncode}")
        result = json.loads(output.splitlines()[-1])
        return Run(result, wall_s, used.ru_utime + used.ru_stime)

    def _prepared(self, name: str) -> bool:
        code = PREPARATIONS.get(name)
        if code is None:
            return True
        command = [sys.executable, "-c", code, str(self._folder), str(SIZE_PX)]
        environment = self._environment | {
            "PYTHONPATH": f"{HERE}{os.pathsep}{self._environment['PYTHONPATH']}"
        }
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=LIMIT_SECONDS
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            self.left_out[name] = lines[-1] if lines else f"exit code {done.returncode}"
        return done.returncode == 0


ONNX = """
import sys, torch
from pathlib import Path
from classic_unet import ClassicUNet
size = int(sys.argv[2])
network = ClassicUNet().eval()
torch.onnx.export(network, (torch.zeros(1, 3, size, size),), Path(sys.argv[1]) / "unet.onnx")
"""
SMP = """
import sys, torch
import torchvision_operators
torchvision_operators.declare()
import openvino as ov
import segmentation_models_pytorch as smp
from pathlib import Path
size = int(sys.argv[2])
network = smp.Unet("resnet34", encoder_weights=None, classes=1).eval()
example = torch.zeros(1, 3, size, size)
model = ov.convert_model(network, example_input=example, input=[1, 3, size, size])
ov.save_model(model, Path(sys.argv[1]) / "smp.xml", compress_to_fp16=False)
"""
YOLO = """
import sys
import torchvision_operators
torchvision_operators.declare()
from pathlib import Path
from ultralytics import YOLO
model = YOLO("yolo26n-seg.yaml")
model.save(Path(sys.argv[1]) / "yolo.pt")
YOLO(Path(sys.argv[1]) / "yolo.pt").export(format="openvino", imgsz=int(sys.argv[2]))
"""
PREPARATIONS = {
    "onnx_unet": ONNX,
    "smp_openvino": SMP,
    "yolo": YOLO,
    "supervision": "import supervision",
}
"""Programs that write what a contestant needs into a folder."""


def ratios(rows: list[dict[str, str | float]]) -> dict[str, float]:
    fps = {str(row["name"]): float(row["fps"]) for row in rows if "fps" in row}
    ours = fps.get("qlumen_replay")
    if ours is None:
        return {}
    return {
        f"qlumen_over_{name}": ours / theirs
        for name, theirs in fps.items()
        if not name.startswith("qlumen_")
    }


def _cpu_ms(run: Run, start: Run) -> float:
    """A frame's, without what the process needs to start and to process its first one."""
    return 1000 * (run.cpu_s - start.cpu_s) / max(1.0, run.result["frames"] - 1)


if __name__ == "__main__":
    main()

"""Compares qlumen with common tools, on the same recording and machine, in one run.

    python bench/race.py [--json FILE] [--frames N] [--rounds N] [--clip FILE] [--peers DIR]

`bench/support/peers.py` describes the contestants. Each runs in its own process, one after the
other; every other round reverses the order. DIR holds the peers, separately from qlumen:

    pip install --no-deps --target DIR ultralytics ultralytics-thop supervision defusedxml \\
        pydeprecate torchvision segmentation-models-pytorch timm

ultralytics is AGPL, so nothing here depends on it. A peer that is missing or cannot be prepared is
left out, with the reason. In each round every contestant first runs for one frame: `start_s` is
the time from the start of that process until the frame is drawn and the output closed. `cpu_ms`
is processor time a frame without that start, `peak_mib` the largest resident memory. Figures are
medians of the rounds. Ratios are of frames per second: `qlumen_over_...` for `qlumen_replay`
(INT8), `qlumen_fp32_over_...` for `qlumen_replay_fp32`. `..._least` and `..._most` are the ratios
of the least and most favourable round.
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

from support.common import parser, report
from support.peers import RUNS, SIZE_PX
from support.recording import record_scene

FEW_FRAMES = {"eager_unet": 12, "onnx_unet": 24}
"""Frames of contestants that take over half a second a frame."""
LIMIT_SECONDS = 1800
HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Run:
    """Holds the result that a contestant printed, and the time of its process."""

    result: dict[str, float]
    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Round:
    """Holds a run of one frame, and a run of many frames."""

    start: Run
    run: Run

    @property
    def fps(self) -> float:
        return self.run.result["frames"] / self.run.result["seconds"]

    @property
    def cpu_ms(self) -> float:
        """Return the processor time a frame, without the start and the first frame."""
        frames = max(1.0, self.run.result["frames"] - 1)
        return 1000 * (self.run.cpu_s - self.start.cpu_s) / frames


class FailedError(Exception):
    """Says that a contestant failed."""


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--frames", type=int, default=250, help="frames a round")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--clip", type=Path, help="a recording to use instead of the scene")
    arguments.add_argument("--peers", type=Path, help="folder of the installed peers")
    arguments.add_argument("--only", nargs="*", choices=sorted(RUNS), help="only these contestants")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        race = Race(folder, options.clip, options.frames, options.peers)
        rounds = race.run(options.only or list(RUNS), options.rounds)
        rows = [row(contestant, found) for contestant, found in rounds.items()]
    rows += [{"name": left, "left_out": reason} for left, reason in race.left_out.items()]
    report(rows, ratios(rounds), options.json)


class Race:
    """Runs the contestants; `left_out` holds missing or failed ones with the reason."""

    def __init__(self, folder: Path, clip: Path | None, frames: int, peers: Path | None) -> None:
        self.left_out: dict[str, str] = {}
        self._folder, self._frames = folder, frames
        paths = [str(HERE), *([str(peers)] if peers else [])]
        known = os.environ.get("PYTHONPATH")
        self._environment = os.environ | {
            "PYTHONPATH": os.pathsep.join([*([known] if known else []), *paths]),
            "YOLO_CONFIG_DIR": str(folder),
            "YOLO_AUTOINSTALL": "false",
        }
        self._clip = clip or record_scene(folder / "scene.mp4", frames)

    def run(self, names: list[str], rounds: int) -> dict[str, list[Round]]:
        there = {name: list[Round]() for name in names if self._prepare(name)}
        for number in range(rounds):
            for name in list(there) if number % 2 == 0 else list(there)[::-1]:
                start = self._try(name, 1)
                frames = min(self._frames, FEW_FRAMES.get(name, self._frames))
                run = start and self._try(name, frames)
                if start and run:
                    there[name].append(Round(start, run))
                else:
                    del there[name]
        return there

    def _try(self, name: str, frames: int) -> Run | None:
        print(f"{name}: {frames} frames", file=sys.stderr)
        try:
            return self._start(name, frames)
        except FailedError as error:
            self.left_out[name] = str(error)
            return None

    def _start(self, name: str, frames: int) -> Run:
        command = [sys.executable, str(HERE / "support" / "peers.py"), name, str(self._clip)]
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

    def _prepare(self, name: str) -> bool:
        code = PREPARATIONS.get(name)
        if code is None:
            return True
        command = [sys.executable, "-c", code, str(self._folder), str(SIZE_PX)]
        done = subprocess.run(
            command, capture_output=True, text=True, env=self._environment, timeout=LIMIT_SECONDS
        )
        if done.returncode:
            lines = done.stderr.strip().splitlines()
            self.left_out[name] = lines[-1] if lines else f"exit code {done.returncode}"
        return done.returncode == 0


ONNX = """
import sys, torch
from pathlib import Path
from support.classic_unet import ClassicUNet
size = int(sys.argv[2])
network = ClassicUNet().eval()
torch.onnx.export(network, (torch.zeros(1, 3, size, size),), Path(sys.argv[1]) / "unet.onnx")
"""
SMP = """
import sys, torch
from support import torchvision_operators
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
# The ranges come from a few images of noise. They change the accuracy, not the speed.
INT8 = """
import sys
import nncf, numpy as np, openvino as ov
size, source, target = int(sys.argv[2]), sys.argv[3], sys.argv[4]
rng = np.random.default_rng(0)
noise = nncf.Dataset([rng.random((1, 3, size, size), np.float32) for _ in range(8)])
ov.save_model(nncf.quantize(ov.Core().read_model(source), noise), target)
"""
SMP_INT8 = f"""
import sys
from pathlib import Path
folder = Path(sys.argv[1])
sys.argv += [str(folder / "smp.xml"), str(folder / "smp_int8.xml")]
{INT8}
"""
YOLO_INT8 = f"""
import shutil, sys
from pathlib import Path
folder = Path(sys.argv[1])
plain, other = folder / "yolo_openvino_model", folder / "yolo_int8_openvino_model"
shutil.copytree(plain, other)
(name,) = (path.name for path in plain.glob("*.xml"))
for suffix in (".xml", ".bin"):
    (other / name).with_suffix(suffix).unlink()
sys.argv += [str(plain / name), str(other / name)]
{INT8}
"""
YOLO = """
import sys
from support import torchvision_operators
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
    "smp_openvino_int8": SMP_INT8,
    "yolo": YOLO,
    "yolo_int8": YOLO_INT8,
    "supervision": "import supervision",
}
"""Programs that prepare a contestant in a folder, in this order."""
OURS = {"qlumen_replay": "qlumen_over", "qlumen_replay_fp32": "qlumen_fp32_over"}


def row(name: str, rounds: list[Round]) -> dict[str, str | float]:
    """Return the medians of the rounds."""
    results = [each.run.result for each in rounds]
    made: dict[str, str | float] = {
        "name": name,
        "fps": statistics.median(each.fps for each in rounds),
        "p50_ms": statistics.median(r["p50"] for r in results),
        "p99_ms": statistics.median(r["p99"] for r in results),
        "cpu_ms": statistics.median(each.cpu_ms for each in rounds),
        "peak_mib": statistics.median(r["peak_mib"] for r in results),
        "start_s": statistics.median(each.start.wall_s for each in rounds),
        "frames": results[0]["frames"],
        "rounds_fps": " ".join(f"{each.fps:.1f}" for each in rounds),
        "settings": " ".join((RUNS[name].__doc__ or "").split()),
    }
    if "age_p50" in results[0]:
        made["age_p50_ms"] = statistics.median(r["age_p50"] for r in results)
        made["age_p99_ms"] = statistics.median(r["age_p99"] for r in results)
    return made


def ratios(rounds: dict[str, list[Round]]) -> dict[str, float]:
    """Return ratios of frames per second: of the medians, and the extremes of a round."""
    fps = {name: [each.fps for each in found] for name, found in rounds.items()}
    found: dict[str, float] = {}
    for ours, prefix in OURS.items():
        for name, theirs in fps.items():
            if ours in fps and not name.startswith("qlumen_"):
                by_round = [a / b for a, b in zip(fps[ours], theirs, strict=True)]
                ratio = statistics.median(fps[ours]) / statistics.median(theirs)
                found |= {
                    f"{prefix}_{name}": ratio,
                    f"{prefix}_{name}_least": min(by_round),
                    f"{prefix}_{name}_most": max(by_round),
                }
    return found


if __name__ == "__main__":
    main()

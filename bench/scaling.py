"""How the cost grows: with frame size, input size, rate, findings, streams and length.

    python bench/scaling.py [--json FILE] [--frames N] [--only AXIS ...]

An exponent e means that the cost grows as the e-th power: 1 is proportional, 0 does not grow.
It is the slope of a line through the logarithms, by least squares; 0.7 to 1.5 times is noise on
a shared machine, so exponents are taken of processor time where that is possible. Clips are of
the built-in scene.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13

from qlumen.networks.bundle import shipped_bundle
from qlumen.realtime.config import Settings, load_settings
from qlumen.realtime.geometry import Geometry
from qlumen.realtime.latency import NS_PER_MS, NullRecorder
from qlumen.realtime.postprocess import Postprocessor
from qlumen.realtime.profiling.passes import WARM_UP_FRAMES, steady_pass
from qlumen.realtime.profiling.recorder import RESPONSE
from qlumen.realtime.profiling.rig import Rig

from common import parser, report
from recording import record_scene

Row = dict[str, str | float]
FRAME_SIZES = ((854, 480), (1280, 720), (1920, 1080), (3840, 2160))
INPUT_SIZES_PX = (224, 288, 352, 448, 544)
RATES = (5.0, 10.0, 25.0, 50.0, 100.0)
RATE_SECONDS = 3.0
FINDINGS = (1, 2, 4, 8, 16, 32, 64)
STREAMS = (1, 2, 4, 8)
LENGTHS = (1, 2, 4, 8)
"""Times `--frames`."""
SCENE_FRAMES = 30
FINDING_ROUNDS = 30
STRIDE_PX = 32
"""Of the deepest feature map, where the circuit is."""
HERE = Path(__file__).parent


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--frames", type=int, default=100, help="a measurement")
    arguments.add_argument("--only", nargs="*", choices=sorted(AXES), default=sorted(AXES))
    options = arguments.parse_args()
    rows: list[Row] = []
    exponents: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as name:
        for axis in options.only:
            found = list(AXES[axis](Path(name), options.frames))
            rows += found
            for cost in [key for key in found[0] if key not in ("axis", "size")]:
                slope = exponent(found, cost)
                exponents |= {} if slope is None else {f"{axis}_{cost}_exponent": slope}
    report(rows, {}, options.json, exponents)


def exponent(rows: list[Row], cost: str) -> float | None:
    """None where a cost is 0, as shares of missed frames may be."""
    sizes = np.array([float(row["size"]) for row in rows])
    costs = np.array([float(row[cost]) for row in rows])
    if (costs <= 0).any():
        return None
    return float(np.polynomial.Polynomial.fit(np.log(sizes), np.log(costs), 1).convert().coef[1])


def frame_size(folder: Path, frames: int) -> Iterator[Row]:
    """Pixels of a frame; all stages at full speed, without recording and with it."""
    for width, height in FRAME_SIZES:
        settings = scene_of(width, height)
        row: Row = {"axis": "frame_size", "size": width * height}
        for name, record in (("replay", False), ("recording", True)):
            with Rig("scene", settings, record=record) as rig:
                rig.run(NullRecorder(), WARM_UP_FRAMES)
                cpu_ns = time.process_time_ns()
                outcome = rig.run(NullRecorder(), frames)
                cpu_ns = time.process_time_ns() - cpu_ns
            row[f"{name}_cpu_ms"] = cpu_ns / frames / NS_PER_MS
            row[f"{name}_ms"] = 1000 * outcome.seconds / outcome.frames
        yield row


def input_size(folder: Path, frames: int) -> Iterator[Row]:
    """Pixels of the network's input; the network alone, one frame at a time."""
    for side in INPUT_SIZES_PX:
        core = ov.Core()
        model = core.read_model(shipped_bundle() / "network.xml")
        take_input(model, side)
        network = core.compile_model(model, "CPU", {"PERFORMANCE_HINT": "LATENCY"})
        picture = np.zeros((1, side, side, 3), np.uint8)
        for _ in range(5):
            network(picture)
        cpu_ns = time.process_time_ns()
        for _ in range(frames):
            network(picture)
        cpu_ns = time.process_time_ns() - cpu_ns
        yield {"axis": "input_size", "size": side * side, "cpu_ms": cpu_ns / frames / NS_PER_MS}


def take_input(model: ov.Model, side: int) -> None:
    """Let the network take pictures of another size: the circuit's positions are constants.

    OpenVINO checks the shapes after each change, so they are left open in between.
    """
    cells, other = model.input(0).shape[1] // STRIDE_PX, side // STRIDE_PX
    _replace(model, cells**2, -1)
    model.reshape([1, -1, -1, 3])
    _replace(model, cells, other)
    model.reshape([1, side, side, 3])


def _replace(model: ov.Model, size: int, other: int) -> None:
    """In what the reshapes of the model ask for."""
    for reshape in model.get_ops():
        if reshape.get_type_name() != "Reshape":
            continue
        wanted = reshape.input_value(1).get_node()
        given = wanted.data.tolist() if wanted.get_type_name() == "Constant" else []
        if size in given:
            sizes = np.array([other if each == size else each for each in given], np.int64)
            reshape.input(1).replace_source_output(opset13.constant(sizes).output(0))


def rate(folder: Path, frames: int) -> Iterator[Row]:
    """Frames per second of 1080p; the knee is where the response leaves the frame's time."""
    with Rig("scene", scene_of(1920, 1080), record=False) as rig:
        for fps in RATES:
            passed = steady_pass(rig, RATE_SECONDS, fps, round(1e9 / fps), None)
            seconds = (passed.after.at_ns - passed.before.at_ns) / 1e9
            response = passed.recorder.accounts[RESPONSE].histogram.summary()
            yield {
                "axis": "rate",
                "size": fps,
                "reached_fps": passed.recorder.steady_frames / seconds,
                "cores": (passed.after.cpu_ns - passed.before.cpu_ns) / 1e9 / seconds,
                "response_p50_ms": response.p50,
                "response_p99_ms": response.p99,
                "missed_share": passed.recorder.misses / passed.recorder.steady_frames,
            }


def findings(folder: Path, frames: int) -> Iterator[Row]:
    """Lesions in a frame of 1080p, all of one size; post-processing alone."""
    side = 352
    geometry = Geometry.of((1920, 1080), (side, side), "stretch")
    process = Postprocessor(low=0.4, high=0.5, min_area_fraction=1e-5)
    cell = side // 8
    for count in FINDINGS:
        probability = np.zeros((side, side), np.float32)
        for number in range(count):
            y, x = (cell * (number // 8) + cell // 4, cell * (number % 8) + cell // 4)
            probability[y : y + cell // 2, x : x + cell // 2] = 0.9
        assert len(process(probability, geometry).findings) == count
        cpu_ns = time.thread_time_ns()
        for _ in range(FINDING_ROUNDS):
            process(probability, geometry)
        cpu_ns = time.thread_time_ns() - cpu_ns
        yield {
            "axis": "findings", "size": count, "cpu_ms": cpu_ns / FINDING_ROUNDS / NS_PER_MS
        }  # fmt: skip


def streams(folder: Path, frames: int) -> Iterator[Row]:
    """Replays with recording side by side, a process each; milliseconds a frame of all."""
    clip = record_scene(folder / "streams.mp4", frames)
    for count in STREAMS:
        begun = time.monotonic()
        running = [replaying(clip, folder / str(number), frames) for number in range(count)]
        results = [json.loads(process.communicate()[0].splitlines()[-1]) for process in running]
        wall_s = time.monotonic() - begun
        slowest_s = max(result["seconds"] for result in results)
        yield {
            "axis": "streams",
            "size": count,
            "ms_a_frame_of_all": 1000 * slowest_s / (count * frames),
            "ms_a_frame_of_one": 1000 * slowest_s / frames,
            "wall_s": wall_s,
        }


def length(folder: Path, frames: int) -> Iterator[Row]:
    """Frames of a recording that is replayed and recorded; seconds and peak memory."""
    for times in LENGTHS:
        clip = record_scene(folder / "length.mp4", frames * times)
        process = replaying(clip, folder / "length", frames * times)
        result = json.loads(process.communicate()[0].splitlines()[-1])
        yield {
            "axis": "length",
            "size": frames * times,
            "seconds": result["seconds"],
            "peak_mib": result["peak_mib"],
        }


def replaying(clip: Path, folder: Path, frames: int) -> "subprocess.Popen[bytes]":
    folder.mkdir(exist_ok=True)
    command = [sys.executable, str(HERE / "peers.py"), "qlumen_replay", str(clip), str(folder)]
    return subprocess.Popen([*command, str(frames)], stdout=subprocess.PIPE)


def scene_of(width: int, height: int) -> Settings:
    size = [f"scene.width={width}", f"scene.height={height}"]
    return load_settings(None, [*size, f"scene.frames={SCENE_FRAMES}"])


AXES: dict[str, Callable[[Path, int], Iterator[Row]]] = {
    "frame_size": frame_size,
    "input_size": input_size,
    "rate": rate,
    "findings": findings,
    "streams": streams,
    "length": length,
}

if __name__ == "__main__":
    main()

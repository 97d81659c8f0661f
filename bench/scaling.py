"""How the cost grows: with frame size, input size, rate, findings, streams and length.

    python bench/scaling.py [--json FILE] [--frames N] [--only AXIS ...]

An exponent e means that the cost grows as the e-th power: 1 is proportional, 0 does not grow.
It is the slope of a line through the logarithms, by least squares; 0.7 to 1.5 times is noise on
a shared machine, so exponents are taken of processor time where that is possible. Clips are of
the built-in scene.

A knee is the greatest size at which 99% of the frames still come in time, as the axis says;
sizes between it and the next one that was tried are bisected. `..._first_missed` is the size that
ends the search; no knee is printed where the greatest size that was tried is kept. With
`..._knee_cores` near `machine_cores` it is the processor that is used up there; with less, a
frame's own way through the stages takes too long. The knee of replays side by side, which are in
no hurry, is the least number that together reach 95% of the most frames/s of any number.

Exponents of the rate and of live streams are taken up to the first knee: beyond it frames wait
for each other. `length` is minutes of one replay; `length_mib_an_hour` what an hour would add.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qlumen.networks.bundle import MODEL, SHIPPED, SHIPPED_INT8, find_bundle, read_bundle
from qlumen.networks.openvino import ops as opset13
from qlumen.networks.openvino import ov
from qlumen.realtime.config.settings import Settings, load_settings
from qlumen.realtime.engines.choose import bundle_folder
from qlumen.realtime.engines.openvino import CpuOptions
from qlumen.realtime.latency import NS_PER_MS, NullRecorder
from qlumen.realtime.profiling.passes import WARM_UP_FRAMES, steady_pass
from qlumen.realtime.profiling.recorder import RESPONSE
from qlumen.realtime.profiling.rig import Rig
from qlumen.realtime.segmentation.geometry import Geometry
from qlumen.realtime.segmentation.postprocess import Postprocessor
from qlumen.realtime.segmentation.segmenter import thresholds

from support.common import parser, report
from support.scaling_axis import Found, Given, Row, Tried
from support.scaling_length import length
from support.scaling_streams import live_streams, streams

FRAME_LINES = (480, 720, 1080, 2160)
FRAME_LINES_NEAR = 1.2
FRAME_RATE = 25.0
INPUT_SIDES_PX = (224, 288, 352, 448, 544)
INPUT_BUNDLES = {"int8": SHIPPED_INT8, "f32": SHIPPED}
RATES = (10, 25, 50, 100, 200)
RATES_NEAR = 1.1
RATE_SECONDS = 8.0
"""Of a pass, at most."""
FINDINGS = (1, 2, 4, 8, 16, 32, 64)
FINDING_ROUNDS = 30
SCENE_FRAMES, LARGE_SCENE_FRAMES = 100, 30
STRIDE_PX = 32
"""Of the deepest feature map, where the circuit is."""
IN_TIME = 0.99
"""Share of the frames, up to the knee."""


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--frames", type=int, default=100, help="a measurement")
    arguments.add_argument("--only", nargs="*", choices=sorted(AXES), default=sorted(AXES))
    options = arguments.parse_args()
    found: list[Found] = []
    with tempfile.TemporaryDirectory() as name:
        given = Given(Path(name), options.frames)
        for axis in options.only:
            print(axis, file=sys.stderr)
            found.append(AXES[axis](given))
    rows = [row for each in found for row in each.rows]
    figures = {"machine_cores": float(os.cpu_count() or 0)}
    for each in found:
        figures |= each.exponents() | each.figures
    report(rows, {}, options.json, figures)


def frame_size(given: Given) -> Found:
    """Pixels of a frame; all stages at full speed, without recording and with it. The knee is
    that of 25 frames/s with recording: from it a frame's response takes longer than 40 ms."""
    tried = Tried(partial(_frame_size, given.frames), FRAME_LINES)
    knee = tried.knee(_in_time, FRAME_LINES_NEAR)
    costs = ("replay_ms", "replay_cpu_ms", "recording_ms", "recording_cpu_ms")
    return Found(tried.rows, costs, knee.figures("frame_size") if knee else {})


def rate(given: Given) -> Found:
    """Frames per second of 1080p, drawn, not recorded. Two knees: from the first on the response
    takes longer than the time between two frames, from the second on the rate is not reached."""
    with Rig("scene", _scene(1920, 1080, SCENE_FRAMES), record=False) as rig:
        tried = Tried(partial(_rate, rig, given.frames), RATES)
        response = tried.knee(_in_time, RATES_NEAR)
        reached = tried.knee(_reached, RATES_NEAR)
    figures = response.figures("rate_response") if response else {}
    up_to = figures.get("rate_response_knee", float(RATES[-1]))
    figures |= reached.figures("rate_reached") if reached else {}
    return Found(tried.rows, ("cores", "response_p50_ms"), figures, up_to)


def input_size(given: Given) -> Found:
    """Pixels of the network's input; the network alone, one frame at a time, in INT8, which is
    the default, and in FP32."""
    rows: list[Row] = []
    for side in INPUT_SIDES_PX:
        row: Row = {"axis": "input_size", "size": side * side}
        for precision, bundle in INPUT_BUNDLES.items():
            model = ov.Core().read_model(find_bundle(bundle) / MODEL)
            _take_input(model, side)
            row[f"{precision}_cpu_ms"] = _network_cpu_ms(model, given.frames)
        rows.append(row)
    return Found(rows, tuple(f"{precision}_cpu_ms" for precision in INPUT_BUNDLES))


def findings(given: Given) -> Found:
    """Lesions in a frame of 1080p, all of one size; post-processing alone, with the thresholds
    and the map's size of the default bundle."""
    bundle = read_bundle(bundle_folder(Settings()))
    *_, rows, columns = ov.Core().read_model(bundle.model).output(0).shape
    geometry = Geometry.of((1920, 1080), (columns, rows), bundle.manifest.input.fit)
    process = Postprocessor(**thresholds(bundle, Settings()))
    found: list[Row] = []
    for count in FINDINGS:
        probability = _squares(rows, columns, count)
        assert len(process(probability, geometry).findings) == count
        cpu_ns = time.thread_time_ns()
        for _ in range(FINDING_ROUNDS):
            process(probability, geometry)
        cpu_ns = time.thread_time_ns() - cpu_ns
        cpu_ms = cpu_ns / FINDING_ROUNDS / NS_PER_MS
        found.append({"axis": "findings", "size": count, "cpu_ms": cpu_ms})
    return Found(found, ("cpu_ms",))


AXES: dict[str, Callable[[Given], Found]] = {
    "frame_size": frame_size,
    "input_size": input_size,
    "rate": rate,
    "findings": findings,
    "streams": streams,
    "live_streams": live_streams,
    "length": length,
}


def _frame_size(frames: int, lines: int) -> Row:
    """Of 16:9, with sides that 4:2:0 takes."""
    width, height = 2 * round(lines * 8 / 9), 2 * round(lines / 2)
    settings = _scene(width, height, LARGE_SCENE_FRAMES)
    row: Row = {"axis": "frame_size", "size": width * height}
    with Rig("scene", settings, record=False) as rig:
        row |= _full_speed("replay", rig, frames)
    with Rig("scene", settings, record=True) as rig:
        row |= _full_speed("recording", rig, frames)
        row |= _paced(rig, FRAME_RATE, frames / FRAME_RATE)
    return row


def _full_speed(name: str, rig: Rig, frames: int) -> Row:
    rig.run(NullRecorder(), WARM_UP_FRAMES)
    cpu_ns = time.process_time_ns()
    outcome = rig.run(NullRecorder(), frames)
    cpu_ns = time.process_time_ns() - cpu_ns
    return {
        f"{name}_cpu_ms": cpu_ns / outcome.frames / NS_PER_MS,
        f"{name}_ms": 1000 * outcome.seconds / outcome.frames,
    }


def _rate(rig: Rig, frames: int, fps: int) -> Row:
    seconds = min(RATE_SECONDS, 2 * frames / fps)
    row: Row = {"axis": "rate", "size": fps}
    return row | _paced(rig, fps, seconds)


def _paced(rig: Rig, fps: float, seconds: float) -> Row:
    """A frame that is not drawn when the next one is due has missed."""
    passed = steady_pass(rig, seconds, fps, round(1e9 / fps), None)
    recorder = passed.recorder
    passed_s = (passed.after.at_ns - passed.before.at_ns) / 1e9
    response = recorder.accounts[RESPONSE].histogram.summary()
    return {
        "reached_fps": passed.frames / passed_s,
        "cores": (passed.after.cpu_ns - passed.before.cpu_ns) / 1e9 / passed_s,
        "response_p50_ms": response.p50,
        "response_p99_ms": response.p99,
        "missed_share": recorder.misses / recorder.steady_frames,
    }


def _in_time(row: Row) -> bool:
    return float(row["missed_share"]) <= 1 - IN_TIME


def _reached(row: Row) -> bool:
    return float(row["reached_fps"]) >= IN_TIME * float(row["size"])


def _scene(width: int, height: int, frames: int) -> Settings:
    size = [f"scene.width={width}", f"scene.height={height}"]
    return load_settings(None, [*size, f"scene.frames={frames}"])


def _network_cpu_ms(model: ov.Model, frames: int) -> float:
    network = ov.Core().compile_model(model, "CPU", CpuOptions().properties())
    picture = np.zeros(model.input(0).shape, np.uint8)
    for _ in range(5):
        network(picture)
    cpu_ns = time.process_time_ns()
    for _ in range(frames):
        network(picture)
    return (time.process_time_ns() - cpu_ns) / frames / NS_PER_MS


def _take_input(model: ov.Model, side: int) -> None:
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


def _squares(rows: int, columns: int, count: int) -> NDArray[np.float32]:
    """A map with so many findings, 8 in a row."""
    probability = np.zeros((rows, columns), np.float32)
    high, wide = rows // 8, columns // 8
    for number in range(count):
        y, x = high * (number // 8) + high // 4, wide * (number % 8) + wide // 4
        probability[y : y + high // 2, x : x + wide // 2] = 1
    return probability


if __name__ == "__main__":
    main()

"""Measures how the cost grows with frame size, input size, rate, findings, streams and length.

    python bench/scaling.py [--json FILE] [--frames N] [--only AXIS ...]

An exponent e means that the cost grows as the e-th power: 1 is proportional, 0 does not grow. It
is the slope of a line through the logarithms, by least squares. A shared machine has noise of 0.7
to 1.5 times, so exponents use processor time where possible. Clips show the built-in scene.

A knee is the greatest size at which 99% of the frames come in time, as the axis defines it. The
search bisects the sizes between it and the next one. `..._first_missed` is the size that ends the
search. Without a knee, the greatest size was kept. If `..._knee_cores` is near `machine_cores`,
the processor is the limit; if it is less, the path of one frame through the stages is too long.
Replays side by side have no deadline: their knee is the least number that together reaches 95% of
the most frames/s of any number.

Exponents of the rate and of live streams end at the first knee: beyond it frames wait for each
other. `length` is the minutes of one replay, `length_mib_an_hour` the growth in an hour.
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
from support.scaling_axis import AxisResult, Row, Setup, Trials
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
"""Longest time of a pass."""
FINDINGS = (1, 2, 4, 8, 16, 32, 64)
FINDING_ROUNDS = 30
SCENE_FRAMES, LARGE_SCENE_FRAMES = 100, 30
STRIDE_PX = 32
"""Stride of the deepest feature map, which has the circuit."""
IN_TIME = 0.99
"""Share of the frames that come in time up to the knee."""


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--frames", type=int, default=100, help="frames a measurement")
    arguments.add_argument("--only", nargs="*", choices=sorted(AXES), default=sorted(AXES))
    options = arguments.parse_args()
    found: list[AxisResult] = []
    with tempfile.TemporaryDirectory() as name:
        setup = Setup(Path(name), options.frames)
        for axis in options.only:
            print(axis, file=sys.stderr)
            found.append(AXES[axis](setup))
    rows = [row for each in found for row in each.rows]
    figures = {"machine_cores": float(os.cpu_count() or 0)}
    for each in found:
        figures |= each.exponents() | each.figures
    report(rows, {}, options.json, figures)


def frame_size(setup: Setup) -> AxisResult:
    """Measure all stages at full speed by the pixels of a frame, without and with recording.
    The knee is for 25 frames/s with recording: beyond it the response takes longer than 40
    ms."""
    trials = Trials(partial(_frame_size, setup.frames), FRAME_LINES)
    knee = trials.knee(_in_time, FRAME_LINES_NEAR)
    costs = ("replay_ms", "replay_cpu_ms", "recording_ms", "recording_cpu_ms")
    return AxisResult(trials.rows, costs, knee.figures("frame_size") if knee else {})


def rate(setup: Setup) -> AxisResult:
    """Measure frames per second of 1080p, drawn but not recorded.

    Beyond the first knee the response takes longer than the time between two frames. Beyond the
    second knee the rate is not reached.
    """
    with Rig("scene", _scene(1920, 1080, SCENE_FRAMES), record=False) as rig:
        trials = Trials(partial(_rate, rig, setup.frames), RATES)
        response = trials.knee(_in_time, RATES_NEAR)
        reached = trials.knee(_is_reached, RATES_NEAR)
    figures = response.figures("rate_response") if response else {}
    up_to = figures.get("rate_response_knee", float(RATES[-1]))
    figures |= reached.figures("rate_reached") if reached else {}
    return AxisResult(trials.rows, ("cores", "response_p50_ms"), figures, up_to)


def input_size(setup: Setup) -> AxisResult:
    """Measure the network alone by the pixels of its input, in INT8 (default) and FP32."""
    rows: list[Row] = []
    for side in INPUT_SIDES_PX:
        row: Row = {"axis": "input_size", "size": side * side}
        for precision, bundle in INPUT_BUNDLES.items():
            model = ov.Core().read_model(find_bundle(bundle) / MODEL)
            _take_input(model, side)
            row[f"{precision}_cpu_ms"] = _network_cpu_ms(model, setup.frames)
        rows.append(row)
    return AxisResult(rows, tuple(f"{precision}_cpu_ms" for precision in INPUT_BUNDLES))


def findings(setup: Setup) -> AxisResult:
    """Measure post-processing alone by the number of equal lesions in a frame of 1080p. The
    thresholds and the size of the map are those of the default bundle."""
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
    return AxisResult(found, ("cpu_ms",))


AXES: dict[str, Callable[[Setup], AxisResult]] = {
    "frame_size": frame_size,
    "input_size": input_size,
    "rate": rate,
    "findings": findings,
    "streams": streams,
    "live_streams": live_streams,
    "length": length,
}


def _frame_size(frames: int, lines: int) -> Row:
    """Measure a frame size of 16:9, with even sides for 4:2:0."""
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
    """Run at a rate; a frame that is not drawn when the next one is due has missed."""
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


def _is_reached(row: Row) -> bool:
    return float(row["reached_fps"]) >= IN_TIME * float(row["size"])


def _scene(width: int, height: int, frames: int) -> Settings:
    size = [f"scene.width={width}", f"scene.height={height}"]
    return load_settings(None, [*size, f"scene.frames={frames}"])


def _network_cpu_ms(model: ov.Model, frames: int) -> float:
    network = ov.Core().compile_model(model, "CPU", CpuOptions().properties())
    image = np.zeros(model.input(0).shape, np.uint8)
    for _ in range(5):
        network(image)
    cpu_ns = time.process_time_ns()
    for _ in range(frames):
        network(image)
    return (time.process_time_ns() - cpu_ns) / frames / NS_PER_MS


def _take_input(model: ov.Model, side: int) -> None:
    """Make the network take images of another size: the circuit's positions are constants.

    OpenVINO checks the shapes after each change, so they stay open in between.
    """
    cells, other = model.input(0).shape[1] // STRIDE_PX, side // STRIDE_PX
    _replace(model, cells**2, -1)
    model.reshape([1, -1, -1, 3])
    _replace(model, cells, other)
    model.reshape([1, side, side, 3])


def _replace(model: ov.Model, size: int, other: int) -> None:
    """Replace a size in the target shapes of the model's reshapes."""
    for reshape in model.get_ops():
        if reshape.get_type_name() != "Reshape":
            continue
        wanted = reshape.input_value(1).get_node()
        given = wanted.data.tolist() if wanted.get_type_name() == "Constant" else []
        if size in given:
            sizes = np.array([other if each == size else each for each in given], np.int64)
            reshape.input(1).replace_source_output(opset13.constant(sizes).output(0))


def _squares(rows: int, columns: int, count: int) -> NDArray[np.float32]:
    """Return a map with `count` findings, 8 in a row."""
    probability = np.zeros((rows, columns), np.float32)
    high, wide = rows // 8, columns // 8
    for number in range(count):
        y, x = high * (number // 8) + high // 4, wide * (number % 8) + wide // 4
        probability[y : y + high // 2, x : x + wide // 2] = 1
    return probability


if __name__ == "__main__":
    main()

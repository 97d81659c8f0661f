"""Measures milliseconds a frame by network, engine and precision, on the same frames.

It compares qlumen's network with the classic U-Net, 64 channels wide, and the U-Nets of
segmentation-models-pytorch with ResNet-34 and MobileNetV2 (`pip install --no-deps
segmentation-models-pytorch timm`). It runs one frame at a time on all cores, without resizing.
The share of peak is the rate of a network's multiply-accumulates over the rate of a matrix
product of the same precision in this run. Calls alternate. Ratios and shares use the fastest
calls, because a busy machine interrupts long calls most.
"""

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

from qlumen.calibration.export import scene_frames
from qlumen.networks.bundle import Bundle, find_bundle, read_bundle
from qlumen.networks.openvino import ops, ov
from qlumen.realtime.engines.onnxruntime import OnnxOptions, OnnxRuntimeEngine
from qlumen.realtime.engines.openvino import CpuOptions, OpenVinoEngine
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.segmentation.preprocess import Preprocessor

from support.common import Row, interleaved_ms, parser, report
from support.contestants import macs, networks

GEMM_SIDE = 2048
SLOW_ROUNDS = 3
"""Rounds of networks that take a second a frame."""
SLOW = "classic_unet"
ONE_FRAME = CpuOptions(streams=1, requests=1)
INT8_LEVELS = 256
INT8 = "lite0-vqc4-int8"
Runs = dict[str, Callable[[], object]]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=30, help="calls of each function")
    arguments.add_argument("--int8", type=Path, help="a quantised bundle; default: the shipped one")
    arguments.add_argument("--only", nargs="*", metavar="NETWORK", help="only qlumen and these")
    options = arguments.parse_args()
    bundle = read_bundle(find_bundle())
    int8 = options.int8 or find_bundle().parent / INT8
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        os.environ["QLUMEN_CACHE"] = str(folder)  # compiled for this run alone
        wanted = None if options.only is None else ("qlumen", *options.only)
        given = networks(bundle, wanted)
        runs = _runs(bundle, given, folder, int8 if int8.exists() else None, stack)
        times = _measure(runs | _gemms(), options.rounds)
    image = torch.from_numpy(_images(bundle)[0])[None]
    counts = {name: macs(network, image) for name, network in given.items()}
    rows = [_row(name, ms, counts, times) for name, ms in times.items()]
    if not int8.exists():
        print(f"there is no {int8}: the ratios of INT8 are left out")
    report(rows, _ratios(times, counts), options.json)


def _runs(
    bundle: Bundle,
    given: Mapping[str, nn.Module],
    folder: Path,
    int8: Path | None,
    stack: ExitStack,
) -> Runs:
    """Return the functions that run a frame, by `network engine precision`."""
    images = _images(bundle)
    runs: Runs = {}

    def add(name: str, infer: Callable[[Image], object]) -> None:
        runs[name] = _next_of(images, infer)

    def openvino(model: Path, precision: str = "f32") -> Callable[[Image], object]:
        options = CpuOptions(streams=1, requests=1, precision=precision)
        return stack.enter_context(OpenVinoEngine(model, options)).infer

    for name, network in given.items():
        model = _onnx(network, images[0], folder / f"{name}.onnx")
        add(f"{name} torch f32", partial(_eager, network))
        ort = OnnxRuntimeEngine(model, OnnxOptions(streams=1, requests=1))
        add(f"{name} onnxruntime f32", stack.enter_context(ort).infer)
        add(f"{name} openvino f32", openvino(bundle.model if name == "qlumen" else model))
    if "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        add("qlumen openvino bf16", openvino(bundle.model, "bf16"))
    if int8:
        add("qlumen openvino int8", openvino(read_bundle(int8).model))
    return runs


def _images(bundle: Bundle) -> list[Image]:
    spec = bundle.manifest.input
    preprocess = Preprocessor((spec.width, spec.height), spec.fit)
    return [preprocess(frame.pixels) for frame in scene_frames()]


def _next_of(images: list[Image], infer: Callable[[Image], object]) -> Callable[[], object]:
    position = iter(range(1 << 30))
    return lambda: infer(images[next(position) % len(images)])


def _eager(network: nn.Module, image: Image) -> object:
    with torch.inference_mode():
        return network(torch.from_numpy(image)[None])


def _onnx(network: nn.Module, image: Image, path: Path) -> Path:
    example = (torch.from_numpy(image)[None],)
    made = torch.onnx.export(network, example, dynamo=True, verbose=False, external_data=False)
    assert made is not None
    made.save(path)
    return path


def _gemms() -> Runs:
    """Return square matrix products by precision: they reach the machine's peak."""
    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal((GEMM_SIDE, GEMM_SIDE), np.float32) for _ in range(2))
    single = [torch.from_numpy(x) for x in (a, b)]
    half = [x.bfloat16() for x in single]
    eighth = [torch.from_numpy(rng.integers(-127, 128, a.shape, np.int8)) for _ in range(2)]
    return {
        "gemm torch f32": lambda: single[0] @ single[1],
        "gemm openvino f32": _matmul(a, b, quantised=False),
        "gemm torch bf16": lambda: half[0] @ half[1],
        "gemm torch int8": lambda: torch._int_mm(eighth[0], eighth[1]),
        "gemm openvino int8": _matmul(a, b, quantised=True),
    }


def _matmul(a: np.ndarray, b: np.ndarray, *, quantised: bool) -> Callable[[], object]:
    parameter = ops.parameter(a.shape, np.float32)
    left, right = parameter.output(0), ops.constant(b).output(0)
    if quantised:
        left, right = (_quantise(x) for x in (left, right))
    model = ov.Model([ops.matmul(left, right, False, False)], [parameter])
    request = ov.Core().compile_model(model, "CPU", ONE_FRAME.properties()).create_infer_request()
    request.set_input_tensor(ov.Tensor(a))
    return request.infer


def _quantise(values: ov.Output) -> ov.Output:
    low, high = (ops.constant(np.float32(x)) for x in (-4, 4 * 127 / 128))
    return ops.fake_quantize(values, low, high, low, high, INT8_LEVELS).output(0)


def _measure(runs: Runs, rounds: int) -> dict[str, list[float]]:
    slow = {name: run for name, run in runs.items() if name.startswith(SLOW)}
    quick = {name: run for name, run in runs.items() if name not in slow}
    return interleaved_ms(quick, rounds) | interleaved_ms(slow, SLOW_ROUNDS, warm_up=1)


def _row(
    name: str, ms: list[float], counts: Mapping[str, int], times: Mapping[str, list[float]]
) -> Row:
    network, engine, precision = name.split()
    row: dict[str, str | float] = {
        "name": name, "network": network, "engine": engine, "precision": precision,
        "ms_p50": median(ms), "ms_p95": float(np.percentile(ms, 95)), "ms_min": min(ms),
        "gmacs": (GEMM_SIDE**3 if network == "gemm" else counts[network]) / 1e9,
    }  # fmt: skip
    if network != "gemm":
        row["share_of_peak"] = _share(name, counts, times)
    return row


def _share(name: str, counts: Mapping[str, int], times: Mapping[str, list[float]]) -> float:
    """Return the share of the best matrix product in the same precision."""
    network, _, precision = name.split()
    products = [t for n, t in times.items() if n.startswith("gemm") and n.endswith(precision)]
    peak = GEMM_SIDE**3 / min(min(ms) for ms in products)
    return counts[network] / min(times[name]) / peak


def _ratios(times: Mapping[str, list[float]], counts: Mapping[str, int]) -> dict[str, float]:
    def over(name: str, other: str) -> float:
        return min(times[name]) / min(times[other])

    single, eighth = "qlumen openvino f32", "qlumen openvino int8"
    classic = "classic_unet onnxruntime f32"
    ratios = {"share_of_peak_fp32": _share(single, counts, times)}
    if eighth in times:
        ratios["fp32_over_int8"] = over(single, eighth)
        ratios["share_of_peak_int8"] = _share(eighth, counts, times)
    for name, own in (("fp32", single), ("int8", eighth)):
        if classic in times and own in times:
            ratios[f"classic_unet_onnxruntime_over_{name}"] = over(classic, own)
    return ratios


if __name__ == "__main__":
    main()

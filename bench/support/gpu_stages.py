"""Measures the stages of `bench/gpu_check.py`: a function a stage, which yields its figures."""

import csv
import json
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from fractions import Fraction
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from qlumen.calibration.export import MAX_DIFFERING_SHARE, SCENE, compare
from qlumen.datasets.pairs import view_image
from qlumen.datasets.splits import VALIDATION, split_pairs, spread
from qlumen.errors import QlumenError, UsageError
from qlumen.networks.bottlenecks import BottleneckConfig
from qlumen.networks.bundle import Bundle, find_bundle, read_bundle
from qlumen.networks.circuit import read_circuit
from qlumen.networks.deploy import read_surrogate
from qlumen.networks.export import write_bundle
from qlumen.networks.unet import NetworkConfig, UNet
from qlumen.quantum.devices import Device
from qlumen.quantum.surrogate import sample_surrogate
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.engines.base import Engine
from qlumen.realtime.engines.choose import open_engine
from qlumen.realtime.engines.presence import nvidia_gpus
from qlumen.realtime.frames import Frame
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.profiling.process import rss_mib
from qlumen.realtime.segmentation.preprocess import Preprocessor
from qlumen.realtime.sources.choose import open_source
from qlumen.system.machine import machine

from support.common import MEASURED_PACKAGES
from support.recording import record_scene

Row = dict[str, Any]

ENGINES = {
    "cuda": ("torch f16", "torch f32", "torch bf16", "onnxruntime f16", "tensorrt f16",
             "tensorrt f32", "tensorrt-rtx f16", "torch f16 engine.compile=true",
             "torch f32 engine.compile=true"),
    "cpu": ("torch f32", "torch bf16", "openvino bf16", "onnxruntime f32",
            "torch f32 engine.compile=true"),
}  # fmt: skip
"""Engine, precision and other settings; the first form also serves all other stages."""
REFERENCE = ("engine.name=openvino", "engine.precision=f32")
IMAGES, CLIP_FRAMES, FRAME_RUNS = 36, 250, 121
STREAMS, FPS, WHOLE_LIMIT_MS, TABLE_LIMIT = (1, 4, 8, 16), 25, 1.5, 1e-12
SUMMARY = ("frames", "fps", "end_to_end_ms", "arrived", "shown", "fresh", "raw_delay_ms",
           "annotation_age_ms")  # fmt: skip
FINISH_SECONDS = 60
"""Time that `qlumen train` needs after its last epoch."""
TESTS = Path(__file__).parents[2] / "tests/gpu"


def machine_stage(given: Namespace) -> Iterator[Row]:
    cards = nvidia_gpus() if given.device == "cuda" else ()
    about = machine((*MEASURED_PACKAGES, "torch-tensorrt", "pennylane-lightning-gpu"))
    yield about | ({"card": cards[0].name, "driver": cards[0].driver} if cards else {})


def engines_stage(given: Namespace, forms: Sequence[str] = ()) -> Iterator[Row]:
    """Compare each form with OpenVINO's FP32, image by image, and time it."""
    bundle, images = read_bundle(find_bundle()), _images(given)
    with open_engine(bundle, load_settings(None, REFERENCE)) as engine:
        known = {image.tobytes(): engine.infer(image) for image in images}
    frames = [Frame(i, 0, Fraction(1), BgrImage(image), 0) for i, image in enumerate(images)]

    def parity(engine: Engine) -> Row:
        found = [compare(bundle, [frame], lambda image: known[image.tobytes()], engine.infer)
                 for frame in frames]  # fmt: skip
        shares = [one.differing_share for one in found]
        limit = MAX_DIFFERING_SHARE[engine.describe()["precision"]]
        return {"share": float(np.mean(shares)), "worst": max(shares), "limit": limit,
                "holds": max(shares) <= limit}  # fmt: skip

    measure = partial(_measure, given, bundle, parity=parity)
    yield from _each(given, forms or ENGINES[given.device], measure)


def hqconv_stage(given: Namespace) -> Iterator[Row]:
    """Time an untrained network with the other circuit."""
    network = UNet(NetworkConfig(bottleneck=BottleneckConfig("hqconv"))).eval()
    shipped = read_bundle(find_bundle()).manifest
    bundle = write_bundle(
        given.output / "hqconv", network, name="hqconv", version="0",
        size=shipped.input.width, thresholds=shipped.thresholds, provenance={},
    )  # fmt: skip
    yield from _each(given, ENGINES[given.device][:2], partial(_measure, given, bundle))


def streams_stage(given: Namespace) -> Iterator[Row]:
    """Count the frames a second of threads that share an engine, or open one each."""
    bundle, seconds = read_bundle(find_bundle()), 0.5 if given.short else 2.0

    def measure(settings: list[str], own: bool, count: int) -> Row:
        loaded = load_settings(None, settings)
        with ExitStack() as stack, ThreadPoolExecutor(count) as threads:

            def ask(engine: Engine | None) -> list[float]:
                engine = engine or stack.enter_context(open_engine(bundle, loaded))
                times, end = [], time.monotonic() + seconds
                while (begun := time.monotonic()) < end:
                    engine.infer(_black(engine))
                    times.append(1000 * (time.monotonic() - begun))
                return times

            shared = None if own else stack.enter_context(open_engine(bundle, loaded))
            times = np.concatenate([*threads.map(ask, [shared] * count)])
            fps = 1000 * count / float(times.mean())
            held = {"holds": fps >= count * FPS} if given.device == "cuda" else {}
            return {"streams": count, "engines": count if own else 1, "fps": fps, **held,
                    "p99_ms": float(np.percentile(times, 99)), **_memory(given)}  # fmt: skip

    for own, requests in ((False, 3), (False, 16), (True, 3)):
        form = f"{ENGINES[given.device][0]} engine.requests={requests}"
        for count in STREAMS[:2] if given.short else STREAMS:
            yield from _each(given, [form], partial(measure, own=own, count=count))


def replay_stage(given: Namespace) -> Iterator[Row]:
    forms = [ENGINES[given.device][0]]
    forms += [f"{forms[0]} source.hardware=cuda"] if given.device == "cuda" else []
    yield from _each(given, forms, partial(_show, given, "replay"))


def live_stage(given: Namespace) -> Iterator[Row]:
    more = ("--loop", "--seconds", "4" if given.short else "15")
    yield from _each(given, ENGINES[given.device][:1], partial(_show, given, "live", more=more))


def tests_stage(given: Namespace) -> Iterator[Row]:
    report = given.output / "tests.xml"
    command = [sys.executable, "-m", "pytest", "-q", str(TESTS), f"--junitxml={report}"]
    subprocess.run(command, check=False)
    suite = next(ET.parse(report).iter("testsuite"))
    yield {key: int(suite.attrib[key]) for key in ("tests", "failures", "errors", "skipped")}


def table_stage(given: Namespace) -> Iterator[Row]:
    """Sample the table of the shipped circuit anew, and run the circuit for one live frame."""
    bundle = read_bundle(find_bundle())
    trained, shipped = read_circuit(bundle), read_surrogate(bundle)
    device = Device("lightning.gpu" if given.device == "cuda" else "lightning.qubit")
    angles = np.random.default_rng(0).uniform(-3, 3, (FRAME_RUNS, trained.circuit.n_inputs))
    begun = time.monotonic()
    made = sample_surrogate(trained.circuit, trained.weights, device)
    sampled = time.monotonic()
    device.run(trained.circuit, trained.weights, angles)
    tables = zip(made.tables, shipped.tables, strict=True)
    difference = max(float(np.abs(one - other).max()) for one, other in tables)
    yield {"device": device.name, "runs": made.circuit_runs, "seconds": sampled - begun,
           "frame_ms": 1000 * (time.monotonic() - sampled), "difference": difference,
           "limit": TABLE_LIMIT, "holds": difference <= TABLE_LIMIT}  # fmt: skip


def training_stage(given: Namespace) -> Iterator[Row]:
    """Train from the shipped weights for the time that is left; the bundle stays in the output."""
    if not given.data:
        raise UsageError("the training needs --data")
    run = given.output / "run"
    left = max(1.0, given.seconds - FINISH_SECONDS)
    seconds = (1, "--limit", 8) if given.short else (left,)
    shutil.rmtree(run, ignore_errors=True)
    device = "auto" if given.device == "cuda" else "cpu"
    settings = [f"start={find_bundle()}", f"device={device}", *given.set]
    _qlumen(settings, "train", "--data", given.data, "--output", given.output / "bundle",
            "--run", run, "--seconds", *seconds)  # fmt: skip
    with (run / "log.csv").open(encoding="utf-8") as file:
        yield from csv.DictReader(file)


def _images(given: Namespace) -> list[Image]:
    """Return images at the network's size: two thirds of `val` if there is a data folder, the
    others of the scene."""
    spec, count = read_bundle(find_bundle()).manifest.input, IMAGES // (3 if given.short else 1)
    preprocess = Preprocessor((spec.width, spec.height), spec.fit)
    pairs = spread(split_pairs(given.data, VALIDATION), count * 2 // 3) if given.data else []
    images = [preprocess(BgrImage(view_image(pair.image))) for pair in pairs]
    return images + [preprocess(frame.pixels) for frame in _scene(count - len(images))]


def _scene(count: int) -> Iterator[Frame]:
    with open_source("scene", load_settings(None, (*SCENE, f"scene.frames={count}"))) as source:
        yield from source.frames()


def _each(
    given: Namespace, forms: Sequence[str], measure: Callable[[list[str]], Row]
) -> Iterator[Row]:
    """Yield a row for each form, measured with its settings, or the reason why there is none."""
    for form in forms:
        name, precision, *more = form.split()
        settings = [f"model.bundle={find_bundle()}", f"engine.name={name}", "engine.streams=1",
                    f"engine.precision={precision}", *more]  # fmt: skip
        settings += [f"engine.device={given.device}"] if name != "openvino" else []
        try:
            yield {"form": form, **measure(settings)}
        except (QlumenError, ImportError, RuntimeError) as error:
            yield {"form": form, "why": f"{type(error).__name__}: {error}"[:300]}


def _measure(
    given: Namespace,
    bundle: Bundle,
    settings: list[str],
    parity: Callable[[Engine], Row] = lambda _: {},
) -> Row:
    """Open an engine, time frames one after another, and say what they take on the device."""
    latency, begun = LatencyRecorder(), time.monotonic()
    with open_engine(bundle, load_settings(None, settings)) as engine:
        engine.warm_up()
        opened_s, image = time.monotonic() - begun, _black(engine)
        for _ in range(10 if given.short else 2000):
            begun_ns = time.monotonic_ns()
            ticket = engine.submit(image)
            latency.add("submit", time.monotonic_ns() - begun_ns)
            ticket.result()
            latency.add("whole", time.monotonic_ns() - begun_ns)
        whole, submit = latency.summary()["whole"], latency.summary()["submit"]
        held = {"fast": whole.p50 < WHOLE_LIMIT_MS} if given.device == "cuda" else {}
        return {**parity(engine), "graph": engine.describe().get("cuda_graph"),
                "p50_ms": whole.p50, "p99_ms": whole.p99, "max_ms": whole.max, **held,
                "submit_ms": submit.p50, **_operations(given, engine), "open_s": opened_s,
                **_memory(given)}  # fmt: skip


def _operations(given: Namespace, engine: Engine) -> Row:
    """Count and time what runs for a frame: kernels on a card, torch's operations on a CPU."""
    from torch._C._profiler import _ExperimentalConfig
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity, profile

    kind, count = "CUDA" if given.device == "cuda" else "CPU", 3 if given.short else 20
    all_threads = _ExperimentalConfig(profile_all_threads=True) if kind == "CPU" else None
    activities = [getattr(ProfilerActivity, kind)]
    with profile(activities=activities, experimental_config=all_threads) as profiler:
        for _ in range(count):
            engine.infer(_black(engine))
    events = [e for e in profiler.events() if e.device_type == getattr(DeviceType, kind)]
    times = sorted((e.time_range.start, e.time_range.end) for e in events if "Mem" not in e.name)
    row: Row = {}
    if times and len(times) % count == 0:
        spans = np.array(times).reshape(count, -1, 2)
        row = {"graph_ms": float(np.median(spans[:, -1, 1] - spans[:, 0, 0])) / 1000}
    for copy in ("HtoD", "DtoH"):
        if found := [e.time_range.elapsed_us() for e in events if copy in e.name]:
            row[f"{copy}_us"] = median(found)
    return row | {"operations": len(times) / count}


def _memory(given: Namespace) -> Row:
    import torch

    free, whole = torch.cuda.mem_get_info() if given.device == "cuda" else (0, 0)
    return {"memory_mib": (whole - free) >> 20 if whole else round(rss_mib())}


def _black(engine: Engine) -> Any:
    return np.zeros((*engine.input_size[::-1], 3), np.uint8)


def _show(given: Namespace, name: str, settings: list[str], more: Sequence[str] = ()) -> Row:
    """Run a command on the clip, and return counts and percentiles of its summary."""
    summary = given.output / f"{name}.json"
    clip = record_scene(given.output / "scene.mp4", 50 if given.short else CLIP_FRAMES)
    _qlumen(settings, name, clip, "--json", summary, *more)
    about: Row = json.loads(summary.read_text("utf-8"))
    row: Row = {}
    for key in SUMMARY:
        if isinstance(about.get(key), dict):
            row |= {f"{key} {part}": about[key][part] for part in ("p50", "p99")}
        elif key in about:
            row[key] = about[key]
    return row


def _qlumen(settings: Sequence[str], *arguments: object) -> None:
    """Run a command of qlumen; raise RuntimeError with its last line if it fails."""
    command = [sys.executable, "-c", "from qlumen.realtime.cli import main; main()"]
    command += [str(one) for one in arguments]
    command += [part for one in settings for part in ("--set", one)]
    done = subprocess.run(command, check=False, stderr=subprocess.PIPE)
    if done.returncode:
        raise RuntimeError(done.stderr.decode(errors="replace").strip().rpartition("\n")[2])

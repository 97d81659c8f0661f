"""Time of a frame and of a training step for every bottleneck, taken in turns in one run."""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import torch

from qlumen.evaluation.ablation.plan import Plan, RunKey
from qlumen.evaluation.ablation.runs import BUNDLE
from qlumen.networks.bundle import WEIGHTS, Thresholds, read_bundle
from qlumen.networks.export import load_network, network_config, write_bundle
from qlumen.networks.unet import UNet
from qlumen.realtime.engines.openvino import CpuOptions, OpenVinoEngine
from qlumen.realtime.latency import NS_PER_MS
from qlumen.training.losses import LOSSES
from qlumen.training.settings import TrainSettings

FRAME_ROUNDS = 100
STEP_ROUNDS = 5
WARM_UP_ROUNDS = 3
LIVE_STREAMS = 1
SEED = 0


def measure(plan: Plan, keys: Sequence[RunKey], size: int) -> dict[str, dict[str, float]]:
    """Medians by bottleneck: `ms_frame` of the compiled network at `size`x`size`, batch 1, and
    `ms_step` of forward, loss and backward at the training's batch and side.

    Args:
        keys: one whole run of each bottleneck; times do not depend on the weights.
    """
    networks = {key.bottleneck: _network(plan.folder(key) / BUNDLE) for key in keys}
    frames = _frame_times(networks, size)
    steps = _step_times(networks, plan.settings(keys[0]))
    return {
        name: {
            "ms_frame": statistics.median(frames[name]),
            "ms_step": statistics.median(steps[name]),
        }
        for name in networks
    }


def interleaved_ms(
    functions: Mapping[str, Callable[[], object]], rounds: int
) -> dict[str, list[float]]:
    """Milliseconds of each call; the functions take turns, so that a noisy spell hits all."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for turn in range(WARM_UP_ROUNDS + rounds):
        for name, function in functions.items():
            begin = time.perf_counter_ns()
            function()
            if turn >= WARM_UP_ROUNDS:
                times[name].append((time.perf_counter_ns() - begin) / NS_PER_MS)
    return times


def _network(folder: Path) -> UNet:
    manifest = read_bundle(folder).manifest
    return load_network(folder / WEIGHTS, network_config(manifest.network))


def _frame_times(networks: Mapping[str, UNet], size: int) -> dict[str, list[float]]:
    image = np.random.default_rng(SEED).integers(0, 256, (size, size, 3), np.uint8)
    thresholds = Thresholds(low=0.5, high=0.5, min_area_fraction=0)
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        calls: dict[str, Callable[[], object]] = {}
        for name, network in networks.items():
            bundle = write_bundle(
                base / name,
                network,
                name=name,
                version="speed",
                size=size,
                thresholds=thresholds,
                papers={},
            )
            engine = OpenVinoEngine(bundle.model, CpuOptions(streams=LIVE_STREAMS))
            stack.callback(engine.close)
            calls[name] = partial(engine.infer, image)
        return interleaved_ms(calls, FRAME_ROUNDS)


def _step_times(networks: Mapping[str, UNet], settings: TrainSettings) -> dict[str, list[float]]:
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.manual_seed(SEED)
    side, count = settings.input_size, settings.batch_size
    images = torch.randn(count, 3, side, side)
    masks = (torch.rand(count, 1, side, side) < 0.5).float()
    half = settings.precision == "bf16"

    def step(network: UNet) -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            logits = network(images).float()
        LOSSES[settings.loss](logits, masks).backward()

    calls = {name: partial(step, network.train()) for name, network in networks.items()}
    return interleaved_ms(calls, STEP_ROUNDS)

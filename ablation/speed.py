"""Measures the time of a frame and of a training step for each bottleneck."""

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import torch
from torch import Tensor

from qlumen.ablation.plan import Plan, RunKey
from qlumen.ablation.runs import BUNDLE
from qlumen.evaluation.measure import time_engines
from qlumen.networks.bundle import WEIGHTS, Thresholds, read_bundle
from qlumen.networks.export import write_bundle
from qlumen.networks.trained import load_network, network_config
from qlumen.networks.unet import UNet
from qlumen.realtime.engines.openvino import CpuOptions, OpenVinoEngine
from qlumen.realtime.latency import NS_PER_MS
from qlumen.training.losses import LOSSES
from qlumen.training.settings import TrainSettings

FRAME_ROUNDS = 20
STEP_ROUNDS = 5
WARM_UP_STEPS = 1
LIVE_STREAMS = 1
SEED = 0


def measure(plan: Plan, keys: Sequence[RunKey], size: int) -> dict[str, dict[str, float]]:
    """Return the median times of each bottleneck, in milliseconds.

    `ms_frame` is the compiled network at `size`x`size`, batch 1. `ms_step` is forward, loss
    and backward at the training's batch size and side.

    Args:
        keys: one complete run of each bottleneck; times do not depend on the weights
    """
    networks = {}
    for key in keys:
        folder = plan.folder(key) / BUNDLE
        config = network_config(read_bundle(folder).manifest.network)
        networks[key.bottleneck] = load_network(folder / WEIGHTS, config)
    frames = _frame_times(networks, size)
    steps = _step_times(networks, plan.settings(keys[0]))
    return {name: {"ms_frame": frames[name], "ms_step": steps[name]} for name in networks}


def _frame_times(networks: Mapping[str, UNet], size: int) -> dict[str, float]:
    thresholds = Thresholds(low=0.5, high=0.5, min_area_fraction=0)
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        engines = {}
        for name, network in networks.items():
            bundle = write_bundle(
                base / name,
                network,
                name=name,
                version="speed",
                size=size,
                thresholds=thresholds,
                provenance={},
            )
            engines[name] = OpenVinoEngine(bundle.model, CpuOptions(streams=LIVE_STREAMS))
            stack.callback(engines[name].close)
        times = time_engines(engines, FRAME_ROUNDS)
    return {name: row["p50"] for name, row in times.items()}


def _step_times(networks: Mapping[str, UNet], settings: TrainSettings) -> dict[str, float]:
    """Time the networks alternately, so that a disturbance affects all of them."""
    if settings.threads:
        torch.set_num_threads(settings.threads)
    torch.manual_seed(SEED)
    side, count = settings.input_size, settings.batch_size
    images = torch.randn(count, 3, side, side)
    masks = (torch.rand(count, 1, side, side) < 0.5).float()
    times: dict[str, list[float]] = {name: [] for name in networks}
    for _ in range(WARM_UP_STEPS + STEP_ROUNDS):
        for name, network in networks.items():
            begin = time.perf_counter_ns()
            _step(network.train(), images, masks, settings)
            times[name].append((time.perf_counter_ns() - begin) / NS_PER_MS)
    return {name: statistics.median(rows[WARM_UP_STEPS:]) for name, rows in times.items()}


def _step(network: UNet, images: Tensor, masks: Tensor, settings: TrainSettings) -> None:
    half = settings.precision == "bf16"
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        logits = network(images).float()
    LOSSES[settings.loss](logits, masks).backward()

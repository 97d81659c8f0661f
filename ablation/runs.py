"""Trains or resumes one run of an ablation, scores it and keeps its result."""

import csv
import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from qlumen.ablation.plan import Plan, RunKey
from qlumen.datasets.splits import NEGATIVES_SCORE, lesion_free_files, split_pairs
from qlumen.errors import TrainingError
from qlumen.evaluation.measure import MEASURED_SPLITS
from qlumen.evaluation.negatives import evaluate_negatives
from qlumen.evaluation.run import evaluate
from qlumen.networks.bottlenecks import BottleneckConfig, bottleneck_name
from qlumen.networks.bundle import Thresholds
from qlumen.networks.export import write_bundle
from qlumen.networks.unet import NetworkConfig, UNet
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.system.files import write_json
from qlumen.training.build import bottleneck_config
from qlumen.training.data import Dataset
from qlumen.training.finish import MIN_AREA_FRACTION
from qlumen.training.log import LOG, EpochReport
from qlumen.training.loop import LAST, Trainer
from qlumen.training.settings import FILE_SETTINGS, MACHINE_SETTINGS, TrainSettings

RESULT = "result.json"
BUNDLE = "bundle"
THRESHOLD = 0.5
"""All runs use the same threshold, so no run gets one that suits it."""
NEGATIVES = "negatives"
ENCODER = "encoder."


def read_result(plan: Plan, key: RunKey) -> dict[str, Any] | None:
    """Return the result of a complete run, else None.

    Raises:
        TrainingError: the result was made with other settings, or cannot be read
    """
    path = plan.folder(key) / RESULT
    if not path.is_file():
        return None
    try:
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        made = _identity(TrainSettings.model_validate(result["settings"]), result["limit"])
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingError(
            f"{path} is damaged: {error}; delete it to score the run again"
        ) from None
    wanted = _identity(plan.settings(key), plan.limit)
    if differing := sorted(name for name in wanted if made[name] != wanted[name]):
        raise TrainingError(
            f"{path} was made with other settings: {', '.join(differing)}; name another --output"
        )
    return result


def complete(
    plan: Plan,
    key: RunKey,
    root: Path,
    data: tuple[Dataset, Dataset | None],
    on_step: Callable[[int], None] = lambda steps_done: None,
    on_epoch: Callable[[EpochReport], None] = lambda report: None,
) -> dict[str, Any]:
    """Train a run to its last epoch, score it and keep the result; resume from a checkpoint.

    Args:
        root: data folder with the sets to score
        data: result of `training_data`

    Raises:
        TrainingError: the checkpoint belongs to another plan, or the loss is not finite
    """
    folder = plan.folder(key)
    trainer = Trainer(plan.settings(key), folder, *data)
    if trainer.has_checkpoint():
        trainer.resume()
    else:
        share_start(trainer.network, key.seed)
    trainer.run(on_step, on_epoch)
    network = trainer.finish(LAST)
    sets = _score(folder / BUNDLE, network, trainer, root, plan.limit)
    identity = _identity(trainer.settings, plan.limit)
    result = {
        "bottleneck": key.bottleneck,
        "seed": key.seed,
        "limit": identity.pop("limit"),
        "settings": identity,
        "train_images": len(trainer.train),
        "parameters": parameters(network),
        "gate": network.get_parameter("bottleneck.gate").item(),
        "steps": trainer.epoch * trainer.steps_per_epoch,
        **_cost(folder / LOG),
        "sets": sets,
    }
    write_json(folder / RESULT, result)
    return result


def share_start(network: UNet, seed: int) -> None:
    """Give the parts that all bottlenecks have in common the start weights of that seed.

    Otherwise the size of the bottleneck would change the decoder's random numbers. Weights of
    a bottleneck with the same name and shape in `identity` also start equal.
    """
    torch.manual_seed(seed)
    config = network.config.bottleneck
    plain = BottleneckConfig("identity", config.qubits, config.layers)
    start = UNet(NetworkConfig(network.config.decoder_channels, plain)).state_dict()
    weights = network.state_dict()
    for name, value in start.items():
        alike = name in weights and weights[name].shape == value.shape
        if alike and not name.startswith(ENCODER):
            weights[name] = value
    network.load_state_dict(weights)


def parameters(network: UNet) -> dict[str, int]:
    """Count the parameters of the network, its bottleneck and the bottleneck's core."""
    counts = {name: value.numel() for name, value in network.named_parameters()}
    parts = {"network": "", "bottleneck": "bottleneck.", "core": "bottleneck.core."}
    return {
        part: sum(count for name, count in counts.items() if name.startswith(prefix))
        for part, prefix in parts.items()
    }


def _identity(settings: TrainSettings, limit: int | None) -> dict[str, Any]:
    """Return what a result and the plan must agree in; a later setting has its default."""
    return {
        **settings.model_dump(mode="json", exclude=FILE_SETTINGS | MACHINE_SETTINGS),
        "limit": limit,
    }


def _cost(log: Path) -> dict[str, float]:
    with log.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: sum(float(row[name]) for row in rows) for name in ("seconds", "cpu_seconds")}


def _score(
    folder: Path, network: UNet, trainer: Trainer, root: Path, limit: int | None
) -> dict[str, Any]:
    """Score each image of each set with the engine and post-processing of replay."""
    settings = trainer.settings
    bundle = write_bundle(
        folder,
        network,
        name=f"{settings.encoder}-{bottleneck_name(bottleneck_config(settings))}",
        version="ablation",
        size=settings.input_size,
        thresholds=Thresholds(low=THRESHOLD, high=THRESHOLD, min_area_fraction=MIN_AREA_FRACTION),
        provenance=trainer.provenance(),
    )
    with closing(Segmenter.open(bundle, Settings())) as segmenter:
        return _score_sets(FrameAnalysis(segmenter, Settings(), related=False), root, limit)


def _score_sets(analysis: FrameAnalysis, root: Path, limit: int | None) -> dict[str, Any]:
    sets: dict[str, Any] = {}
    for split in MEASURED_SPLITS:
        if (root / "splits" / f"{split}.txt").is_file():
            rows = evaluate(split_pairs(root, split)[:limit], analysis)
            sets[split] = {
                "names": [row.name for row in rows],
                "dice": [row.scores.dice for row in rows],
                "iou": [row.scores.iou for row in rows],
            }
    if files := lesion_free_files(root, NEGATIVES_SCORE)[:limit]:
        free = evaluate_negatives(files, analysis)
        sets[NEGATIVES] = {
            "names": [row.name for row in free],
            "with_findings": [float(row.findings > 0) for row in free],
        }
    return sets

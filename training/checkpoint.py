"""Reads and writes a run's folder: its checkpoint, and the best weights in half precision."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from qlumen.errors import TrainingError
from qlumen.system.files import replacing, write_bytes
from qlumen.training.settings import MACHINE_SETTINGS, TrainSettings

CHECKPOINT = "checkpoint.pt"
BEST_WEIGHTS = "best.safetensors"


def check_folder(folder: Path) -> None:
    """Make the run's folder and write to it, so that hours of training are not lost."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".{CHECKPOINT}.part"
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise TrainingError(f"cannot write to run folder {folder}: {error.strerror}") from None


def write_checkpoint(folder: Path, state: Mapping[str, Any]) -> None:
    """Write the state of a run; an earlier checkpoint stays until the new one is complete."""
    # torch gets a file: with a path it reports a full disk as a RuntimeError.
    with replacing(folder / CHECKPOINT) as part, part.open("wb") as file:
        torch.save(dict(state), file)


def read_checkpoint(folder: Path, settings: TrainSettings, images_sha256: str) -> dict[str, Any]:
    """Read the state of a run.

    Args:
        images_sha256: hash of the names of the training images

    Raises:
        TrainingError: it is missing or damaged, or has other settings or images
    """
    path = folder / CHECKPOINT
    if not path.is_file():
        raise TrainingError(f"there is no {path} to resume; train without --resume first")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise TrainingError(f"{path} is damaged; start a new run: {error}") from None
    given = TrainSettings.model_validate(state["settings"]).model_dump(mode="json")
    here = settings.model_dump(mode="json", exclude=MACHINE_SETTINGS)
    if differing := sorted(key for key in here if given[key] != here[key]):
        raise TrainingError(f"{path} was made with other settings: {', '.join(differing)}")
    if state["images"] != images_sha256:
        raise TrainingError(f"{path} has other images; give the same --data and --limit")
    return state


def write_best(folder: Path, weights: Mapping[str, Tensor], epoch: int) -> None:
    """Write the weights of an epoch in half precision, 7 MB to carry from a lent computer.

    The file's metadata hold the number of the epoch. A tensor that half precision cannot hold
    stays in single precision.
    """
    halves = {name: _halve(value).contiguous() for name, value in weights.items()}
    write_bytes(folder / BEST_WEIGHTS, save(halves, {"epoch": str(epoch)}))


def _halve(value: Tensor) -> Tensor:
    half = value.half()
    return half if value.is_floating_point() and half.isfinite().all() else value

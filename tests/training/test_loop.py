import csv
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors import safe_open
from safetensors.torch import load_file

from qlumen.errors import TrainingError
from qlumen.networks.bundle import read_bundle
from qlumen.training import loop
from qlumen.training.batches import Batch, training_batches
from qlumen.training.checkpoint import BEST_WEIGHTS, CHECKPOINT, write_best
from qlumen.training.command import command
from qlumen.training.data import Dataset, load_split
from qlumen.training.log import LOG, EpochReport
from qlumen.training.loop import LOSS_STEPS, Trainer
from qlumen.training.losses import bce_dice
from qlumen.training.settings import TrainSettings

SMALL = TrainSettings(
    epochs=2, batch_size=2, input_size=32, pretrained=False, threads=1, bottleneck="identity"
)
STILL = SMALL.model_copy(update={"rate": 1e-30, "encoder_rate": 1e-30, "weight_decay": 0.0})
MAX_BYTES = 8e6


@pytest.fixture(scope="module")
def train_set(scene_data: Path) -> Dataset:
    return load_split(scene_data, "train", size=96)


@pytest.fixture(scope="module")
def val_set(scene_data: Path) -> Dataset:
    return load_split(scene_data, "val", size=96)


def test_loss_of_an_epoch_is_the_mean_of_its_steps(tmp_path: Path, train_set: Dataset) -> None:
    """With weights that do not change, the loss in the log is the mean of each batch's loss, also
    if the steps are more than one look at the losses covers and no multiple of it."""
    data = train_set.repeat(6)
    one = STILL.model_copy(update={"epochs": 1})
    trainer = Trainer(one, tmp_path, data, None)
    network = trainer.network.train()
    batches = batches_of(data, one)
    assert len(batches) == LOSS_STEPS + 4
    expected = []
    for batch in batches:
        images = ((batch.images.float() - 127) / 128).contiguous(memory_format=torch.channels_last)
        expected.append(bce_dice(network(images), batch.masks.float()).item())
    reports: list[EpochReport] = []
    trainer.run(on_epoch=reports.append)
    assert reports[0].loss == pytest.approx(np.mean(expected), rel=1e-6)
    assert len(set(expected)) == len(expected)


@pytest.mark.parametrize("bad_step", [1, 3])
def test_first_batch_with_a_loss_that_is_not_finite_is_named(
    tmp_path: Path, train_set: Dataset, bad_step: int
) -> None:
    """Weights that turn NaN before a step in the midst of an epoch stop the run without a
    checkpoint, and the error names the images of that step."""
    trainer = Trainer(SMALL, tmp_path, train_set, None)
    names = batches_of(train_set, SMALL)[bad_step].names
    with pytest.raises(TrainingError, match=rf"loss is nan in epoch 1 on {', '.join(names)};"):
        trainer.run(on_step=lambda steps: spoil(trainer) if steps == bad_step else None)
    assert not trainer.has_checkpoint()


def spoil(trainer: Trainer) -> None:
    with torch.no_grad():
        trainer.network.head.bias.fill_(float("nan"))


def batches_of(data: Dataset, settings: TrainSettings) -> list[Batch]:
    sizes, seed = (settings.input_size,), settings.seed
    made = training_batches(data, [0], batch_size=settings.batch_size, sizes=sizes, seed=seed)
    return list(made)


def test_slowest_epoch_predicts_the_end(
    tmp_path: Path, train_set: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Epochs of 10, 4 and 4 s end at 18 s. A fourth, as slow as the first, ends after 27 s."""
    clock = [100.0]
    monkeypatch.setattr(
        loop, "time", SimpleNamespace(monotonic=lambda: clock[0], process_time=lambda: 0.0)
    )
    settings = STILL.model_copy(update={"epochs": 6, "batch_size": 8})
    trainer = Trainer(settings, tmp_path, train_set, None)

    def advance(report: EpochReport) -> None:
        clock[0] += 10 if report.epoch == 1 else 4

    trainer.run(on_epoch=advance, deadline=127)
    assert (trainer.epoch, trainer.out_of_time) == (3, True)


def test_command_ends_by_the_clock_and_resumes(tmp_path: Path, scene_data: Path) -> None:
    """Too little time allows one epoch; its bundle is written, and a resume goes on from it."""
    given = ["--data", scene_data, "--output", tmp_path / "bundle", "--run", tmp_path / "run"]
    given += ["--epochs", 2, "--size", 32, "--limit", 4, "--bottleneck", "identity"]
    for setting in ("batch_size=4", "input_size=32", "pretrained=false", "threads=1"):
        given += ["--set", setting]
    said = run_train(*given, "--seconds", 0.01)
    assert "ended after epoch 1 of 2" in said
    assert "--resume goes on" in said
    assert read_bundle(tmp_path / "bundle").manifest.provenance["epochs_done"] == 1
    assert (tmp_path / "run" / CHECKPOINT).is_file()
    assert "ended after" not in run_train(*given, "--resume", "--seconds", 600)
    assert read_bundle(tmp_path / "bundle").manifest.provenance["epochs_done"] == 2
    with (tmp_path / "run" / LOG).open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2"]


def run_train(*arguments: object) -> str:
    result = CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_best_weights_are_written_in_half_precision(
    tmp_path: Path, train_set: Dataset, val_set: Dataset
) -> None:
    """The file holds each best tensor as numpy rounds it, and the number of its epoch."""
    trainer = Trainer(SMALL, tmp_path, train_set, val_set)
    trainer.run()
    path = tmp_path / BEST_WEIGHTS
    kept = load_file(path)
    assert kept.keys() == trainer.best_weights.keys()
    for name, value in trainer.best_weights.items():
        exact = value.numpy()
        rounded = exact.astype(np.float16) if value.is_floating_point() else exact
        np.testing.assert_array_equal(kept[name].numpy(), rounded, err_msg=name)
        assert kept[name].numpy().dtype == rounded.dtype
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"epoch": str(trainer.best_epoch)}
    assert path.stat().st_size < MAX_BYTES
    network = loop.build_network(SMALL)
    network.load_state_dict(kept)


def test_values_beyond_half_precision_stay_single(tmp_path: Path) -> None:
    """A value above 65,504 is kept, and so is a whole number."""
    weights = {"far": torch.tensor([1e5, 1.0]), "count": torch.tensor(70_000)}
    write_best(tmp_path, weights, 3)
    kept = load_file(tmp_path / BEST_WEIGHTS)
    assert kept["far"].tolist() == [1e5, 1.0]
    assert kept["count"].item() == 70_000

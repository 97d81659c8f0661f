"""Cross labels: exact supervised run at weight 0, no gradient to the teacher, exact resume."""

import hashlib
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from qlumen.evaluation.model_card import trained_lists
from qlumen.training.command import command
from qlumen.training.cross import SURE, CrossTrainer, draw_rectangle, paste, ramp, sure_loss
from qlumen.training.data import Dataset, load_split, unlabelled_data
from qlumen.training.loop import Trainer
from qlumen.training.pretrain import Pretrainer
from qlumen.training.settings import TrainSettings

SMALL = TrainSettings(
    epochs=2, batch_size=2, input_size=32, pretrained=False, threads=1, bottleneck="identity"
)
CROSS = SMALL.model_copy(update={"unlabelled_lists": ("val",)})


@pytest.fixture(scope="module")
def images(scene_data: Path) -> Dataset:
    return load_split(scene_data, "train", size=96)


@pytest.fixture(scope="module")
def unlabelled(scene_data: Path) -> Dataset:
    found = unlabelled_data(scene_data, ("val",), size=96)
    assert not found.masks.any()
    assert found.images.any()
    return found


def states(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in trainer.averaged.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_weight_0_is_the_supervised_run(
    tmp_path: Path, images: Dataset, unlabelled: Dataset
) -> None:
    plain = Trainer(SMALL.model_copy(update={"epochs": 1}), tmp_path / "a", images, None)
    plain.run()
    weights = []
    for weight in (0.0, 0.3):
        settings = CROSS.model_copy(update={"unlabelled_weight": weight, "epochs": 1})
        trainer = CrossTrainer(settings, tmp_path / f"{weight}", images, None, unlabelled)
        trainer.run()
        weights.append(states(trainer))
    assert same(states(plain), weights[0])
    assert not same(states(plain), weights[1])


@pytest.mark.parametrize("kind", ["cross", "pretrain"])
def test_resumed_run_ends_equal(
    kind: str, tmp_path: Path, images: Dataset, unlabelled: Dataset
) -> None:
    def make(folder: str) -> Trainer:
        if kind == "pretrain":
            return Pretrainer(SMALL.model_copy(update={"input_size": 64}), tmp_path / folder,
                              unlabelled, None)  # fmt: skip
        return CrossTrainer(CROSS, tmp_path / folder, images, None, unlabelled)

    whole = make("whole")
    whole.run()
    first = make("parts")
    first.run(deadline=0)
    assert first.epoch == 1
    assert first.out_of_time
    second = make("parts")
    second.resume()
    second.run()
    assert same(states(whole), states(second))


def test_loss_gives_the_teacher_no_gradient() -> None:
    a, b = (torch.randn(1, 1, 8, 8, requires_grad=True) for _ in range(2))
    sure_loss(a, (20 * b).sigmoid()).backward()
    assert a.grad is not None
    assert a.grad.any()
    assert b.grad is None


def test_loss_counts_sure_pixels_only() -> None:
    taught = torch.tensor([[[[0.95, 0.5], [0.9, 0.05]]]])
    logits = torch.tensor([[[[1.0, 7.0], [-7.0, 2.0]]]])
    expected = (np.log1p(np.exp(-1)) + np.log1p(np.exp(2))) / 2
    assert sure_loss(logits, taught).item() == pytest.approx(expected, rel=1e-6)
    assert sure_loss(logits, torch.full_like(taught, 0.5)).item() == 0
    assert torch.tensor(0.5 ** 0.1).item() == pytest.approx(SURE, abs=1e-4)  # fmt: skip


def test_pasted_image_and_mask_agree_in_each_pixel() -> None:
    rng = np.random.default_rng(1)
    onto, piece = (torch.from_numpy(rng.integers(0, 9, (2, 1, 48, 48))) for _ in range(2))
    inside = draw_rectangle(48, rng)
    assert inside.sum() == 32 * 32
    image = paste(onto.expand(-1, 3, -1, -1), piece.expand(-1, 3, -1, -1), inside)
    mask = paste(onto >= 5, piece >= 5, inside)
    assert torch.equal(image[:, :1] >= 5, mask)
    assert mask.ne(onto >= 5).any()


def test_pretraining_in_half_precision(tmp_path: Path, unlabelled: Dataset) -> None:
    """Half precision changes the weights, but not by much."""
    weights = []
    for precision in ("fp32", "bf16"):
        update = {"input_size": 64, "epochs": 1, "precision": precision}
        trainer = Pretrainer(
            SMALL.model_copy(update=update), tmp_path / precision, unlabelled, None
        )
        trainer.run()
        weights.append(states(trainer))
    assert not same(*weights)
    name = "module.encoder.stem.1.weight"
    torch.testing.assert_close(weights[0][name], weights[1][name], atol=5e-3, rtol=0)


def test_ramp() -> None:
    assert ramp(1, 0.3) == 0.3
    assert ramp(0, 0.3) == pytest.approx(0.3 * np.exp(-5))


def test_command_writes_an_encoder_that_train_takes(tmp_path: Path, scene_data: Path) -> None:
    file = tmp_path / "encoder.safetensors"
    folder = scene_data / load_split(scene_data, "train", size=8).names[0].split("/")[0] / "images"
    result = CliRunner().invoke(command, [
        "--data", str(scene_data), "--output", str(file), "--run", str(tmp_path / "run"),
        "--pretrain", "--epochs", "1", "--limit", "4", "--set", "pretrained=false",
        "--set", "input_size=64", "--set", "batch_size=2",
        "--set", f"unlabelled_lists=[{folder}, val]",
    ])  # fmt: skip
    assert result.exit_code == 0, result.output
    settings = SMALL.model_copy(update={"start_encoder": file})
    trainer = Trainer(settings, tmp_path / "next", load_split(scene_data, "val", size=64), None)
    assert same(load_file(file), trainer.network.encoder.state_dict())
    provenance = trainer.provenance()
    assert provenance["encoder_from"]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert trained_lists(provenance) == {"train", "val", "images"}
    assert str(tmp_path.parent) not in str(provenance)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--set", "input_size=32"), "use sides of 64 on"),
        (("--output", "encoder.txt"), "ends in .safetensors"),
        (("--output", "nowhere/encoder.safetensors"), "there is no folder"),
        (("--set", "unlabelled_lists=[nothing]"), "no split"),
        (("--finish", "last", "--resume"), "leave out --finish"),
        (("--set", "start=bundle"), "leave out start"),
    ],
)
def test_bad_pretraining_is_refused_before_it_starts(
    tmp_path: Path, scene_data: Path, words: tuple[str, ...], message: str
) -> None:
    common = "--data", str(scene_data), "--output", str(tmp_path / "e.safetensors")
    run = tmp_path / "run"
    result = CliRunner().invoke(command, [*common, "--run", str(run), "--pretrain", *words])
    assert message in str(result.exception)
    assert not run.exists()


def test_command_learns_from_images_without_masks(tmp_path: Path, scene_data: Path) -> None:
    before = {one.name for one in threading.enumerate()}
    result = CliRunner().invoke(command, [
        "--data", str(scene_data), "--output", str(tmp_path / "b"), "--run", str(tmp_path / "run"),
        "--epochs", "1", "--limit", "4", "--size", "64", "--thresholds", "0.4", "0.6",
        "--bottleneck", "identity", "--set", "pretrained=false", "--set", "val_lists=[]",
        "--set", "input_size=32", "--set", "batch_size=2", "--set", "unlabelled_lists=[val]",
    ])  # fmt: skip
    assert result.exit_code == 0, result.output
    card = (tmp_path / "b/CARD.md").read_text()
    assert "and the images of `val` without their masks" in card
    after = {one.name for one in threading.enumerate()}
    assert not [name for name in after - before if "ThreadPoolExecutor" in name]

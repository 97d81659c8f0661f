import csv
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from qlumen.datasets.splits import split_names
from qlumen.errors import (
    CircuitError,
    DatasetError,
    QlumenError,
    TrainingError,
    UsageError,
)
from qlumen.evaluation.model_card import COLUMNS, render_card
from qlumen.networks.bundle import WEIGHTS, read_bundle
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource
from qlumen.training.augment import AugmentRanges, augment
from qlumen.training.batches import training_batches
from qlumen.training.build import build_network, mix_networks
from qlumen.training.command import command
from qlumen.training.data import (
    SCENE_SEED,
    SCENE_STEP,
    Dataset,
    load_split,
    render_scene,
    training_data,
)
from qlumen.training.log import FOLDER, LOG, EpochReport, append
from qlumen.training.loop import CHECKPOINT, Trainer
from qlumen.training.settings import TrainSettings

from support.few_checks import few_checks

SMALL = TrainSettings(epochs=2, batch_size=4, input_size=64, pretrained=False, threads=1)
FULL = SMALL.model_copy(
    update={"loss": "structure", "augmentation": "endoscopic", "sides": (64, 96)}
)


@pytest.fixture(scope="session")
def train_set(scene_data: Path) -> Dataset:
    return load_split(scene_data, "train")


@pytest.fixture(scope="session")
def val_set(scene_data: Path) -> Dataset:
    return load_split(scene_data, "val")


def test_resumed_run_ends_with_the_same_weights(
    tmp_path: Path, train_set: Dataset, val_set: Dataset
) -> None:
    """A run that stops after its first epoch and resumes equals an uninterrupted run."""
    whole = Trainer(FULL, tmp_path / "whole", train_set, val_set).run().state_dict()
    stopped = Trainer(FULL, tmp_path / "stopped", train_set, val_set)
    with pytest.raises(KeyboardInterrupt):
        stopped.run(on_epoch=interrupt)
    resumed = Trainer(FULL, tmp_path / "stopped", train_set, val_set)
    resumed.resume()
    assert resumed.epoch == 1
    for name, value in resumed.run().state_dict().items():
        assert torch.equal(value, whole[name]), name


def interrupt(report: object) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("bottleneck", "name"),
    [
        ("vqc", "lite0-vqc4"),
        ("hqconv", "lite0-hqconv"),
    ],
)
def test_command_trains_and_writes_a_bundle(
    tmp_path: Path, scene_data: Path, bottleneck: str, name: str
) -> None:
    """`qlumen train` writes a bundle with correct hashes and a log with one row per epoch."""
    arguments = ["--data", scene_data, "--output", tmp_path / "bundle", "--run", tmp_path / "run"]
    arguments += ["--epochs", 1, "--size", 64, "--set", "pretrained=false"]
    arguments += ["--set", "batch_size=2", "--set", "input_size=64", "--bottleneck", bottleneck]
    arguments += ["--limit", 64, "--tensorboard"]
    with few_checks():
        run_train(*arguments)
    bundle = read_bundle(tmp_path / "bundle")
    assert bundle.manifest.provenance["train_images"] == 8
    assert set(bundle.manifest.metrics) == {"val"}
    with (tmp_path / "run" / LOG).open() as file:
        (row,) = csv.DictReader(file)
    assert row["epoch"] == "1"
    curves = EventAccumulator(str(tmp_path / "run" / FOLDER)).Reload()
    (point,) = curves.Scalars("loss")
    assert (point.step, point.value) == (1, pytest.approx(float(row["loss"]), abs=1e-5))


def test_bad_arguments_end_before_training(tmp_path: Path, scene_data: Path) -> None:
    """A folder with other files, a wrong size or a wrong setting raises an error."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")
    where = ["--data", scene_data, "--run", tmp_path / "run"]
    cases = [
        (["--output", tmp_path / "mine"], "holds thesis.txt"),
        (["--output", tmp_path / "b", "--size", 100], "not a multiple of 32; use 96"),
        (["--output", tmp_path / "b", "--set", "rate=-1"], "rate"),
        (["--output", tmp_path / "b", "--set", "nonsense=1"], "nonsense"),
        (["--output", tmp_path / "b", "--set", "sides=[64, 70]"], "[70] are not multiples"),
        (["--output", tmp_path / "b", "--set", "loss=focal"], "loss"),
        (["--output", tmp_path / "b", "--mix-with", tmp_path / "none", 0.5], "none"),
        (["--output", tmp_path / "b", "--set", "rate"], "key=value"),
        (["--output", tmp_path / "b", "--set", "rate=[1"], "not valid YAML"),
        (["--output", tmp_path / "b", "--set", "bottleneck=foo"], "use one of vqc"),
    ]
    for arguments, message in cases:
        result = CliRunner().invoke(command, [str(a) for a in (*where, *arguments)])
        assert isinstance(result.exception, QlumenError)
        assert message in str(result.exception)
    assert not (tmp_path / "run").exists()


def test_limit_spreads_over_the_list(scene_data: Path) -> None:
    """A limit of half the images takes every second image."""
    whole = load_split(scene_data, "train", size=32)
    half = load_split(scene_data, "train", size=32, limit=4)
    assert half.names == whole.names[::2]


def test_adjoint_trains_like_backprop(tmp_path: Path, train_set: Dataset, val_set: Dataset) -> None:
    """An epoch ends with the same weights, to the precision of the gradients."""
    runs = []
    for method in ("backprop", "adjoint"):
        settings = SMALL.model_copy(update={"epochs": 1, "differentiation": method})
        network = Trainer(settings, tmp_path / method, train_set, val_set).run()
        runs.append(network.state_dict()["bottleneck.core.weights"])
    torch.testing.assert_close(runs[0], runs[1], atol=1e-4, rtol=0)


def test_circuit_too_large_to_cache_is_refused_before_training(
    tmp_path: Path, train_set: Dataset, val_set: Dataset
) -> None:
    """A network that no bundle can hold raises an error before training."""
    settings = SMALL.model_copy(update={"qubits": 8, "reuploading": True})
    with pytest.raises(CircuitError, match="390625 rows"):
        Trainer(settings, tmp_path, train_set, val_set)


def test_run_of_an_older_release_resumes(
    tmp_path: Path, train_set: Dataset, val_set: Dataset
) -> None:
    """A checkpoint without later settings resumes with their defaults."""
    Trainer(SMALL, tmp_path, train_set, val_set).run()
    path = tmp_path / CHECKPOINT
    state = torch.load(path, weights_only=True)
    del state["settings"]["reuploading"], state["settings"]["differentiation"]
    torch.save(state, path)
    resumed = Trainer(SMALL, tmp_path, train_set, val_set)
    resumed.resume()
    assert resumed.epoch == SMALL.epochs


def test_loss_that_is_not_finite_names_the_batch(
    tmp_path: Path, train_set: Dataset, val_set: Dataset
) -> None:
    """A NaN in the weights stops the run, and the error names the images."""
    trainer = Trainer(SMALL, tmp_path, train_set, val_set)
    with torch.no_grad():
        trainer.network.head.bias.fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"loss is nan in epoch 1 on scene/\d+"):
        trainer.run()


def test_resume_refuses_other_settings(
    tmp_path: Path, train_set: Dataset, val_set: Dataset
) -> None:
    """A checkpoint with other settings raises an error that names those settings."""
    one = SMALL.model_copy(update={"epochs": 1})
    Trainer(one, tmp_path, train_set, val_set).run()
    other = Trainer(one.model_copy(update={"rate": 1e-4}), tmp_path, train_set, val_set)
    with pytest.raises(TrainingError, match="other settings: rate"):
        other.resume()


def test_resume_refuses_other_images_and_damaged_checkpoints(
    tmp_path: Path, train_set: Dataset, val_set: Dataset
) -> None:
    """A checkpoint with other images raises an error, and so does an unreadable one."""
    Trainer(SMALL.model_copy(update={"epochs": 1}), tmp_path, train_set, val_set).run()
    other = Trainer(SMALL.model_copy(update={"epochs": 1}), tmp_path, val_set, val_set)
    with pytest.raises(TrainingError, match="other images"):
        other.resume()
    (tmp_path / "checkpoint.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(TrainingError, match="damaged"):
        other.resume()


def test_resume_without_checkpoint(tmp_path: Path, train_set: Dataset, val_set: Dataset) -> None:
    """A resume without a checkpoint raises an error."""
    with pytest.raises(TrainingError, match=r"no .*checkpoint\.pt to resume"):
        Trainer(SMALL, tmp_path, train_set, val_set).resume()


def test_missing_split_and_missing_image(tmp_path: Path, scene_data: Path) -> None:
    """The error names a missing split, and a missing image of a list."""
    with pytest.raises(DatasetError, match="no split"):
        load_split(scene_data, "absent")
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits/train.txt").write_text("nowhere/1")
    with pytest.raises(DatasetError, match=r"nowhere/images/1\.jpg is missing"):
        load_split(tmp_path, "train")


@given(st.integers(0, 10_000))
@settings(max_examples=20)
def test_image_and_mask_move_together(seed: int) -> None:
    """A white disc on black and its mask cover the same pixels after every change."""
    rows, columns = np.mgrid[:120, :120]
    mask = ((rows - 70) ** 2 + (columns - 50) ** 2 < 30**2).astype(np.uint8)
    image = np.repeat((mask * 255)[..., None], 3, axis=2)
    moved, moved_mask = augment(image, mask, 96, np.random.default_rng(seed))
    bright = moved.max(axis=2) > 0.5 * moved.max()
    assert np.mean(bright != moved_mask.astype(bool)) < 0.03


def test_a_share_of_views_shows_no_lesion() -> None:
    """With a share of 1, the augmentation finds a part of the image without the lesion."""
    mask = np.zeros((100, 100), np.uint8)
    mask[5:30, 5:30] = 1
    image = np.full((100, 100, 3), 90, np.uint8)
    always = replace(AugmentRanges(), lesion_free_share=1.0)
    free = [
        not augment(image, mask, 64, np.random.default_rng(seed), always)[1].any()
        for seed in range(40)
    ]
    assert np.mean(free) > 0.9


def test_finish_writes_the_best_epoch_mixed_with_a_bundle(tmp_path: Path, scene_data: Path) -> None:
    """--finish writes the bundle of a run without training. A mix with a share of 1 gives the
    weights of the earlier bundle."""
    common = ["--data", scene_data, "--size", 64, "--epochs", 1, "--limit", 4]
    common += ["--set", "batch_size=2", "--set", "input_size=64", "--set", "pretrained=false"]
    common += ["--set", "bottleneck=identity", "--set", "threads=1"]
    run_train(*common, "--output", tmp_path / "a", "--run", tmp_path / "one")
    further = [*common, "--run", tmp_path / "two", "--set", "seed=1"]
    with pytest.raises(UsageError, match="also give --resume"):
        run_train(*further, "--output", tmp_path / "b", "--finish", "best")
    run_train(*further, "--output", tmp_path / "b")
    ending = [*further, "--resume", "--finish", "last", "--output"]
    run_train(*ending, tmp_path / "c")
    run_train(*ending, tmp_path / "d", "--mix-with", tmp_path / "a", 1)
    a, b, c, d = (load_file(tmp_path / name / WEIGHTS) for name in "abcd")
    for name, value in a.items():
        assert torch.equal(b[name], c[name]), name
        if value.is_floating_point():  # counts of batches are the run's own
            torch.testing.assert_close(value, d[name])
    assert any(not torch.equal(a[name], b[name]) for name in a)
    (mixed_with,) = read_bundle(tmp_path / "d").manifest.provenance["mixed_with"]
    assert mixed_with["share"] == 1
    assert mixed_with["bundle_sha256"] == read_bundle(tmp_path / "a").sha256


def run_train(*arguments: object) -> None:
    result = CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output


def test_lesion_free_images_join_the_training(tmp_path: Path, scene_data: Path) -> None:
    """Images of `negatives_train` have empty masks and repeat, and the log holds their share with
    findings."""
    root = tmp_path / "data"
    shutil.copytree(scene_data, root)
    (root / "negatives/images").mkdir(parents=True)
    for name in "ab":
        cv2.imwrite(str(root / f"negatives/images/{name}.jpg"), np.full((40, 50, 3), 90, np.uint8))
    (root / "splits/negatives_train.txt").write_text("negatives/a\nnegatives/b\n")
    train, val = training_data(root, TrainSettings(lesion_free=2))
    free = ("negatives/a", "negatives/b")
    assert train.names == load_split(root, "train").names + free * 2
    assert not train.masks[-4:].any()
    one = SMALL.model_copy(update={"epochs": 1, "input_size": 32})
    trainer = Trainer(one, tmp_path / "run", train, val)
    trainer.run()
    with (tmp_path / "run" / LOG).open() as file:
        rows = list(csv.DictReader(file))
    assert 0 <= float(rows[0]["false_share"]) <= 1
    assert trainer.provenance()["lesion_free_images"] == (~train.masks.any(axis=(1, 2))).sum()


def test_batches_take_each_of_the_sides(train_set: Dataset) -> None:
    """Every batch has one of the sides, all sides occur, and an epoch repeats its batches."""
    make = partial(training_batches, train_set, batch_size=2, sizes=(32, 64), seed=3)
    sides = [batch.images.shape[-1] for epoch in range(4) for batch in make([epoch])]
    assert set(sides) == {32, 64}
    for one, two in zip(make([1]), make([1]), strict=True):
        assert torch.equal(one.images, two.images)
        assert one.masks.shape[-2:] == one.images.shape[-2:]


def test_log_of_an_older_release_keeps_its_columns(tmp_path: Path) -> None:
    """Rows of a resumed run fit the header of the file."""
    path = tmp_path / LOG
    path.write_text("epoch,loss,dice,best,seconds\n1,0.5,0.6,0.6,9.0\n")
    append(path, EpochReport(2, 0.4, 0.7, 0.7, 8.0, 0.25))
    assert path.read_text().splitlines()[1:] == [
        "1,0.5,0.6,0.6,9.0",
        "2,0.40000,0.70000,0.70000,8.00000",
    ]


def test_mixture_is_the_weighted_mean() -> None:
    """Each weight is the weighted mean; two shapes, or shares above 1, raise an error."""
    one, two, three = (build_network(SMALL) for _ in range(3))
    for network, value in ((two, 1.0), (three, -2.0)):
        for weight in network.parameters():
            torch.nn.init.constant_(weight, value)
    result = mix_networks(one, [(two, 0.25), (three, 0.5)]).state_dict()
    for name, weight in one.named_parameters():
        torch.testing.assert_close(result[name], 0.25 * weight + 0.25 - 1.0)
    other = build_network(SMALL.model_copy(update={"bottleneck": "identity"}))
    with pytest.raises(TrainingError, match="cannot mix"):
        mix_networks(one, [(other, 0.5)])
    with pytest.raises(TrainingError, match=r"add up to 1\.2"):
        mix_networks(one, [(two, 0.6), (three, 0.6)])


@pytest.mark.data
def test_no_group_is_on_both_sides(data_dir: Path) -> None:
    """No procedure or video is both trained on and scored, in lists with and without lesions."""
    for train, score in (("polypgen_train", "polypgen_c5"), ("negatives_train", "negatives_score")):
        sides = [
            {groups_of(data_dir)[name] for name in split_names(data_dir, split)}
            for split in (train, score)
        ]
        assert all(len(side) > 10 for side in sides)
        assert not sides[0] & sides[1]


def groups_of(data_dir: Path) -> dict[str, str]:
    groups = {}
    for folder in ("polypgen", "negatives_full"):
        with (data_dir / folder / "index.csv").open(encoding="utf-8") as file:
            groups |= {f"{folder}/{row['stem']}": row["group"] for row in csv.DictReader(file)}
    return groups


def test_scene_images_have_true_masks() -> None:
    """One of three rendered images may show polyps, the others have empty masks; seeds differ."""
    scene = render_scene(6, size=48)
    assert scene.names == tuple(f"scene/{row:05}" for row in range(6))
    assert scene.images.std(axis=(1, 2, 3)).min() > 5
    assert not scene.masks[[1, 2, 4, 5]].any()
    full = SceneSource(SceneSettings(seed=SCENE_SEED, obstacles=True)).frame(3 * SCENE_STEP)
    assert full.truth is not None
    assert full.truth.any() == scene.masks[3].any()


def test_run_on_all_images_keeps_the_last_epoch(tmp_path: Path, scene_data: Path) -> None:
    """A run on train and validation images chooses no epoch and takes the thresholds that it gets
    or those of `start`. It writes no figures for images that it trained on."""
    common = ["--data", scene_data, "--size", 64, "--epochs", 2, "--bottleneck", "identity"]
    common += ["--set", "batch_size=4", "--set", "input_size=64", "--set", "pretrained=false"]
    common += ["--set", "threads=1", "--set", "train_lists=[train, val]", "--set", "val_lists=[]"]
    one, two = (["--output", tmp_path / name, "--run", tmp_path / f"{name}-run"] for name in "ab")
    with pytest.raises(UsageError, match="give --thresholds LOW HIGH"):
        run_train(*common, *one)
    run_train(*common, *one, "--thresholds", 0.4, 0.7)
    first = read_bundle(tmp_path / "a").manifest
    assert (first.thresholds.low, first.thresholds.high) == (0.4, 0.7)
    assert first.provenance["train_images"] == 12
    assert (first.provenance["val_images"], first.provenance["best_epoch"]) == (0, 2)
    assert first.metrics == {}
    assert "no image was held back" in (tmp_path / "a" / "CARD.md").read_text()
    run_train(*common, *two, "--set", f"start={tmp_path / 'a'}")
    assert read_bundle(tmp_path / "b").manifest.thresholds == first.thresholds
    row = dict.fromkeys(COLUMNS, 0.5) | {"images": 3}
    measured = first.model_copy(update={"metrics": {"val": row}})
    assert "images of `val` were trained on" in render_card(measured)
    recipe = {**first.provenance["settings"], "train_lists": ["train"]}
    record = {**first.provenance, "settings": recipe}
    separate = measured.model_copy(update={"provenance": record})
    assert "were trained on" not in render_card(separate)


def test_run_ends_when_validation_stalls(
    tmp_path: Path, train_set: Dataset, val_set: Dataset
) -> None:
    """With a rate too small for any change, patience ends the run; a resume adds no epoch."""
    still = {"rate": 1e-30, "encoder_rate": 1e-30, "weight_decay": 0.0, "epochs": 9, "patience": 2}
    recipe = SMALL.model_copy(update=still)
    stalled = Trainer(recipe, tmp_path, train_set, val_set)
    stalled.run()
    assert stalled.epoch - stalled.best_epoch == 2
    assert stalled.epoch < 9
    resumed = Trainer(recipe, tmp_path, train_set, val_set)
    resumed.resume()
    resumed.run()
    assert resumed.epoch == stalled.epoch


def test_patience_without_validation_is_refused() -> None:
    """Settings with patience but without validation images raise an error."""
    with pytest.raises(ValueError, match="leave out patience"):
        TrainSettings(val_lists=(), patience=3)

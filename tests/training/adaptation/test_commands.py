"""Runs `qlumen adapt` and `qlumen label` on the scene with a small bundle."""

import shutil
from pathlib import Path

import click
import cv2
import pytest
import torch
from click.testing import CliRunner

from qlumen.datasets.groups import read_origins
from qlumen.datasets.pairs import read_pair
from qlumen.datasets.splits import pair_of, split_names, split_pairs
from qlumen.errors import QlumenError
from qlumen.evaluation.model_card import trained_lists
from qlumen.networks.bundle import Thresholds, read_bundle
from qlumen.networks.export import write_bundle
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource
from qlumen.training.adaptation.adapt import command as adapt
from qlumen.training.adaptation.adapt import write_unless_worse
from qlumen.training.adaptation.label import command as label
from qlumen.training.adaptation.students import Student, open_network, student_settings
from qlumen.training.build import build_network
from qlumen.training.data import load_split
from qlumen.training.loop import Trainer
from qlumen.training.settings import TrainSettings

from support.few_checks import few_checks

FAST = ("--set", "epochs=1", "--set", "batch_size=2", "--set", "threads=1")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, scene_data: Path) -> Path:
    """Write a bundle for images of 64 pixels that was trained on `val`, for no step."""
    folder = tmp_path_factory.mktemp("base")
    settings = TrainSettings(
        bottleneck="identity", pretrained=False, input_size=64, train_lists=("val",), threads=1
    )
    trainer = Trainer(settings, folder / "run", load_split(scene_data, "val"), None)
    thresholds = Thresholds(low=0.3, high=0.6, min_area_fraction=0)
    with few_checks():
        write_bundle(
            folder / "bundle", build_network(settings).eval(), name="base", version="3", size=64,
            thresholds=thresholds, provenance=trainer.provenance(),
        )  # fmt: skip
    return folder / "bundle"


@pytest.fixture
def data(tmp_path: Path, scene_data: Path) -> Path:
    """Copy the data folder, since `label` adds to it, with a list of images without a lesion."""
    root = shutil.copytree(scene_data, tmp_path / "data")
    (root / "negatives/images").mkdir(parents=True)
    free = SceneSource(SceneSettings(width=96, height=80, frame_count=60, polyps=False))
    for index in range(0, 60, 20):
        cv2.imwrite(str(root / f"negatives/images/{index}.jpg"), free.frame(index).image)
    (root / "splits/free.txt").write_text("negatives/0\nnegatives/20\nnegatives/40\n")
    return root


def run(command: click.Command, *words: object) -> str:
    result = CliRunner().invoke(command, [str(word) for word in words])
    if result.exception:
        raise result.exception
    return result.output


def test_batch_statistics_of_the_start_stay(tmp_path: Path, scene_data: Path, base: Path) -> None:
    bundle = read_bundle(base)
    settings = student_settings(
        bundle, "train", {"start": base, "epochs": 1, "batch_size": 2, "threads": 1}
    )
    before = open_network(bundle).state_dict()
    after = Student(settings, tmp_path, load_split(scene_data, "train")).run().state_dict()
    for name, value in before.items():
        if "running" in name:
            assert torch.equal(value, after[name])
    assert any(not torch.equal(value, after[name]) for name, value in before.items())


def test_adapt_writes_a_bundle_that_is_better_on_the_outlines(
    tmp_path: Path, data: Path, base: Path
) -> None:
    output = tmp_path / "fitted"
    shown = run(adapt, "--bundle", base, "--data", data, "--outlines", "train", "--lesion-free",
                "free", "--output", output, *FAST, "--set", "rate=3e-3")  # fmt: skip
    bundle = read_bundle(output)
    adapted = bundle.manifest.provenance["adapted"]
    assert f"after: {adapted['after']}" in shown
    assert "of 3 lesion-free" in adapted["before"]
    assert bundle.manifest.thresholds == read_bundle(base).manifest.thresholds
    assert bundle.manifest.name == "base-adapted"
    assert {"train", "val"} == trained_lists(bundle.manifest.provenance)
    with pytest.raises(QlumenError, match="not a bundle file"):
        run(adapt, "--bundle", base, "--data", data, "--outlines", "train",
            "--output", data / "scene", *FAST)  # fmt: skip


def test_worse_network_is_refused_and_nothing_is_written(
    tmp_path: Path, data: Path, base: Path
) -> None:
    """A network that finds nothing loses Dice; one that finds all marks lesion-free images."""
    bundle, output = read_bundle(base), tmp_path / "new"
    settings = student_settings(bundle, "train", {"start": base, "threads": 1})
    student = Student(settings, tmp_path / "run", load_split(data, "train"))
    pairs = [pair for pair in split_pairs(data, "train") if read_pair(pair)[1].any()]
    free = [pair_of(data, name).image for name in split_names(data, "free")]
    networks = {}
    for name, bias in (("nothing", -20.0), ("all", 20.0)):
        networks[name] = open_network(bundle)
        with torch.no_grad():
            networks[name].head.bias.fill_(bias)
    bundles = {}
    for name, network in networks.items():
        with few_checks():
            bundles[name] = write_bundle(
                tmp_path / name, network, name=name, version="1", size=64,
                thresholds=bundle.manifest.thresholds, provenance=student.provenance(),
            )  # fmt: skip
    for start, end in (("all", "nothing"), ("nothing", "all")):
        with pytest.raises(QlumenError, match=r"is worse: Dice .* nothing was written"):
            write_unless_worse(output, networks[end], bundles[start], student, "x", pairs, free)
        assert not output.exists()
        assert {path.name for path in tmp_path.iterdir()} == {"data", "run", "nothing", "all"}
    before, after = write_unless_worse(
        output, networks["all"], bundles["nothing"], student, "finetune", pairs, []
    )
    assert before.dice == 0 < after.dice
    assert read_bundle(output).manifest.name == "nothing-adapted"


def test_label_adds_frames_to_a_data_folder_and_goes_on_after_an_end(
    tmp_path: Path, data: Path, base: Path
) -> None:
    clip = shutil.copytree(data / "scene/images", tmp_path / "clip")
    words = (clip, "--data", data, "--seed", "val", "--run", tmp_path / "run", "--bundle", base,
             "--rounds", 1, "--prototypes", 2, 2, *FAST)  # fmt: skip
    shown = run(label, *words)
    lists = [path.stem for path in (data / "splits").glob("*label_train.txt")]
    names = [name for one in sorted(lists) for name in split_names(data, one)]
    assert sorted(names) == sorted(f"label/clip_{path.stem}" for path in clip.iterdir())
    assert {origin.cluster for origin in read_origins(data, names)} == {"label/clip"}
    image, mask = read_pair(split_pairs(data, "label_train")[0])
    assert image.shape[:2] == mask.shape == (80, 96)
    assert names[0].removeprefix("label/") in shown
    first = {path.name: path.read_bytes() for path in (data / "label/masks").iterdir()}
    assert (tmp_path / "run" / "round-1").is_dir()
    shutil.rmtree(data / "label")
    run(label, *words)
    assert first == {path.name: path.read_bytes() for path in (data / "label/masks").iterdir()}
    run(label, *words, "--rounds", 0, "--cross")
    assert first != {path.name: path.read_bytes() for path in (data / "label/masks").iterdir()}


def test_images_that_would_have_one_name_are_refused(
    tmp_path: Path, data: Path, base: Path
) -> None:
    image = next((data / "scene/images").iterdir())
    for place in ("clip/a/b.jpg", "clip/a_b.jpg"):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(image, tmp_path / place)
    with pytest.raises(QlumenError, match="would have the name clip_a_b"):
        run(label, tmp_path / "clip", "--data", data, "--seed", "train", "--bundle", base,
            "--run", tmp_path / "run")  # fmt: skip
    assert not (data / "label").exists()


@pytest.mark.parametrize(
    ("command", "words", "message"),
    [
        (adapt, ["--outlines", "none"], "no split"),
        (adapt, ["--outlines", "train", "--lesion-free", "none"], "no split"),
        (adapt, ["--outlines", "train", "--method", "rounds"], "needs --frames"),
        (adapt, ["--outlines", "train", "--frames", "x"], "finetune takes none"),
        (adapt, ["--outlines", "train", "--method", "rounds", "--frames", "x"], "no such video"),
        (adapt, ["--outlines", "train", "--set", "epochs=0"], "epochs"),
        (adapt, ["--outlines", "train", "--set", "encoder=lite2"], "use a bundle or settings"),
        (label, ["nowhere", "--seed", "train"], "no such video or folder"),
        (label, ["CLIP", "--seed", "none"], "no split"),
        (label, ["CLIP", "--seed", "train", "--name", "scene"], "other data"),
        (label, ["CLIP", "--seed", "train", "--name", "../x"], "use letters"),
        (label, ["CLIP", "CLIP", "--seed", "train"], "two clips have the name"),
        (label, ["EMPTY", "--seed", "train"], "no image"),
    ],
)
def test_bad_input_is_refused_before_work(
    tmp_path: Path, data: Path, base: Path, command: click.Command, words: list[str], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"CLIP": str(data / "scene/images"), "EMPTY": str(tmp_path / "empty")}
    given = [places.get(word, word) for word in words]
    out = "--run" if command is label else "--output"
    with pytest.raises(QlumenError, match=message):
        run(command, *FAST, *given, "--data", data, "--bundle", base, out, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert not (data / "label").exists()

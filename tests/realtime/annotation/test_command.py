"""Checks `qlumen annotate` on a clip of the scene, whose outlines are known."""

import csv
import subprocess
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner, Result

from qlumen.datasets.groups import read_origins
from qlumen.datasets.pairs import read_pair
from qlumen.datasets.splits import split_pairs
from qlumen.realtime.annotation.clip import read_keys
from qlumen.realtime.commands.annotate import command
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource

from support.media import write_video

FRAMES, KEYS = 21, (0, 10, 20)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[np.ndarray]]:
    folder = tmp_path_factory.mktemp("clip")
    scene = SceneSource(SceneSettings(320, 240, Fraction(25), FRAMES, 3))
    frames = list(scene.frames())
    write_video(folder / "exam 1.mp4", [frame.image for frame in frames])
    truth = [frame.truth for frame in frames if frame.truth is not None]
    assert any(mask.any() for mask in truth)
    return folder / "exam 1.mp4", truth


def _keys(folder: Path, truth: list[np.ndarray]) -> Path:
    folder.mkdir()
    for index in KEYS:
        cv2.imwrite(str(folder / f"{index:04}.png"), truth[index])
    return folder


def _run(*words: object) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words])


def test_frames_become_data_that_train_reads(
    clip: tuple[Path, list[np.ndarray]], tmp_path: Path
) -> None:
    path, truth = clip
    result = _run(path, "--keys", _keys(tmp_path / "keys", truth), "--output", tmp_path / "data")
    assert result.exit_code == 0, result.output
    assert "exam_1: 3 key frames, 18 propagated, 0 left out" in result.output
    with (tmp_path / "data/exam_1/index.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["stem"]) for row in rows] == list(range(FRAMES))
    assert {int(row["stem"]) for row in rows if row["source"] == "key"} == set(KEYS)
    scores = []
    for pair in split_pairs(tmp_path / "data", "exam_1_train"):
        image, mask = read_pair(pair)
        assert image.shape == (240, 320, 3)
        expected = truth[int(pair.image.stem)] > 0
        if int(pair.image.stem) in KEYS:
            assert np.array_equal(mask > 0, expected)
        scores.append(2 * (mask & expected).sum() / max(1, mask.sum() + expected.sum()))
    assert np.mean(scores) >= 0.95
    names = [pair.name for pair in split_pairs(tmp_path / "data", "exam_1_key_train")]
    origins = read_origins(tmp_path / "data", names)
    assert {(origin.cluster, origin.source) for origin in origins} == {("exam_1/exam_1", "key")}


def test_frames_without_a_lesion_are_a_list_of_their_own(
    clip: tuple[Path, list[np.ndarray]], tmp_path: Path
) -> None:
    path, truth = clip
    keys = tmp_path / "keys"
    keys.mkdir()
    cv2.imwrite(str(keys / "5.png"), np.zeros_like(truth[0]))
    words = "--keys", keys, "--output", tmp_path / "data", "--name", "none", "--every", 10
    result = _run(path, *words, "--no-network")
    assert result.exit_code == 0, result.output
    splits = {file.stem: file.read_text() for file in (tmp_path / "data/splits").iterdir()}
    assert splits == {
        "negatives_none_train": "none/000000\nnone/000005\nnone/000010\nnone/000020\n"
    }


def test_several_people_agree_and_vote(clip: tuple[Path, list[np.ndarray]], tmp_path: Path) -> None:
    """Two of three outline a square in frame 0, and one alone outlines frame 10."""
    path, truth = clip
    square, moved = np.zeros_like(truth[0]), np.zeros_like(truth[0])
    square[50:70, 50:70] = 2
    moved[50:70, 60:80] = 1
    folders = []
    for name, mask in (("anna", square), ("ben", square), ("cora", moved)):
        folders.append(tmp_path / name)
        folders[-1].mkdir()
        cv2.imwrite(str(folders[-1] / "0.png"), mask)
    cv2.imwrite(str(folders[0] / "10.png"), moved)
    keys = [word for folder in folders for word in ("--keys", folder)]
    result = _run(path, *keys, "--output", tmp_path / "data", "--name", "three", "--no-network")
    assert result.exit_code == 0, result.output
    assert (
        f"{folders[0]} and {folders[1]}: mean Dice 1.000, kappa 1.000 on 1 frames" in result.output
    )
    assert (
        f"{folders[1]} and {folders[2]}: mean Dice 0.500, kappa 0.497 on 1 frames" in result.output
    )
    masks = [cv2.imread(str(tmp_path / f"data/three/masks/{i:06}.png"), 0) for i in (0, 10)]
    np.testing.assert_array_equal(masks[0] > 0, square > 0)
    np.testing.assert_array_equal(masks[1] > 0, moved > 0)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("30.png", np.zeros((240, 320), np.uint8), "the last frame of the clip is 20"),
        ("3.png", np.zeros((240, 300), np.uint8), "300x240, the clip 320x240"),
        ("three.png", np.zeros((240, 320), np.uint8), "name a mask after its frame"),
        ("3.png", np.full((240, 320, 3), (0, 9, 9), np.uint8), "has colours"),
        ("3.png", np.full((240, 320, 4), 9, np.uint8), "has colours or transparency"),
        ("3.png", np.full((240, 320), 256, np.uint16), "has level 256"),
        ("3.png", b"", "not a readable image"),
        ("3.png", None, "not a readable image"),
        ("3.txt", None, "has no mask"),
    ],
)
def test_bad_key_is_refused_and_nothing_written(
    clip: tuple[Path, list[np.ndarray]],
    tmp_path: Path,
    name: str,
    content: np.ndarray | bytes | None,
    message: str,
) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    if not isinstance(content, np.ndarray):
        (keys / name).write_bytes(b"no image" if content is None else content)
    else:
        cv2.imwrite(str(keys / name), content)
    result = _run(clip[0], "--keys", keys, "--output", tmp_path / "data")
    assert message in str(result.exception)
    assert not (tmp_path / "data").exists()


def test_clip_that_ends_early_is_annotated_up_to_there(
    clip: tuple[Path, list[np.ndarray]], tmp_path: Path
) -> None:
    path, truth = clip
    whole, broken = tmp_path / "whole.mp4", tmp_path / "broken.mp4"
    words = "-c:v", "mjpeg", "-q:v", "2", "-movflags", "+faststart"
    subprocess.run(["ffmpeg", "-v", "error", "-i", path, *words, whole], check=True)
    content = whole.read_bytes()
    broken.write_bytes(content[: len(content) * 3 // 4])
    keys = tmp_path / "keys"
    keys.mkdir()
    cv2.imwrite(str(keys / "0.png"), truth[0])
    result = _run(broken, "--keys", keys, "--output", tmp_path / "data", "--no-network")
    assert result.exit_code == 0, result.output
    written = len(list((tmp_path / "data/broken/masks").iterdir()))
    assert 10 <= written < FRAMES


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("splits", "splits/train.txt"),
        ("kvasir-seg", "kvasir-seg/images/a.jpg"),
        ("exam_key", "splits/exam_key_train.txt"),  # a list of the clip "exam"
        ("negatives", "negatives/a.jpg"),
        ("../up", "up/a.jpg"),
    ],
)
def test_other_data_is_not_replaced(
    clip: tuple[Path, list[np.ndarray]], tmp_path: Path, name: str, other: str
) -> None:
    path, truth = clip
    kept = tmp_path / "data" / other
    kept.parent.mkdir(parents=True)
    kept.write_text("exam/000001\n")
    words = "--keys", _keys(tmp_path / "keys", truth), "--output", tmp_path / "data"
    result = _run(path, *words, "--name", name)
    assert result.exit_code != 0
    assert "name" in str(result.exception)
    assert kept.read_text() == "exam/000001\n"


def test_numbers_of_16_bits_stay(tmp_path: Path) -> None:
    levels = np.array([[0, 1], [2, 255]], np.uint16)
    cv2.imwrite(str(tmp_path / "7.png"), levels)
    assert np.array_equal(read_keys(tmp_path)[7], levels)


def test_second_run_replaces_the_first(clip: tuple[Path, list[np.ndarray]], tmp_path: Path) -> None:
    path, truth = clip
    words = "--keys", _keys(tmp_path / "keys", truth), "--output", tmp_path / "data"
    for every in (5, 20):
        result = _run(path, *words, "--every", every, "--no-network")
        assert result.exit_code == 0, result.output
    assert len(list((tmp_path / "data/exam_1/images").iterdir())) == len(KEYS)

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from qlumen.datasets.pairs import find_pairs, read_pair
from qlumen.errors import DatasetError, UsageError
from qlumen.evaluation.command import command
from qlumen.realtime.cli import commands
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource

SIZES = {"a2": (96, 80), "a10": (61, 47), "a1": (352, 352)}
MIN_DICE = 0.82


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write frames of the scene with their true masks, in different sizes."""
    root = tmp_path_factory.mktemp("scenes")
    (root / "images").mkdir()
    (root / "masks").mkdir()
    for index, (name, (width, height)) in enumerate(SIZES.items()):
        frame = SceneSource(SceneSettings(width=width, height=height)).frame(20 * index)
        assert frame.truth is not None
        cv2.imwrite(str(root / "images" / f"{name}.jpg"), frame.image)
        cv2.imwrite(str(root / "masks" / f"{name}.png"), frame.truth * 255)
    return root


@pytest.fixture
def folders(scenes: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Copy the folders of images and masks, so that a test can change them."""
    for name in ("images", "masks"):
        shutil.copytree(scenes / name, tmp_path / name)
    return tmp_path / "images", tmp_path / "masks"


def evaluate(*arguments: object) -> None:
    result = CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output


def test_report_equals_a_recount_of_the_saved_masks(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    """The Dice of each image, and its mean, equal a count from the PNG files."""
    images, masks = folders
    report, saved = tmp_path / "r.json", tmp_path / "saved"
    evaluate("--images", images, "--masks", masks, "--json", report, "--save-masks", saved)
    content = json.loads(report.read_text())
    assert [row["name"] for row in content["images"]] == ["a1.jpg", "a2.jpg", "a10.jpg"]
    recounted = []
    for row in content["images"]:
        stem = Path(row["name"]).stem
        a, b = (cv2.imread(str(f / f"{stem}.png"), 0) > 127 for f in (saved, masks))
        assert a.shape == b.shape
        recounted.append(2 * (a & b).sum() / (a.sum() + b.sum()) if (a | b).any() else 1)
        assert row["dice"] == pytest.approx(recounted[-1])
    assert content["mean"]["dice"] == pytest.approx(np.mean(recounted))
    assert content["count"] == 3


@pytest.mark.parametrize("requests", [1, 2, 16])
def test_any_number_of_requests_gives_the_same_scores(
    folders: tuple[Path, Path], tmp_path: Path, requests: int
) -> None:
    """The scores are equal with fewer or more requests than images, and no run hangs."""
    images, masks = folders
    where = ("--images", images, "--masks", masks, "--json")
    evaluate(*where, tmp_path / "a.json", "--set", f"engine.requests={requests}")
    evaluate(*where, tmp_path / "b.json")
    a, b = (json.loads((tmp_path / name).read_text())["mean"] for name in ("a.json", "b.json"))
    assert a == pytest.approx(b, abs=1e-4)


def test_list_selects_and_orders(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """A list of `folder/stem` lines sets the images and their order."""
    listing = tmp_path / "list.txt"
    listing.write_text("any/a10\na2.jpg\n")
    assert [pair.name for pair in find_pairs(*folders, listing)] == ["a10", "a2"]


def test_image_without_mask_is_named_before_work_starts(folders: tuple[Path, Path]) -> None:
    """A missing mask gives exit code 1 and an error with the image's name."""
    images, masks = folders
    (masks / "a2.png").unlink()
    arguments = ["evaluate", "--images", str(images), "--masks", str(masks)]
    result = CliRunner().invoke(commands, arguments)
    assert isinstance(result.exception, DatasetError)
    assert "a2.jpg has no mask" in str(result.exception)
    assert result.exception.exit_code == 1


def test_bad_folders_and_lists_are_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """The error names a missing folder, list or image, and other faults of a list or folder."""
    images, masks = folders
    empty = tmp_path / "empty"
    empty.mkdir()
    listing = tmp_path / "list.txt"
    listing.write_text("any/absent\n")
    with pytest.raises(UsageError, match="no folder"):
        find_pairs(tmp_path / "absent", masks)
    with pytest.raises(UsageError, match="no list"):
        find_pairs(images, masks, tmp_path / "absent.txt")
    with pytest.raises(DatasetError, match="names absent"):
        find_pairs(images, masks, listing)
    with pytest.raises(DatasetError, match="no image to evaluate"):
        find_pairs(empty, masks)
    with pytest.raises(UsageError, match="images and masks are both"):
        find_pairs(images, images)
    listing.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetError, match="not a list of names"):
        find_pairs(images, masks, listing)
    (images / "a2.png").write_bytes((images / "a2.jpg").read_bytes())
    with pytest.raises(DatasetError, match=r"both a2\.jpg and a2\.png"):
        find_pairs(images, masks)


def test_sizes_that_differ_and_broken_files_are_named(folders: tuple[Path, Path]) -> None:
    """A mask of another size than its image, and a file that is no image, raise errors."""
    images, masks = folders
    pairs = {pair.name: pair for pair in find_pairs(images, masks)}
    cv2.imwrite(str(masks / "a2.png"), np.zeros((9, 9), np.uint8))
    with pytest.raises(DatasetError, match="is 9x9, its image 96x80"):
        read_pair(pairs["a2"])
    for content in (b"", b"no image"):
        (images / "a10.jpg").write_bytes(content)
        with pytest.raises(DatasetError, match=r"a10\.jpg is missing or not a readable image"):
            read_pair(pairs["a10"])


def test_plots_and_worst_images(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """The command draws three plots, and the worst images by the Dice of the report, each in one
    tile."""
    images, masks = folders
    plots, worst = tmp_path / "plots", tmp_path / "worst.png"
    where = ("--images", images, "--masks", masks, "--json", tmp_path / "r.json")
    evaluate(*where, "--plots", plots, "--worst", worst)
    content = json.loads((tmp_path / "r.json").read_text())
    names = {"precision-recall.png", "reliability.png", "thresholds.png"}
    assert {path.name for path in plots.iterdir()} == names
    for path in plots.iterdir():
        assert len(np.unique(cv2.imread(str(path)).reshape(-1, 3), axis=0)) > 10
    by_dice = sorted(content["images"], key=lambda row: row["dice"])
    assert [row["name"] for row in content["worst"]] == [row["name"] for row in by_dice]
    image = cv2.imread(str(worst))
    assert image.shape == (20 + 276, 4 * 256, 3)
    tiles = [image[40:, x : x + 256] for x in range(0, 1024, 256)]
    assert [bool((tile > 60).any()) for tile in tiles] == [True, True, True, False]
    assert 0 <= content["reliability"]["ece"] <= 1


def test_all_sets_of_a_data_folder(scene_data: Path, tmp_path: Path) -> None:
    """Each split alone gives the same scores, and only --split train scores train."""
    split = scene_data / "splits" / "val.txt"
    evaluate("--data", scene_data, "--json", tmp_path / "all.json")
    content = json.loads((tmp_path / "all.json").read_text())
    assert set(content["sets"]) == {"val"}
    where = ("--images", scene_data / "scene/images", "--masks", scene_data / "scene/masks")
    evaluate(*where, "--list", split, "--json", tmp_path / "one.json")
    one = json.loads((tmp_path / "one.json").read_text())
    for key in ("mean", "detection", "detection_95", "curves", "reliability"):
        assert content["sets"]["val"][key] == one[key], key
    evaluate("--data", scene_data, "--split", "train", "--json", tmp_path / "train.json")
    content = json.loads((tmp_path / "train.json").read_text())
    assert {name: row["count"] for name, row in content["sets"].items()} == {"train": 8}


def test_options_that_do_not_go_together(folders: tuple[Path, Path], tmp_path: Path) -> None:
    """Options that do not fit together raise an error that names the missing one."""
    images, masks = folders
    pair = ("--images", images, "--masks", masks)
    cases = [
        (("--images", images, "--negatives", "--plots", tmp_path / "p"), "--plots and --worst"),
        ((*pair, "--worst", tmp_path / "w.jpg"), "must end in .png"),
        ((*pair, "--split", "val"), "--split needs --data"),
        ((*pair, "--data", tmp_path), "give --images with --masks"),
        ((*pair, "--plots", images), "is the input itself"),
        ((*pair, "--worst", images / "a1.png", "--json", images / "a1.png"), "are both"),
    ]
    for arguments, message in cases:
        result = CliRunner().invoke(command, [str(a) for a in arguments])
        assert isinstance(result.exception, UsageError), result.output
        assert message in str(result.exception)
    assert {path.name for path in tmp_path.iterdir()} == {"images", "masks"}


@pytest.mark.data
def test_kvasir_test_set_reaches_the_floor(data_dir: Path, tmp_path: Path) -> None:
    """The shipped bundle's Dice on the 100 test images, counted from its masks, is high enough."""
    folder = data_dir / "kvasir-seg"
    saved, listing = tmp_path / "saved", data_dir / "splits" / "test_kvasir.txt"
    where = ("--images", folder / "images", "--masks", folder / "masks", "--list", listing)
    evaluate(*where, "--json", tmp_path / "r.json", "--save-masks", saved)
    scores = []
    for path in saved.iterdir():
        a, b = (cv2.imread(str(p), 0) > 127 for p in (path, folder / "masks" / path.name))
        scores.append(2 * (a & b).sum() / (a.sum() + b.sum()))
    assert len(scores) == 100
    assert np.mean(scores) >= MIN_DICE
    written = json.loads((tmp_path / "r.json").read_text())["mean"]["dice"]
    assert written == pytest.approx(np.mean(scores))

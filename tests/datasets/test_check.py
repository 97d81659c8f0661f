"""Checks that what would spoil a training is found, and that sound lists pass."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from qlumen.datasets.check import ALIKE_BITS, check_dataset, hash_image
from qlumen.datasets.command import command
from qlumen.datasets.splits import pair_of, split_names

Write = Callable[..., Path]


def picture(seed: int) -> NDArray[np.uint8]:
    """Return a smooth picture with detail, as frames are."""
    noise = np.random.default_rng(seed).normal(size=(12, 16, 3))
    smooth = cv2.resize(noise, (320, 240), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 40 * smooth, 0, 255).astype(np.uint8)


def disc(radius: int = 60) -> NDArray[np.uint16]:
    y, x = np.mgrid[:240, :320]
    return ((x - 160) ** 2 + (y - 120) ** 2 <= radius**2).astype(np.uint16)


@pytest.fixture
def data(write_folder: Write, tmp_path: Path) -> Path:
    """Write two lists, one for training, of four unlike pictures each."""
    for place, name in enumerate(("a_train", "b_test")):
        write_folder(tmp_path, [disc(20 * n) for n in range(4)], name)
        for n in range(4):
            cv2.imwrite(str(tmp_path / name / f"images/{n}.png"), picture(10 * place + n))
    return tmp_path


def problems(root: Path, name: str = "a_train") -> list[str]:
    found: list[str] = check_dataset(root)["lists"][name]["problems"]
    return found


def test_sound_lists_pass(data: Path) -> None:
    """Shares of lesions, sizes and empty masks are those of the discs."""
    report = check_dataset(data)
    assert report["wrong"] == 0
    assert report["overlaps"] == []
    one = report["lists"]["a_train"]
    shares = [disc(20 * n).mean() for n in range(4)]
    assert one["lesion_share"]["0.5"] == pytest.approx(np.median(shares), abs=1e-5)
    assert one["lesion_share"]["1.0"] == pytest.approx(max(shares), abs=1e-5)
    assert one["sizes"] == {"320x240": 4}
    assert one["empty_masks"] == 0  # a disc of radius 0 is a pixel
    assert CliRunner().invoke(command, ["check", str(data)]).exit_code == 0


def damage_size(folder: Path) -> None:
    cv2.imwrite(str(folder / "masks/1.png"), np.zeros((9, 9), np.uint8))


def damage_values(folder: Path) -> None:
    levels = np.tile(np.arange(5, dtype=np.uint8), (240, 64))
    cv2.imwrite(str(folder / "masks/1.png"), levels)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_size, "masks/1.png is 9x9, its image 320x240"),
        (damage_values, "holds nothing above 127, 5 values"),
        (lambda folder: (folder / "masks/1.png").unlink(), "masks/1.png is missing"),
        (lambda folder: (folder / "images/1.png").write_bytes(b"no"), "images/1.png is missing or"),
    ],
    ids=["size", "values", "mask", "image"],
)
def test_damage_is_found(data: Path, damage: Callable[[Path], Any], message: str) -> None:
    """A file that cannot be used is a problem of its list, and the exit code is 1."""
    damage(data / "a_train")
    (found,) = problems(data)
    assert message in found
    done = CliRunner().invoke(command, ["check", str(data)])
    assert done.exit_code == 1
    assert found in done.output
    assert "1 wrong" in done.output


def test_shared_images_and_groups_are_found(data: Path) -> None:
    """An image or a group in a list for training and in another one is wrong; once for each."""
    with (data / "splits/b_test.txt").open("a") as file:
        file.write("a_train/2\na_train/2\n")
    (data / "a_train/index.csv").write_text("stem,group,source\n0,p,x\n1,q,x\n2,p,x\n3,q,x\n")
    (data / "splits/c_test.txt").write_text("a_train/0\n")
    report = check_dataset(data)
    assert report["lists"]["b_test"]["problems"] == ["a_train/2 stands 2 times"]
    found = {(*one["lists"], one["kind"]): one for one in report["overlaps"]}
    assert found["a_train", "b_test", "images"]["found"] == ["a_train/2"]
    assert found["a_train", "c_test", "images"]["leak"]
    groups = found["b_test", "c_test", "groups"]
    assert (groups["found"], groups["leak"]) == (["a_train/p"], False)
    assert report["wrong"] == 3


def test_near_duplicates_are_found(data: Path) -> None:
    """A picture that was reduced, compressed and made lighter is found in another list."""
    copy = cv2.resize(picture(2), (200, 150), interpolation=cv2.INTER_AREA)
    copy = cv2.convertScaleAbs(copy, alpha=1.05, beta=8)
    (data / "b_test/images/3.png").unlink()
    cv2.imwrite(str(data / "b_test/images/3.jpg"), copy, [cv2.IMWRITE_JPEG_QUALITY, 60])
    cv2.imwrite(str(data / "b_test/masks/3.png"), np.zeros((150, 200), np.uint8))
    report = check_dataset(data)
    (one,) = report["overlaps"]
    assert one["found"] == [["a_train/2", "b_test/3"]]
    assert one["kind"] == "near_duplicates"
    assert report["wrong"] == 1
    assert report["lists"]["b_test"]["empty_masks"] == 1


def test_hash_by_hand() -> None:
    """Bits say where grey rises to the right and down: half of them on a ramp, none on its back."""
    ramp = np.linspace(40, 250, 170, dtype=np.uint8)
    image = np.repeat(np.repeat(ramp[None, :, None], 160, axis=0), 3, axis=2)
    for shown, right, down in (
        (image, 256, 0),
        (image[:, ::-1], 0, 0),
        (image.transpose(1, 0, 2), 0, 256),
        (image.transpose(1, 0, 2)[::-1], 0, 0),
    ):
        bits = np.bitwise_count(hash_image(np.ascontiguousarray(shown)))
        assert (bits[:4].sum(), bits[4:].sum()) == (right, down)


@pytest.mark.data
def test_frames_of_patients_are_not_alike(data_dir: Path) -> None:
    """Real frames of different procedures differ in far more bits than near-duplicates."""
    names = split_names(data_dir, "polypgen_c5")[::12]
    hashes = [hash_image(cv2.imread(str(pair_of(data_dir, name).image))) for name in names]
    differ = [np.bitwise_count(a ^ b).sum() for i, a in enumerate(hashes) for b in hashes[:i]]
    assert np.median(differ) > 3 * ALIKE_BITS


def test_any_suffix_of_an_image_is_found(tmp_path: Path) -> None:
    """A JPEG is taken first, then other images; the name of a JPEG stands for a missing one."""
    (tmp_path / "a/images").mkdir(parents=True)
    assert pair_of(tmp_path, "a/x.1").image.name == "x.1.jpg"
    for suffix in ("webp", "png", "jpg"):
        (tmp_path / f"a/images/x.1.{suffix}").touch()
        assert pair_of(tmp_path, "a/x.1").image.name == f"x.1.{suffix}"

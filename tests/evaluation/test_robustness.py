import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow
from scipy import ndimage

from qlumen.datasets.splits import split_pairs
from qlumen.errors import UsageError
from qlumen.evaluation import robustness
from qlumen.evaluation.command import command
from qlumen.evaluation.degradations import (
    HAZE_SHARE,
    HAZE_THINNEST,
    JPEG_QUALITY,
    KINDS,
    SEVERITIES,
    VEIL_LEVEL,
    degrade,
    disc,
    line,
)
from qlumen.evaluation.robustness import report
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource

from support.strategies import sizes

CHANCE = ("motion", "noise", "colour_cast", "haze", "contrast", "gamma")
kinds = pytest.mark.parametrize("kind", KINDS)
severities = pytest.mark.parametrize("severity", SEVERITIES)


@pytest.fixture(scope="module")
def image() -> Image:
    return SceneSource(SceneSettings(width=384, height=288)).frame(20).image


def random_image(height: int, width: int) -> Image:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def degrade_one(image: Image, kind: str, severity: int, name: str = "a.jpg") -> Image:
    return degrade(image, name, kind=kind, severity=severity)


def distance(one: Image, other: Image) -> float:
    return float(np.sqrt(np.square(one.astype(float) - other).mean()))


def shrink(image: Image) -> Image:
    return cv2.resize(image, (192, 144), interpolation=cv2.INTER_AREA)


@kinds
@given(size=sizes(40), severity=st.sampled_from(SEVERITIES))
@example(size=(1, 1), severity=3)
@settings(max_examples=15)
def test_any_size_stays_the_same(kind: str, size: tuple[int, int], severity: int) -> None:
    """The result is a new image of the same size, also for odd sizes and single rows. The given
    image does not change."""
    image = random_image(size[1], size[0])
    before = image.copy()
    changed = degrade_one(image, kind, severity)
    assert changed.shape == image.shape
    assert changed.dtype == np.uint8
    assert not np.shares_memory(changed, image)
    np.testing.assert_array_equal(image, before)


@kinds
@given(name=st.text(max_size=8))
@settings(max_examples=5)
def test_each_severity_is_farther_from_the_image(kind: str, image: Image, name: str) -> None:
    """A higher severity changes the image more, for every name of the image."""
    far = [distance(degrade_one(image, kind, severity, name), image) for severity in SEVERITIES]
    assert 0.5 < far[0] < far[1] < far[2]


@kinds
def test_a_name_always_gives_the_same_pixels(kind: str, image: Image) -> None:
    """Another name gives other pixels only in the kinds that use random numbers."""
    one, same, *others = (degrade_one(image, kind, 2, f"{name}.jpg") for name in "aabcdefgh")
    np.testing.assert_array_equal(one, same)
    assert any((one != other).any() for other in others) == (kind in CHANCE)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "resolution"])
@severities
def test_small_and_large_images_change_equally(kind: str, severity: int, image: Image) -> None:
    """An image and the same image three times as large change equally, compared at one size."""
    large = cv2.resize(image, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC)
    far = [
        distance(shrink(degrade_one(one, kind, severity)), shrink(one)) for one in (image, large)
    ]
    assert 0.6 < far[1] / far[0] < 1.6


@pytest.mark.parametrize("kind", ["defocus", "motion", "low_resolution", "resolution"])
@severities
def test_a_flat_image_has_nothing_to_blur(kind: str, severity: int) -> None:
    """Every pixel keeps its level, also at the border."""
    flat = np.full((203, 301, 3), (40, 90, 201), np.uint8)
    np.testing.assert_array_equal(degrade_one(flat, kind, severity), flat)


def test_disc_of_radius_1() -> None:
    """The middle counts 1, its neighbours count 0.5, and the corners count 1.5 - sqrt 2."""
    corner = 1.5 - np.sqrt(2)
    wanted = np.array([[corner, 0.5, corner], [0.5, 1, 0.5], [corner, 0.5, corner]])
    assert disc(1) == pytest.approx(wanted / wanted.sum())


def test_defocus_is_scipys_convolution() -> None:
    """SciPy gives the same for an image of 250 rows, with a disc of radius 1.5 px."""
    image = random_image(250, 260)
    kernel = np.zeros((5, 5, 1))
    for y in range(5):
        for x in range(5):
            kernel[y, x] = min(1, max(0, 2 - np.hypot(y - 2, x - 2)))
    smooth = ndimage.convolve(image.astype(float), kernel / kernel.sum(), mode="nearest")
    assert np.abs(degrade_one(image, "defocus", 1) - smooth).max() < 0.51


def test_motion_along_a_row() -> None:
    """Without a turn the kernel is the mean of a row of odd length."""
    for length_px in (5.0, 5.9):
        wanted = np.zeros((5, 5))
        wanted[2] = 0.2
        assert line(length_px, 0) == pytest.approx(wanted)
    assert line(0.7, 30).tolist() == [[1.0]]


@given(st.floats(0, 180))
def test_motion_follows_its_angle(angle: float) -> None:
    """The kernel's weights spread along the angle as 21 points in a row do, and not across."""
    kernel = line(21, angle)
    assert kernel.sum() == pytest.approx(1)
    rows, columns = np.mgrid[-10:11, -10:11]
    along = np.cos(np.radians(angle)) * columns - np.sin(np.radians(angle)) * rows
    across = np.sin(np.radians(angle)) * columns + np.cos(np.radians(angle)) * rows
    assert (kernel * along**2).sum() == pytest.approx((21**2 - 1) / 12, rel=0.1)
    assert (kernel * across**2).sum() < 0.5


@pytest.mark.parametrize(("severity", "shot", "read"), [(1, 8, 3), (2, 15, 6), (3, 25, 10)])
def test_noise_has_the_stated_deviation(severity: int, shot: float, read: float) -> None:
    """On two grey levels the noise has the stated deviation, no drift and separate channels."""
    for level in (96, 144):
        flat = np.full((240, 240, 3), level, np.uint8)
        noisy = degrade_one(flat, "noise", severity).astype(float).reshape(-1, 3)
        wanted = np.sqrt(shot**2 * level / 255 + read**2 + 1 / 12)
        assert noisy.std(axis=0) == pytest.approx(wanted, rel=0.03)
        assert noisy.mean() == pytest.approx(level, abs=0.3)
        assert np.abs(np.corrcoef(noisy.T) - np.eye(3)).max() < 0.03


def test_compression_has_the_psnr_of_pillow(image: Image) -> None:
    """At the coded size the PSNR equals that of Pillow's JPEG, and it falls with the severity."""
    image = cv2.resize(image, (470, 352))
    ratios = []
    for severity, quality in zip(SEVERITIES, JPEG_QUALITY, strict=True):
        file = io.BytesIO()
        Pillow.fromarray(image[..., ::-1]).save(file, "JPEG", quality=quality)
        other = np.asarray(Pillow.open(file))[..., ::-1]
        ratios.append(cv2.PSNR(degrade_one(image, "compression", severity), image))
        assert ratios[-1] == pytest.approx(cv2.PSNR(np.ascontiguousarray(other), image), abs=0.5)
    assert ratios == sorted(ratios, reverse=True)


@pytest.mark.parametrize(
    ("kind", "severity", "light"),
    [
        ("underexposure", 1, 1 / 2),
        ("underexposure", 2, 1 / 4),
        ("underexposure", 3, 2**-3.5),
        ("overexposure", 1, 2**0.6),
        ("overexposure", 3, 2**1.8),
    ],
)
def test_exposure_multiplies_the_light(kind: str, severity: int, light: float) -> None:
    """The exposure multiplies every grey level in linear light (gamma 2.2), up to white."""
    greys = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    linear = light * (greys / 255.0) ** 2.2
    wanted = 255 * np.minimum(linear, 1) ** (1 / 2.2)
    assert np.abs(degrade_one(greys, kind, severity) - wanted).max() < 0.51


@given(st.text(max_size=8))
def test_a_cast_keeps_the_brightness(name: str) -> None:
    """On grey the geometric mean of the three levels stays, and the largest gain is exp(0.16)."""
    grey = np.full((9, 9, 3), 120, np.uint8)
    logs = np.log(degrade_one(grey, "colour_cast", 2, name)[4, 4] / 120)
    assert logs.mean() == pytest.approx(0, abs=0.004)
    assert np.abs(logs).max() == pytest.approx(0.16, abs=0.006)


@severities
def test_haze_hides_the_field_and_not_its_surround(severity: int) -> None:
    """In the field each pixel moves towards the veil's grey. Black stays black around a round field
    and on a rectangle that covers a part of it."""
    y, x = np.mgrid[:288, :352] + 0.5
    radius = np.hypot(x - 176, y - 144)
    covered = (x > 240) & (y > 200)
    scene = ((radius < 130) & ~covered)[..., None]
    image = np.where(scene, random_image(288, 352) // 3 + np.uint8(40), np.uint8(0))
    hazy = degrade_one(image, "haze", severity)
    assert not hazy[radius > 136].any()
    assert not hazy[(x > 246) & (y > 206)].any()
    inside = (radius < 126) & ~covered
    share = (hazy[inside].astype(float) - image[inside]) / (VEIL_LEVEL - image[inside])
    thickest = HAZE_SHARE[severity - 1]
    assert HAZE_THINNEST * thickest - 0.01 < share.min() < 0.9 * share.max()
    assert share.max() < thickest + 0.01


def test_low_resolution_is_a_mean_of_pixels_enlarged() -> None:
    """From 320 lines 160 remain, as means of 2x2, enlarged as SciPy interpolates."""
    image = random_image(320, 400)
    means = image.reshape(160, 2, 200, 2, 3).mean(axis=(1, 3))
    enlarged = ndimage.zoom(means, (2, 2, 1), order=1, mode="nearest", grid_mode=True)
    assert np.abs(degrade_one(image, "low_resolution", 1) - enlarged).max() <= 1.01
    small = random_image(64, 80)
    np.testing.assert_array_equal(degrade_one(small, "low_resolution", 3), small)


def test_resolution_is_a_share_of_the_images_own_size() -> None:
    """From 240 lines 60 remain at the third severity, as means of 4x4, enlarged as SciPy does, up
    to two roundings."""
    image = random_image(240, 320)
    means = image.reshape(60, 4, 80, 4, 3).mean(axis=(1, 3))
    enlarged = ndimage.zoom(means, (4, 4, 1), order=1, mode="nearest", grid_mode=True)
    assert np.abs(degrade_one(image, "resolution", 3) - enlarged).max() <= 1.25


@pytest.mark.parametrize(
    ("kind", "severity", "values"),
    [
        ("contrast", 1, (0.8, 1.2)),
        ("contrast", 3, (0.4, 1.6)),
        ("gamma", 1, (0.8, 1.2)),
        ("gamma", 3, (0.5, 2.0)),
    ],
)
def test_contrast_and_gamma_go_both_ways(
    kind: str, severity: int, values: tuple[float, float]
) -> None:
    """Each name gives one of two curves over all grey levels, and both occur. The direction of a
    name is the same for all severities."""
    greys = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    levels = np.arange(256)[None, :, None] / 255
    curves = [np.minimum(levels * v, 1) if kind == "contrast" else levels**v for v in values]
    seen = set()
    for name in "abcdefgh":
        changed = degrade_one(greys, kind, severity, name)
        fits = [np.abs(changed - 255 * curve).max() < 0.51 for curve in curves]
        assert sum(fits) == 1
        seen.add(fits.index(True))
        ways = {degrade_one(greys, kind, s, name).mean() > greys.mean() for s in SEVERITIES}
        assert len(ways) == 1
    assert seen == {0, 1}


def test_report_of_two_images_by_hand() -> None:
    """A clean mean of 0.75 and noisy means of 0.75, 0.5 and 0.25 keep two thirds."""
    noise = [[1.0, 0.5], [0.5, 0.5], [0.0, 0.5]]
    haze = [[1.0, 0.5]] * 3
    content = report(["a", "b"], [1.0, 0.5], {"noise": noise, "haze": haze})
    figures = content["kinds"]["noise"]
    assert figures["kept"] == pytest.approx(2 / 3)
    assert [row["dice"] for row in figures["severities"]] == [0.75, 0.5, 0.25]
    assert [row["loss"] for row in figures["severities"]] == [0, 0.25, 0.5]
    assert figures["severities"][0]["loss_95"] == [0, 0]
    assert content["clean"]["dice"] == 0.75
    assert content["kept"] == pytest.approx((2 / 3 + 1) / 2)
    assert content["images"][0] == {
        "name": "a", "clean": 1.0, "noise": [1.0, 0.5, 0.0], "haze": [1.0, 1.0, 1.0]
    }  # fmt: skip


def test_intervals_are_of_the_paired_loss() -> None:
    """If all Dice fall by 0.1, the interval of the loss has no width, although Dice vary widely."""
    clean = np.linspace(0.2, 1, 30)
    content = report(["a"] * 30, clean.tolist(), {"noise": [(clean - 0.1).tolist()] * 3})
    for row in content["kinds"]["noise"]["severities"]:
        assert row["loss_95"] == pytest.approx([0.1, 0.1])
    low, high = content["clean"]["dice_95"]
    assert high - low > 0.1


def test_loss_by_cluster_is_that_of_whole_clusters() -> None:
    """Two clusters whose Dice fall by 0 and by 0.2 have an interval from 0 to 0.2; without
    clusters there is none."""
    clean, worse, clusters = [0.9] * 6, [0.9, 0.9, 0.9, 0.7, 0.7, 0.7], list("aaabbb")
    content = report(["a"] * 6, clean, {"noise": [worse] * 3}, clusters)
    row = content["kinds"]["noise"]["severities"][0]
    assert row["loss_95_by_cluster"] == pytest.approx([0, 0.2])
    assert row["loss_95_by_cluster"] != pytest.approx(row["loss_95"])
    assert content["clusters"] == 2
    plain = report(["a"] * 6, clean, {"noise": [worse] * 3})
    assert plain["kinds"]["noise"]["severities"][0]["loss_95_by_cluster"] is None


def test_nothing_is_kept_of_nothing() -> None:
    """If the network finds no lesion in clean images, there is no share."""
    content = report(["a"], [0.0], {"noise": [[0.0], [1.0], [0.0]]})
    assert content["kinds"]["noise"]["kept"] is None
    assert content["kept"] is None


def evaluate(*arguments: object) -> str:
    result = CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_figures_follow_from_the_images_scores(scene_data: Path, tmp_path: Path) -> None:
    """The kept share equals that from the Dice of each image, and the table shows it."""
    file = tmp_path / "r.json"
    output = evaluate("--data", scene_data, "--robustness", "--json", file)
    content = json.loads(file.read_text())["sets"]["val"]
    assert content["count"] == 4
    assert list(content["kinds"]) == list(KINDS)
    clean = np.array([row["clean"] for row in content["images"]])
    assert clean.mean() > 0
    shares = []
    for kind, figures in content["kinds"].items():
        dice = np.array([row[kind] for row in content["images"]])
        shares.append((dice.mean(axis=0) / clean.mean()).mean())
        assert figures["kept"] == pytest.approx(shares[-1])
        rows = figures["severities"]
        assert [row["dice"] for row in rows] == pytest.approx(dice.mean(axis=0))
        assert [row["loss"] for row in rows] == pytest.approx((clean[:, None] - dice).mean(axis=0))
        assert all(low <= row["loss"] <= high for row in rows for low, high in [row["loss_95"]])
        assert f"{100 * shares[-1]:.1f}%" in output
    assert content["kept"] == pytest.approx(np.mean(shares))


def test_scores_are_those_of_saved_degraded_images(scene_data: Path, tmp_path: Path) -> None:
    """Degraded images that are saved as PNG and scored give the Dice of kind and severity. Named
    folders give the figures of the data folder."""
    masks = scene_data / "scene" / "masks"
    listing = scene_data / "splits" / "val.txt"
    where = ("--masks", masks, "--list", listing, "--json", tmp_path / "r.json")
    evaluate("--images", scene_data / "scene" / "images", *where, "--robustness")
    content = json.loads((tmp_path / "r.json").read_text())["sets"]["val"]
    for kind, severity in (("compression", 2), ("haze", 3)):
        folder = tmp_path / kind
        folder.mkdir()
        for pair in split_pairs(scene_data, "val"):
            image = cv2.imread(str(pair.image))
            changed = degrade_one(image, kind, severity, pair.image.name)
            cv2.imwrite(str(folder / f"{pair.image.stem}.png"), changed)
        evaluate("--images", folder, *where)
        plain = json.loads((tmp_path / "r.json").read_text())
        wanted = [row["dice"] for row in plain["images"]]
        assert [row[kind][severity - 1] for row in content["images"]] == pytest.approx(wanted)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--images", "x"], "--robustness needs --images with --masks, or --data"),
        (["--clip", "c", "--boxes", "b"], "--robustness needs"),
        (["--images", "x", "--negatives"], "--robustness needs"),
        (["--data", "d", "--negatives"], "give --images with --masks"),
        (["--data", "d", "--clip", "c", "--boxes", "b"], "give --images with --masks"),
        (["--data", "d", "--plots", "p"], "--robustness draws nothing"),
        (["--data", "d", "--split", "negatives_score"], "lists images without a lesion"),
        (["--data", "d", "--worst", "w.png"], "--robustness draws nothing"),
        (["--images", "x", "--masks", "y", "--save-masks", "s"], "--robustness draws nothing"),
    ],
)
def test_options_that_do_not_go_together(arguments: list[str], message: str) -> None:
    """The error names the missing or surplus option before any file is read."""
    result = CliRunner().invoke(command, [*arguments, "--robustness"])
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)


@pytest.mark.data
def test_real_images_keep_a_part_of_their_dice(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three images in two kinds keep a part of their Dice. The output calls only the figures of
    ClinicDB optimistic."""
    two = {kind: KINDS[kind] for kind in ("defocus", "underexposure")}
    monkeypatch.setattr(robustness, "KINDS", two)
    file, listing = tmp_path / "r.json", tmp_path / "list.txt"
    for folder, name in (("kvasir-seg", "test_kvasir"), ("cvc-clinicdb", "test_clinicdb")):
        lines = (data_dir / "splits" / f"{name}.txt").read_text().splitlines()
        listing.write_text("\n".join(lines[:3]))
        base = data_dir / folder
        where = ("--images", base / "images", "--masks", base / "masks", "--list", listing)
        output = evaluate(*where, "--robustness", "--json", file)
        content = json.loads(file.read_text())["sets"]["list"]
        assert content["clean"]["dice"] > 0.5
        assert {0.1 < figures["kept"] < 1.2 for figures in content["kinds"].values()} == {True}
        assert ("optimistic" in output) == (name == "test_clinicdb")

"""Masks as annotation tools write them are read as lesions, or refused.

Asked for by MIC-DKFZ/nnUNet #980 and open-mmlab/mmsegmentation #681.
"""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from qlumen.datasets.masks import read_mask
from qlumen.datasets.pairs import Pair, find_pairs, view_pair
from qlumen.errors import DatasetError
from qlumen.evaluation.command import command

Truth = NDArray[np.bool_]
BLACK = [0, 0, 0]


def palette(truth: Truth, *colours: list[int]) -> Image.Image:
    image = Image.fromarray(truth.astype(np.uint8)).convert("P")
    image.putdata(truth.astype(np.uint8).ravel())
    image.putpalette([level for colour in colours for level in colour])
    return image


def transparent(truth: Truth, colour: int) -> Image.Image:
    return Image.fromarray(
        np.dstack([np.full((*truth.shape, 3), colour), truth * 255]).astype("u1")
    )


KINDS: dict[str, tuple[str, Callable[[Truth], Image.Image]]] = {
    "0 and 255": ("png", lambda t: Image.fromarray((t * 255).astype("u1"))),
    "0 and 1": ("png", lambda t: Image.fromarray(t.astype("u1"))),
    "0 and 100": ("png", lambda t: Image.fromarray((t * 100).astype("u1"))),
    "16 bits, 0 and 1": ("png", lambda t: Image.fromarray(t.astype("u2"))),
    "16 bits, 0 and 65535": ("png", lambda t: Image.fromarray((t * 65535).astype("u2"))),
    "dark palette": ("png", lambda t: palette(t, BLACK, [60, 20, 20])),
    "palette of VOC": ("png", lambda t: palette(t, BLACK, [128, 0, 0])),
    "1 bit": ("tif", lambda t: Image.fromarray(t)),
    "real numbers": ("tif", lambda t: Image.fromarray(t.astype("f4"))),
    "32 bits": ("tif", lambda t: Image.fromarray(t.astype("i4"))),
    "opacity of black": ("png", lambda t: transparent(t, 0)),
    "opacity of white": ("png", lambda t: transparent(t, 255)),
    "opaque": ("png", lambda t: Image.fromarray((t * 255).astype("u1")).convert("RGBA")),
    "JPEG": ("jpg", lambda t: Image.fromarray((t * 255).astype("u1"))),
}


def blob(seed: int, *, empty: bool = False) -> Truth:
    truth = np.zeros((48, 64), np.uint8)
    if not empty:
        x, y, r = np.random.default_rng(seed).integers((10, 10, 4), (54, 38, 9))
        cv2.circle(truth, (int(x), int(y)), int(r), 1, cv2.FILLED)
    return truth.astype(bool)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=st.integers(0, 99), empty=st.booleans())
def test_each_kind_is_read(
    kind: str, tmp_path_factory: pytest.TempPathFactory, seed: int, empty: bool
) -> None:
    """The lesion that Pillow wrote is read back; an empty mask is empty."""
    suffix, make = KINDS[kind]
    truth = blob(seed, empty=empty)
    file = tmp_path_factory.getbasetemp() / f"mask.{suffix}"
    make(truth).save(file)
    found = read_mask(file)
    assert found.dtype == np.uint8
    differing = np.count_nonzero(found != truth)
    assert differing <= (0.01 * truth.size if suffix == "jpg" else 0)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ([0, 1, 2], "holds nothing above 127, values 0, 1 and 2;"),
        ([0, 20, 60, 80, 100], "holds nothing above 127, 5 values from 0 to 100;"),
        ([1], "holds nothing above 127, only the value 1;"),
        ([200, 255], "holds nothing below 128, values 200 and 255;"),
        ([0, 1, 255], "holds labels beside white, values 0, 1 and 255;"),
    ],
)
def test_what_is_not_certain_is_refused(tmp_path: Path, levels: list[int], message: str) -> None:
    """Labels and other levels that do not say what is lesion are refused with the values seen."""
    places = np.arange(48 * 64).reshape(48, 64) % len(levels)
    file = tmp_path / "mask.png"
    Image.fromarray(np.array(levels, np.uint8)[places]).save(file)
    with pytest.raises(DatasetError, match=message):
        read_mask(file)


def test_jpeg_changes_levels(tmp_path: Path) -> None:
    """A frame that is all lesion has levels near white; a label map in JPEG is refused."""
    file = tmp_path / "mask.jpg"
    places = np.arange(48 * 64).reshape(48, 64) % 2
    Image.fromarray((254 + places).astype("u1")).save(file, quality=100)
    assert read_mask(file).all()
    Image.fromarray((4 * places).astype("u1")).save(file, quality=100)
    with pytest.raises(DatasetError, match="holds nothing above 127"):
        read_mask(file)


def test_grey_borders_are_cut_at_half_of_white(tmp_path: Path) -> None:
    """A smooth border is lesion from 128 of 255 on, and from 32768 of 65535 on."""
    ramp = np.tile(np.arange(256), (4, 1))
    for scale, dtype, name in ((1, np.uint8, "a.png"), (257, np.uint16, "b.png")):
        Image.fromarray((ramp * scale).astype(dtype)).save(tmp_path / name)
        assert np.array_equal(read_mask(tmp_path / name), ramp >= 128)


def write_pair(folder: Path, kind: str) -> tuple[Path, Path, Path]:
    """Write a lit field with a lesion, its mask, and a list that Windows' Notepad saved."""
    suffix, make = KINDS[kind]
    images, masks = folder / "im", folder / "mk"
    images.mkdir()
    masks.mkdir()
    truth = blob(1).repeat(4, 0).repeat(4, 1)
    pixels = np.full((*truth.shape, 3), (150, 60, 50), np.uint8)
    pixels[truth] = (200, 120, 110)
    Image.fromarray(pixels).save(images / "a.png")
    make(truth).save(masks / f"a.{suffix}")
    (folder / "bom.txt").write_text("a\r\n", encoding="utf-8-sig")
    return images, masks, folder / "bom.txt"


def test_evaluation_counts_a_label_map_as_a_white_mask(tmp_path: Path) -> None:
    """`evaluate` gives the same scores for masks of 0 and 1 as for white ones.

    A list with a byte order mark names the image (elastic/beats #2354, influxdata/telegraf #1378).
    """
    reports = []
    for name, kind in (("white", "0 and 255"), ("labels", "0 and 1")):
        (tmp_path / name).mkdir()
        images, masks, listing = write_pair(tmp_path / name, kind)
        report = tmp_path / f"{name}.json"
        given = ["--images", images, "--masks", masks, "--list", listing, "--json", report]
        result = CliRunner().invoke(command, [str(a) for a in given], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        reports.append(json.loads(report.read_text())["images"])
    assert reports[0] == reports[1]
    assert reports[0][0]["area_share"] > 0


def test_training_reads_the_same_masks(tmp_path: Path) -> None:
    """Training sees the lesion of a label map, and refuses a map of several labels."""
    images, masks, listing = write_pair(tmp_path, "0 and 1")
    (pair,) = find_pairs(images, masks, listing)
    image, mask = view_pair(pair)
    assert mask.shape == image.shape[:2]
    assert mask.any()
    labels = np.tile(np.arange(3, dtype=np.uint8), (192, 86))[:, :256]
    Image.fromarray(labels).save(pair.mask)
    with pytest.raises(DatasetError, match="values 0, 1 and 2"):
        view_pair(Pair("a", pair.image, pair.mask))


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_a_list_in_another_encoding_is_named(tmp_path: Path, encoding: str) -> None:
    """A list that is not UTF-8 is refused with a line that says what to do."""
    images, masks, listing = write_pair(tmp_path, "0 and 255")
    listing.write_bytes("größe\n".encode(encoding))
    with pytest.raises(DatasetError, match="is not a list of names in UTF-8; save it as UTF-8"):
        find_pairs(images, masks, listing)

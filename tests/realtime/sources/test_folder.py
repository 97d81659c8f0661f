"""Folders with many kinds of images are read."""

import struct
import zlib
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from qlumen.errors import NoFramesError, SourceError, SourceNotFoundError
from qlumen.realtime.frames import Frame
from qlumen.realtime.sources.images import IMAGE_SUFFIXES, FolderSource, read_image

from support.media import make_images, with_exif_orientation, write_image

LOSSY_LEVELS = 4
LOSSY = {".jpg", ".jpeg", ".webp"}


def frames_of(folder: Path) -> list[Frame]:
    return list(FolderSource(str(folder)).frames())


def names_of(folder: Path) -> list[str]:
    return [frame.name for frame in frames_of(folder)]


@pytest.mark.parametrize("suffix", [*sorted(IMAGE_SUFFIXES), ".JPG", ".Png"])
def test_formats(suffix: str, tmp_path: Path) -> None:
    """Each format by its suffix, in any case, gives the image that was written."""
    image = make_images(1, 63, 47)[0]
    write_image(tmp_path / f"a{suffix}", image)
    (frame,) = frames_of(tmp_path)
    error = np.abs(frame.image.astype(int) - image)
    assert frame.image.dtype == np.uint8
    assert frame.image.flags.c_contiguous
    assert error.mean() < LOSSY_LEVELS if suffix.lower() in LOSSY else error.max() == 0


def test_natural_order_and_what_is_left_out(tmp_path: Path) -> None:
    """Numbers count as numbers; other files, hidden files and subfolders are left out."""
    image = make_images(1)[0]
    for name in ("img10.png", "img2.png", "Img1.png", "img1.jpg", "frame 3.png", ".hidden.png"):
        write_image(tmp_path / name, image)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "folder.png").mkdir()
    write_image(tmp_path / "folder.png" / "img0.png", image)
    assert names_of(tmp_path) == ["frame 3.png", "img1.jpg", "Img1.png", "img2.png", "img10.png"]


def test_stills_keep_their_sizes_and_names(tmp_path: Path) -> None:
    """Sizes may differ, down to one pixel; names beyond ASCII work; times are the order."""
    for name, size in (("1 Größe.png", (40, 30)), ("2 大腸.png", (1, 1)), ("3.png", (333, 5))):
        write_image(tmp_path / name, make_images(1, *size)[0])
    source = FolderSource(str(tmp_path))
    frames = list(source.frames())
    assert [frame.size for frame in frames] == [(40, 30), (1, 1), (333, 5)]
    assert [frame.name for frame in frames] == ["1 Größe.png", "2 大腸.png", "3.png"]
    assert [frame.time_s for frame in frames] == [0, 0.04, 0.08]
    assert not source.info.sequence
    assert (source.info.width, source.info.height, source.info.frame_count) == (None, None, 3)


def test_a_sequence_has_a_rate_and_a_size(tmp_path: Path) -> None:
    """A sequence at 30000/1001 per second has exact times and the size of its first image."""
    for index, image in enumerate(make_images(3)):
        write_image(tmp_path / f"{index}.png", image)
    rate = Fraction(30000, 1001)
    source = FolderSource(str(tmp_path), sequence=True, fps=rate)
    seconds = [frame.pts * frame.time_base for frame in source.frames()]
    assert seconds == [index / rate for index in range(3)]
    assert source.info.sequence
    assert (source.info.width, source.info.height, source.info.fps) == (64, 48, rate)


def test_grey_alpha_palette_and_sixteen_bits_become_bgr(tmp_path: Path) -> None:
    """Grey is repeated, alpha is dropped, and 16 bits are divided by 257 and rounded."""
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    bgr = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)
    alpha = np.dstack([bgr, np.zeros((256, 256), np.uint8)])
    write_image(tmp_path / "1.png", levels)
    write_image(tmp_path / "2.tif", levels)
    write_image(tmp_path / "3.png", bgr[..., 0])
    write_image(tmp_path / "4.png", alpha)
    sixteen, tif, grey, opaque = (frame.image for frame in frames_of(tmp_path))
    expected = np.repeat(np.round(levels / 257)[..., None], 3, axis=2)
    np.testing.assert_array_equal(sixteen, expected)
    np.testing.assert_array_equal(tif, expected)
    np.testing.assert_array_equal(grey, np.repeat(bgr[..., :1], 3, axis=2))
    np.testing.assert_array_equal(opaque, bgr)


@pytest.mark.parametrize(("orientation", "turns"), [(1, 0), (3, 2), (6, 3), (8, 1)])
def test_exif_orientation_is_applied(orientation: int, turns: int, tmp_path: Path) -> None:
    """A photo that is stored on its side comes out upright (CIPA DC-008, tag 274)."""
    jpeg = cv2.imencode(".jpg", make_images(1)[0])[1].tobytes()
    (tmp_path / "a.jpg").write_bytes(with_exif_orientation(jpeg, orientation))
    stored = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    (frame,) = frames_of(tmp_path)
    np.testing.assert_array_equal(frame.image, np.rot90(stored, turns))


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that announces a size and has almost no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0"))


def damaged_images(folder: Path) -> list[str]:
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    jpeg = cv2.imencode(".jpg", image)[1].tobytes()
    contents = {
        "bomb.png": png_header(60000, 60000),
        "cut.jpg": jpeg[: len(jpeg) // 2],
        "empty.png": b"",
        "float.tif": cv2.imencode(".tif", image.astype(np.float32))[1].tobytes(),
        "text.jpg": b"this is no image " * 20,
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return sorted(contents)


def test_unreadable_images_are_skipped_and_named(tmp_path: Path) -> None:
    """Damaged, too large and floating-point images are counted; the others are read."""
    bad = damaged_images(tmp_path)
    for name in ("a.png", "dog.png", "z.png"):
        write_image(tmp_path / name, make_images(1)[0])
    source = FolderSource(str(tmp_path))
    frames = list(source.frames())
    assert [frame.name for frame in frames] == ["a.png", "dog.png", "z.png"]
    assert [(frame.index, frame.pts) for frame in frames] == [(0, 0), (1, 1), (2, 2)]
    assert source.drops == {"unreadable_image": len(bad)}
    assert [note.split()[0] for note in source.info.notes] == bad


def test_no_readable_image_is_an_error_on_opening(tmp_path: Path) -> None:
    """The error has the number of images and names the first."""
    damaged_images(tmp_path)
    with pytest.raises(NoFramesError, match=r"none of the 5 images in .*bomb\.png"):
        FolderSource(str(tmp_path))


def test_empty_missing_and_no_folder(tmp_path: Path) -> None:
    """Each has its own error; only a missing folder is a usage error."""
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(NoFramesError, match=r"holds no images; .*\.webp"):
        FolderSource(str(tmp_path))
    with pytest.raises(SourceError, match="is not a folder"):
        FolderSource(str(tmp_path / "notes.txt"))
    with pytest.raises(SourceNotFoundError, match="no such folder") as caught:
        FolderSource(str(tmp_path / "absent"))
    assert caught.value.exit_code == 2


def test_an_image_that_vanishes_is_skipped(tmp_path: Path) -> None:
    """A file that is deleted after the folder was listed only counts as unreadable."""
    for index, image in enumerate(make_images(3)):
        write_image(tmp_path / f"{index}.png", image)
    source = FolderSource(str(tmp_path))
    (tmp_path / "1.png").unlink()
    assert [frame.name for frame in source.frames()] == ["0.png", "2.png"]
    assert source.drops == {"unreadable_image": 1}


@pytest.mark.data
def test_real_images_are_those_that_opencv_reads(data_dir: Path) -> None:
    """The first real images equal OpenCV's reading of the files, in order."""
    folder = data_dir / "cvc-clinicdb" / "images"
    frames = FolderSource(str(folder)).frames()
    for number, frame in zip(range(5), frames, strict=False):
        np.testing.assert_array_equal(frame.image, cv2.imread(str(folder / frame.name)))
        np.testing.assert_array_equal(frame.image, read_image(folder / frame.name))
        assert frame.index == number

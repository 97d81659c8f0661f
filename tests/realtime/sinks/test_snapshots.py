"""Snapshots and masks are stored as PNG files."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from qlumen.errors import ConfigError, SinkError
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.sinks.base import NullSink
from qlumen.realtime.sinks.images import MaskWriter, SnapshotOnRequest, Snapshots

from support.media import full_disk, make_images, result_of

SIZES = [(64, 48), (1, 1), (333, 5)]


def names_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def read(path: Path) -> Image:
    return cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)


def test_snapshots_are_the_drawn_frames(tmp_path: Path) -> None:
    """Every third frame from the first on is stored pixel for pixel, with the overlay if any."""
    frames, drawn = make_images(8), make_images(8)[::-1]
    with Snapshots(tmp_path / "shots", every=3) as sink:
        assert sink.wants_overlay
        for index in range(8):
            overlay = drawn[index] if index != 6 else None
            sink.write(result_of(frames[index], index, annotated=overlay))
    expected = {"frame_000000.png": drawn[0], "frame_000003.png": drawn[3]}
    expected["frame_000006.png"] = frames[6]
    assert names_in(tmp_path / "shots") == sorted(expected)
    for name, image in expected.items():
        np.testing.assert_array_equal(read(tmp_path / "shots" / name), image)


@pytest.mark.parametrize("size", SIZES)
def test_masks_have_the_frames_size_and_two_values(size: tuple[int, int], tmp_path: Path) -> None:
    """A mask has one channel, 255 on findings and 0 elsewhere."""
    mask = np.random.default_rng(0).integers(0, 2, (size[1], size[0]), np.uint8)
    with MaskWriter(tmp_path / "masks") as sink:
        assert not sink.wants_overlay
        sink.write(result_of(make_images(1, *size)[0], 12, mask=mask))
    stored = read(tmp_path / "masks" / "frame_000012.png")
    np.testing.assert_array_equal(stored, np.where(mask == 1, 255, 0))
    assert stored.dtype == np.uint8


def test_stills_keep_their_stem(tmp_path: Path) -> None:
    """The image's stem names its mask; two images with one stem give two masks."""
    names = ["Größe 1.jpg", "a.b.tif", "a.jpg", "a.png", "frame_000001.bmp"]
    with MaskWriter(tmp_path) as sink:
        for index, name in enumerate(names):
            mask = np.full((48, 64), index % 2, np.uint8)
            sink.write(result_of(make_images(1)[0], index, name=name, mask=mask))
    assert names_in(tmp_path) == [
        "Größe 1.png", "a.b.png", "a.png", "a.png.png", "frame_000001.png",
    ]  # fmt: skip
    assert read(tmp_path / "a.png").max() == 0
    assert read(tmp_path / "a.png.png").min() == 255


def test_no_still_replaces_another(tmp_path: Path) -> None:
    """Stills whose stems and full names collide have a file each."""
    names = ["a.png.bmp", "a.jpg", "a.png"]
    with MaskWriter(tmp_path) as sink:
        for index, name in enumerate(names):
            sink.write(result_of(make_images(1)[0], index, name=name))
    assert names_in(tmp_path) == ["a.png", "a.png.png", "a.png_2.png"]


def test_existing_folders_and_images(tmp_path: Path) -> None:
    """An existing folder is used; an image of the same name is replaced, others stay."""
    (tmp_path / "frame_000000.png").write_bytes(b"older")
    (tmp_path / "mine.png").write_bytes(b"mine")
    with Snapshots(tmp_path) as sink:
        sink.write(result_of(make_images(1)[0]))
    assert names_in(tmp_path) == ["frame_000000.png", "mine.png"]
    np.testing.assert_array_equal(read(tmp_path / "frame_000000.png"), make_images(1)[0])


@pytest.mark.parametrize("sink", [Snapshots, MaskWriter])
def test_what_cannot_be_a_folder_is_refused(
    sink: type[Snapshots] | type[MaskWriter], tmp_path: Path
) -> None:
    """A missing parent or a file of that name is an error before any frame."""
    (tmp_path / "file").write_text("text")
    for path, reason in (
        (tmp_path / "absent" / "shots", "No such file or directory"),
        (tmp_path / "file", "File exists"),
    ):
        with pytest.raises(SinkError, match=f"{path} cannot be written: {reason}"):
            sink(path)


def test_every_zeroth_frame_is_a_usage_error(tmp_path: Path) -> None:
    """A step below one is refused, and no folder is made."""
    with pytest.raises(ConfigError, match="every 0 frames; give 1 or more"):
        Snapshots(tmp_path / "shots", every=0)
    assert names_in(tmp_path) == []


def test_a_full_disk_is_an_error_and_leaves_no_half_image(tmp_path: Path) -> None:
    """The error names the image; earlier images are whole, and this one is not there."""
    sink = Snapshots(tmp_path)
    sink.write(result_of(np.zeros((48, 64, 3), np.uint8), 0))
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), np.uint8)
    with full_disk(20_000), pytest.raises(SinkError) as caught:
        sink.write(result_of(noise, 1))
    expected = f"{tmp_path / 'frame_000001.png'} cannot be written: File too large"
    assert str(caught.value) == expected
    assert names_in(tmp_path) == ["frame_000000.png"]
    assert read(tmp_path / "frame_000000.png").shape == (48, 64, 3)


def test_the_null_sink_takes_all(tmp_path: Path) -> None:
    """The null sink counts, asks for no overlay and writes nothing."""
    with NullSink() as sink:
        for index in range(3):
            sink.write(result_of(make_images(1)[0], index))
    sink.close()
    assert sink.frames == 3
    assert not sink.wants_overlay


def test_a_snapshot_is_the_frame_after_the_request(tmp_path: Path) -> None:
    """Any number of requests stores the next frame once, with and without overlay."""
    frames, drawn = make_images(8), make_images(8)[::-1]
    before = datetime.now(UTC)
    with SnapshotOnRequest(tmp_path / "shots", clean=True) as sink:
        assert sink.wants_overlay
        for index in range(8):
            if index in (2, 5):
                sink.request()
                sink.request()
            sink.write(result_of(frames[index], index, annotated=drawn[index]))
    stored = {name.split("Z_")[1]: name for name in names_in(tmp_path / "shots")}
    assert sorted(stored) == [
        f"frame_{name}.png" for name in ("000002", "000002_clean", "000005", "000005_clean")
    ]
    for index in (2, 5):
        name = stored[f"frame_{index:06d}.png"]
        np.testing.assert_array_equal(read(tmp_path / "shots" / name), drawn[index])
        clean = stored[f"frame_{index:06d}_clean.png"]
        np.testing.assert_array_equal(read(tmp_path / "shots" / clean), frames[index])
        at = datetime.strptime(name.split("Z_")[0], "%Y%m%dT%H%M%S.%f").replace(tzinfo=UTC)
        assert before - timedelta(milliseconds=1) <= at <= datetime.now(UTC)


def test_requests_come_from_any_thread(tmp_path: Path) -> None:
    """A request during writing stores one of the next frames; without a request none is stored."""
    with SnapshotOnRequest(tmp_path / "shots") as sink:
        for index in range(50):
            sink.write(result_of(make_images(1)[0], index))
        assert not names_in(tmp_path / "shots")
        asking = threading.Thread(target=sink.request)
        asking.start()
        index = 50
        while not names_in(tmp_path / "shots"):
            sink.write(result_of(make_images(1)[0], index))
            index += 1
        asking.join()
        sink.write(result_of(make_images(1)[0], index))
    (name,) = names_in(tmp_path / "shots")
    assert name.endswith(f"frame_{index - 1:06d}.png")

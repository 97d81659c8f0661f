"""All pages of stacks and animations are read."""

import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image as Pillow

from qlumen.errors import UsageError
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.frames import Frame
from qlumen.realtime.review.recording import open_recording
from qlumen.realtime.sources.choose import open_source

from support.media import cut, read_source
from support.receiving import arrivals_of, frames, live

PAGES = [np.full((24, 32, 3), (20 * number, 60, 40), np.uint8) for number in range(1, 11)]


def write_pages(path: Path, **options: Any) -> Path:
    """Write ten pages, each of another colour, with Pillow."""
    first, *others = (Pillow.fromarray(page) for page in PAGES)
    first.save(path, save_all=True, append_images=others, **options)
    return path


def assert_all_pages(frames: list[Frame]) -> None:
    assert len(frames) == len(PAGES)
    for frame, page in zip(frames, PAGES, strict=True):
        np.testing.assert_array_equal(frame.image, page[..., ::-1])


@pytest.mark.parametrize("suffix", ["webp", "png", "gif"])
def test_animations_are_videos(suffix: str, tmp_path: Path) -> None:
    """All frames of animated WebP, PNG and GIF come with their times, in a replay and in a review
    (jimp-dev/jimp #816).
    """
    durations = [40] * 5 + [80] * 5
    lossless = {"lossless": True} if suffix == "webp" else {}
    path = write_pages(tmp_path / f"a.{suffix}", duration=durations, **lossless)
    for open_ in (open_source, open_recording):
        with open_(str(path), load_settings()) as source:
            frames = list(source.frames())
            assert source.info.sequence
        assert_all_pages(frames)
        times_s = [round(frame.time_s, 3) for frame in frames]
        assert times_s == [0, 0.04, 0.08, 0.12, 0.16, 0.2, 0.28, 0.36, 0.44, 0.52]


@pytest.mark.parametrize("sequence", [False, True])
def test_all_pages_of_a_stack_are_read(sequence: bool, tmp_path: Path) -> None:
    """Each page of a TIFF stack is an image with a name of its own, in a replay and in a review
    (alephdata/aleph #20).
    """
    path = write_pages(tmp_path / "a.tif")
    settings = load_settings(None, [f"source.sequence={sequence}", "source.fps=10"])
    for open_ in (open_source, open_recording):
        with open_(str(path), settings) as source:
            frames = list(source.frames())
            info = source.info
        assert (info.sequence, info.fps, info.frame_count) == (sequence, 10, 10)
        assert_all_pages(frames)
        assert [frame.name for frame in frames] == [f"a_{i:02}.tif" for i in range(1, 11)]
        assert [frame.pts * frame.time_base for frame in frames] == [
            Fraction(i, 10) for i in range(10)
        ]


def test_pages_of_16_bits_and_of_other_sizes(tmp_path: Path) -> None:
    """Pages have their own sizes; 16 bits become 8; smaller versions of a page are left out
    (alephdata/aleph #20).
    """
    pages = [Pillow.fromarray(np.full((20 + i, 30), 257 * 20 * i, np.uint16)) for i in range(1, 4)]
    path, preview = tmp_path / "a.tiff", Pillow.fromarray(np.zeros((5, 7), np.uint8))
    preview.encoderinfo = {"tiffinfo": {254: 1}}
    pages[0].save(path, save_all=True, append_images=[preview, *pages[1:]])
    frames, _ = read_source(path)
    assert [frame.size for frame in frames] == [(30, 21), (30, 22), (30, 23)]
    assert [frame.image.mean() for frame in frames] == [20, 40, 60]


def test_a_stack_that_is_cut_short_gives_its_first_pages(tmp_path: Path) -> None:
    """The pages before the cut are read, and a note says that there are more
    (alephdata/aleph #20).
    """
    frames, info = read_source(cut(write_pages(tmp_path / "a.tif"), 0.6))
    assert 2 < len(frames) < 8
    for frame, page in zip(frames[:-1], PAGES, strict=False):
        np.testing.assert_array_equal(frame.image, page[..., ::-1])
    assert any(note.startswith("the rest of a.tif cannot be read") for note in info.notes)


def test_a_folder_says_that_it_takes_the_first_page(tmp_path: Path) -> None:
    """In a folder, where a file is an image, a note names the files with more than one
    (alephdata/aleph #20).
    """
    write_pages(tmp_path / "a.tif")
    Pillow.fromarray(PAGES[0]).save(tmp_path / "b.tif")
    frames, info = read_source(tmp_path)
    assert [frame.name for frame in frames] == ["a.tif", "b.tif"]
    assert info.notes == ("a.tif holds several images, the first is read",)


def test_a_folder_opens_each_file_once(tmp_path: Path) -> None:
    """A file on a slow share is read once, to see its image and whether it holds more."""
    write_pages(tmp_path / "a.tif")
    opened, watched = [], str(tmp_path / "a.tif")

    def watch(event: str, args: tuple[object, ...]) -> None:
        if event == "open" and str(args[0]) == watched:
            opened.append(event)

    sys.addaudithook(watch)  # stays until the end of the process
    read_source(tmp_path)
    assert len(opened) == 1


def test_live_refuses_pages_that_do_not_follow_each_other(tmp_path: Path) -> None:
    """A stack of single images is no video, as a folder of them; one of a sequence is played."""
    stack, animation = write_pages(tmp_path / "a.tif"), write_pages(tmp_path / "a.webp")
    with pytest.raises(UsageError, match=r"a\.tif holds single images.*source\.sequence=true"):
        live(str(stack))
    for source in (live(str(stack), "source.sequence=true"), live(str(animation))):
        with arrivals_of(source) as arrivals:
            assert len(frames(arrivals, len(PAGES))) == len(PAGES)


def test_a_tiff_with_jpeg_inside_has_its_colours(tmp_path: Path) -> None:
    """A single TIFF, as scanners and archives write it, looks in a replay as in a folder and in
    other programs.
    """
    path = tmp_path / "a.tif"
    Pillow.fromarray(PAGES[5]).save(path, compression="jpeg", quality=95)
    (frame,), info = read_source(path)
    assert (frame.name, info.sequence) == ("a.tif", False)
    np.testing.assert_allclose(frame.image[..., ::-1], Pillow.open(path).convert("RGB"), atol=3)

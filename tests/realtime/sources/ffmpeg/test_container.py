"""Videos of many kinds are read whole, upright, in time and in colour."""

import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from qlumen.errors import (
    ConfigError,
    NotAVideoError,
    SourceError,
    SourceNotFoundError,
)
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.pixels.planes import Planes
from qlumen.realtime.pixels.pool import FramePool
from qlumen.realtime.sources.ffmpeg.container import ContainerSource
from qlumen.realtime.sources.ffmpeg.conversion import to_bgr

from support.media import (
    cut,
    fields,
    make_images,
    read_video,
    start_python,
    write_sound,
    write_video,
)
from support.recordings import (
    CONTAINERS,
    COUNT,
    NO_REORDERING,
    frames_of,
    is_increasing,
    seconds_of,
    video,
)

LOSSY_LEVELS = 6  # mean error of these encodings; a wrong matrix or range is off by more


@pytest.mark.parametrize(("name", "codec"), CONTAINERS)
def test_every_frame_comes_in_order_and_looks_right(name: str, codec: str, tmp_path: Path) -> None:
    """From 60 images come 60 frames, evenly spaced, each close to its image."""
    path = video(tmp_path / name, codec)
    frames = frames_of(path)
    seconds = seconds_of(frames)
    assert [frame.index for frame in frames] == list(range(COUNT))
    assert [time - seconds[0] for time in seconds] == [Fraction(i, 25) for i in range(COUNT)]
    for frame, image in zip(frames, make_images(COUNT), strict=True):
        assert frame.image.shape == image.shape
        assert frame.image.dtype == np.uint8
        assert frame.image.flags.c_contiguous
        assert np.abs(frame.image.astype(int) - image).mean() < LOSSY_LEVELS


@pytest.mark.parametrize(
    ("pts", "time_base"),
    [
        ([0, 3600, 7300, 7301, 20000, 23003], Fraction(1, 90000)),
        ([48601, 52201, 55801, 70000], Fraction(1, 90000)),
        ([0, 33, 67, 100, 500], Fraction(1, 1000)),
        ([0, 1001, 2002, 3003], Fraction(1, 30000)),
    ],
)
def test_time_stamps_are_the_sources_own(
    pts: list[int], time_base: Fraction, tmp_path: Path
) -> None:
    """Uneven distances and a start that is not zero stay exactly."""
    path = write_video(
        tmp_path / "a.mp4",
        make_images(len(pts)),
        pts=pts,
        time_base=time_base,
        muxing={"movie_timescale": str(time_base.denominator)},
    )
    assert seconds_of(frames_of(path)) == [stamp * time_base for stamp in pts]


def test_info_has_size_rate_length_and_what_is_left_out(tmp_path: Path) -> None:
    """The description before reading agrees with what was written."""
    rate = Fraction(30000, 1001)
    path = video(tmp_path / "a.mp4", rate=rate, audio=True)
    with ContainerSource(str(path)) as source:
        info = source.info
    assert (info.width, info.height, info.fps, info.frame_count) == (64, 48, rate, COUNT)
    assert info.sequence
    assert info.notes == ("1 audio stream dropped",)


@pytest.mark.parametrize(
    ("name", "codec", "pixels", "size"),
    [
        ("a.mp4", "libx264", "yuv420p10le", (64, 48)),
        ("a.mp4", "libx264", "yuv444p", (63, 47)),
        ("a.mp4", "libx264", "yuv422p", (64, 47)),
        ("a.mp4", "libx264", "yuvj420p", (64, 48)),
        ("a.mp4", "mpeg4", "yuv420p", (63, 47)),
        ("a.mkv", "ffv1", "bgr0", (63, 47)),
        ("a.mkv", "ffv1", "gbrp10le", (63, 47)),
        ("a.gif", "gif", "bgr8", (64, 48)),
        ("a.mp4", "libx264", "yuv444p", (2, 2)),
        ("a.mkv", "ffv1", "bgr0", (1, 1)),
        ("a.mkv", "ffv1", "bgr0", (3, 200)),
    ],
)
def test_pixel_formats_and_odd_sizes(
    name: str, codec: str, pixels: str, size: tuple[int, int], tmp_path: Path
) -> None:
    """10 bits, 4:4:4, full range, RGB, palettes and odd sizes become 8-bit BGR of that size."""
    made = make_images(4, *size)
    path = write_video(tmp_path / name, made, codec=codec, pixels=pixels)
    frames = frames_of(path)
    assert len(frames) == 4
    for frame, image in zip(frames, made, strict=True):
        assert frame.image.shape == image.shape
        assert isinstance(frame.pixels, BgrImage)  # recordings hold BT.709, and even sides
        tolerance = 25 if pixels == "bgr8" else 8  # bgr8 has only 256 colours
        assert np.abs(frame.image.astype(int) - image).mean() < tolerance


@pytest.mark.parametrize("pixels", ["gray", "gray10le"])
def test_greyscale_has_three_equal_channels(pixels: str, tmp_path: Path) -> None:
    """A grey recording keeps its levels, in three equal channels."""
    grey = [np.repeat(p[..., :1], 3, axis=2) for p in make_images(4)]
    path = write_video(tmp_path / "a.mkv", grey, codec="ffv1", pixels=pixels)
    for frame, image in zip(frames_of(path), grey, strict=True):
        assert np.ptp(frame.image, axis=2).max() == 0
        assert np.abs(frame.image.astype(int) - image).max() <= 2


@pytest.mark.parametrize("colour", [(1, 1), (1, 2), (5, 1), (5, 2), (6, 1)])
def test_flagged_colours_are_respected(colour: tuple[int, int], tmp_path: Path) -> None:
    """BT.709 and BT.601, limited and full range, give the original colours back.

    A frame in the recorder's own format stays as it was decoded.
    """
    made = [np.full((48, 64, 3), bgr, np.uint8) for bgr in ((30, 60, 200), (200, 180, 20))]
    path = write_video(tmp_path / "a.mp4", made, options={"qp": "4"}, colour=colour)
    for frame, image in zip(frames_of(path), made, strict=True):
        assert np.abs(frame.image.astype(int) - image).max() <= 6
        assert isinstance(frame.pixels, Planes) == (colour == (1, 1))


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotated_recordings_come_upright(degrees: int, tmp_path: Path) -> None:
    """The frame is turned as OpenCV's own reader turns it, and info has the upright size."""
    matrices = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}
    a, b, c, d = (number << 16 for number in matrices[degrees])
    turned = [a, b, 0, c, d, 0, 0, 0, 1 << 30]
    path = video(tmp_path / "a.mp4", matrix=turned, colour=(1, 1))
    with ContainerSource(str(path)) as source:
        frame = next(source.frames())
        assert (source.info.width, source.info.height) == frame.size
        assert source.info.notes == ("turned upright, as the recording asks",)
    capture = cv2.VideoCapture(str(path))
    expected = capture.read()[1]
    capture.release()
    assert isinstance(frame.pixels, BgrImage)
    assert frame.image.shape == expected.shape
    assert np.abs(frame.image.astype(int) - expected).mean() < LOSSY_LEVELS


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mpg", "mpeg2video")])
def test_interlaced_recordings_are_deinterlaced(name: str, codec: str, tmp_path: Path) -> None:
    """There are as many frames with the same times, without the combs."""
    path = write_video(tmp_path / name, fields(12), codec=codec, interlaced=True)
    seconds, combed = read_video(path)
    with ContainerSource(str(path)) as source:
        frames = list(source.frames())
        assert "interlaced frames deinterlaced" in source.info.notes
    assert seconds_of(frames) == seconds
    for frame, image in list(zip(frames, combed, strict=True))[1:-1]:
        assert combing(frame.image) < 0.2 * combing(image)


def combing(image: np.ndarray) -> float:
    """Return how much rows differ from the mean of their neighbours."""
    rows = image.astype(int)
    return float(np.abs(2 * rows[1:-1] - rows[:-2] - rows[2:]).mean())


def test_progressive_recordings_are_left_alone(tmp_path: Path) -> None:
    """Without the interlaced flag frames are those of FFmpeg's decoder, bit by bit."""
    path = video(tmp_path / "a.mp4")
    with av.open(path) as container:
        for frame, decoded in zip(frames_of(path), container.decode(video=0), strict=True):
            np.testing.assert_array_equal(frame.image, to_bgr(decoded, FramePool()))


def test_size_change_in_mid_stream(tmp_path: Path) -> None:
    """Frames have the new size, interlaced or not; info has the first size."""
    for interlaced in (False, True):
        small = write_video(tmp_path / "s.h264", make_images(5), interlaced=interlaced)
        large = write_video(tmp_path / "l.h264", make_images(5, 96, 64), interlaced=interlaced)
        joined = tmp_path / "j.h264"
        joined.write_bytes(small.read_bytes() + large.read_bytes())
        with ContainerSource(str(joined)) as source:
            sizes = [frame.size for frame in source.frames()]
            assert (source.info.width, source.info.height) == (64, 48)
        assert sizes == [(64, 48)] * 5 + [(96, 64)] * 5


def test_streams_without_time_stamps_get_even_ones(tmp_path: Path) -> None:
    """Frames of an elementary H.264 stream come one mean interval apart, with a note."""
    path = video(tmp_path / "a.h264")
    with ContainerSource(str(path)) as source:
        seconds = seconds_of(list(source.frames()))
        assert source.info.notes == ("time stamps missing or out of order were estimated",)
    assert seconds == [Fraction(index, 25) for index in range(COUNT)]


def test_reordered_frames_in_avi_increase_in_time(tmp_path: Path) -> None:
    """AVI stores no presentation times; with B-frames FFmpeg's are out of order, ours are not."""
    path = video(tmp_path / "a.avi")
    assert read_video(path)[0] != sorted(read_video(path)[0])
    seconds = seconds_of(frames_of(path))
    assert len(seconds) == COUNT
    assert is_increasing(seconds)


def test_frame_threads_read_the_same(tmp_path: Path) -> None:
    """With two decoder threads an undamaged recording gives the same frames."""
    path = video(tmp_path / "a.mp4")
    for one, other in zip(frames_of(path), frames_of(path, threads=2), strict=True):
        assert one.pts == other.pts
        np.testing.assert_array_equal(one.image, other.image)


def test_a_missing_file_is_a_usage_error(tmp_path: Path) -> None:
    """The path is named, and the command will exit with 2."""
    with pytest.raises(SourceNotFoundError, match=r"no such file: .*nothing\.mp4") as caught:
        ContainerSource(str(tmp_path / "nothing.mp4"))
    assert caught.value.exit_code == 2


def make_text(path: Path) -> Path:
    path.write_text("this is no video " * 100)
    return path


def make_unknown_codec(path: Path) -> Path:
    data = bytearray(video(path).read_bytes())
    at = data.find(b"avc1", data.find(b"stsd"))
    data[at : at + 4] = b"zzzz"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("folder", lambda path: path.mkdir() or path, "is a folder"),
        ("empty.mp4", lambda path: path.touch() or path, "is empty"),
        ("text.mp4", make_text, "not a video"),
        ("text.bin", make_text, "not a video"),
        ("text.nfo", make_text, "only video (ansi)"),
        ("sound.m4a", write_sound, "only audio (aac)"),
        ("cover.mp4", lambda path: write_sound(path, cover=True), "a cover image"),
        ("unfinished.mp4", lambda path: cut(video(path), 0.5), "moov atom not found"),
        ("codec.mp4", make_unknown_codec, "unknown codec"),
    ],
)
def test_what_is_no_video_is_refused(
    name: str,
    make: Callable[[Path], Path],
    reason: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """One line names the path and the reason, and FFmpeg prints nothing on the terminal."""
    path = make(tmp_path / name)
    capfd.readouterr()
    with pytest.raises(NotAVideoError) as caught:
        ContainerSource(str(path))
    message = str(caught.value)
    assert str(path) in message
    assert reason in message
    assert "\n" not in message
    assert caught.value.exit_code == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("location", ["http://127.0.0.1:1/a.mp4", "rtsp://127.0.0.1:1/a"])
def test_unreachable_addresses(location: str) -> None:
    """A URL without an answer is an error with its host and the reason."""
    shown = re.escape(f"{location.rpartition('/')[0]}/***")
    with pytest.raises(SourceError, match=rf"{shown} cannot be opened: Connection refused"):
        ContainerSource(location)


def test_file_names_that_look_like_something_else(tmp_path: Path) -> None:
    """Colons, patterns, spaces and letters beyond ASCII are allowed in a file name."""
    (tmp_path / "Gerät 1").mkdir()
    path = video(tmp_path / "Gerät 1" / "http:a %03d [ü].mp4")
    assert len(frames_of(path)) == COUNT


def test_unknown_hardware_is_a_usage_error(tmp_path: Path) -> None:
    """The error lists what this FFmpeg knows."""
    path = video(tmp_path / "a.mp4")
    known = av.codec.hwaccel.hwdevices_available()
    with pytest.raises(ConfigError, match=f"no hardware decoder 'abacus'.*{', '.join(known)}"):
        ContainerSource(str(path), hardware="abacus")


@pytest.mark.parametrize("hardware", av.codec.hwaccel.hwdevices_available())
def test_hardware_is_used_or_refused(hardware: str, tmp_path: Path) -> None:
    """Hardware decodes the same frames or is refused; there is no silent fallback."""
    path = video(tmp_path / "a.mp4", options=NO_REORDERING)
    try:
        frames = frames_of(path, hardware=hardware)
    except SourceError as error:
        message = str(error)
    else:
        message = f"{len(frames)} frames decoded on {hardware}"
    assert f"cannot be decoded on {hardware}" in message or message.startswith(f"{COUNT} frames")


def test_closing_early_and_twice(tmp_path: Path) -> None:
    """A source can be closed before its end, and again; it then has no more frames."""
    source = ContainerSource(str(video(tmp_path / "a.mp4")))
    frames = source.frames()
    next(frames)
    next(frames)
    source.close()
    source.close()
    assert list(frames) == []


HELD = """
import gc
from qlumen.realtime.sources.ffmpeg.container import ContainerSource

def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6

gc.disable()  # so that memory that only the collector frees is measured
with ContainerSource(sys.argv[1]) as source:
    for frame in source.frames():
        assert frame.image.any()
        if frame.index == 20:
            before = resident_mb()
print(resident_mb() - before)
"""


@pytest.mark.parametrize("kind", ["plain", "planes", "turned", "interlaced"])
def test_frames_are_not_held(kind: str, tmp_path: Path) -> None:
    """Reading 100 more frames takes no more memory; holding them would take 46 MB."""
    images = make_images(24, 640, 480) * 5
    turned = [0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30] if kind == "turned" else None
    path = tmp_path / "a.mp4"
    colour = (1, 1) if kind == "planes" else None
    write_video(path, images, matrix=turned, interlaced=kind == "interlaced", colour=colour)
    output, errors = start_python(HELD, path).communicate(timeout=60)
    assert not errors
    assert float(output) < 15


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "count", "size"),
    [
        ("ldpolypvideo_test101.mp4", 181, (560, 480)),
        ("atlas_Pediculado5.mpg", 290, (352, 240)),
        ("atlas_Polypileocecalvalve1.mpg", 199, (352, 240)),
    ],
)
def test_real_clips(data_dir: Path, name: str, count: int, size: tuple[int, int]) -> None:
    """All frames of the real clips come, with strictly increasing times."""
    with ContainerSource(str(data_dir / "clips" / name)) as source:
        frames = list(source.frames())
        assert not source.drops
        assert source.info.frame_count == pytest.approx(count, abs=1)
    seconds = seconds_of(frames)
    assert len(frames) == count
    assert {frame.size for frame in frames} == {size}
    assert is_increasing(seconds)

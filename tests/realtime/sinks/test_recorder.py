"""The recording has all frames, at their times, in their colours, whatever happens."""

import os
import signal
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from qlumen.errors import SinkError
from qlumen.realtime.pixels.annotated import Annotated, Patch
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.pixels.pool import FramePool
from qlumen.realtime.sinks.recorder import Recorder
from qlumen.realtime.sources.base import SourceInfo
from qlumen.realtime.sources.ffmpeg.container import ContainerSource

from support.media import (
    RATE,
    full_disk,
    make_images,
    planes_of,
    read_video,
    result_of,
    start_python,
)

OLD = b"an older recording"
GREEN_LUMA = 173
"""Luma of green in BT.709, limited range."""
INFO = SourceInfo("made", None, None, RATE, None)


def record(
    path: Path,
    images: Sequence[Image],
    pts: Iterable[int] | None = None,
    time_base: Fraction = 1 / RATE,
    **settings: Any,
) -> Recorder:
    with Recorder(path, INFO, **settings) as recorder:
        for index, (image, stamp) in enumerate(zip(images, pts or range(len(images)), strict=True)):
            recorder.write(result_of(image, index, pts=stamp, time_base=time_base))
    return recorder


def planes_in(path: Path) -> list[list[NDArray[np.uint8]]]:
    """Return Y, U and V of each decoded frame."""
    with av.open(str(path)) as container:
        return [
            [np.frombuffer(p, np.uint8).reshape(p.height, p.line_size)[:, : p.width].copy()
             for p in frame.planes]
            for frame in container.decode(video=0)
        ]  # fmt: skip


def names_in(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


@pytest.mark.parametrize(
    ("pts", "time_base"),
    [
        (range(40), Fraction(1, 25)),
        (range(40), Fraction(1001, 30000)),
        (range(0, 40 * 1001, 1001), Fraction(1, 30000)),
        ([0, 1, 5000, 5001, 90000, 93003], Fraction(1, 90000)),
        ([2, 35, 68, 99, 500, 501], Fraction(1, 1000)),
        (range(48601, 48601 + 40 * 3600, 3600), Fraction(1, 90000)),
        (range(7, 47), Fraction(1, 25)),
        (range(0, 40 * 40000, 40000), Fraction(1, 1200000)),
        ([26 * 3600 * 90000 + 7, 26 * 3600 * 90000 + 3607], Fraction(1, 90000)),
        ([12345], Fraction(1, 90000)),
    ],
)
def test_time_stamps_are_kept_exactly(
    pts: Sequence[int], time_base: Fraction, tmp_path: Path
) -> None:
    """Even, uneven, late and single time stamps read back as the same fractions."""
    recorder = record(tmp_path / "a.mp4", make_images(len(pts)), pts, time_base)
    assert read_video(tmp_path / "a.mp4")[0] == [stamp * time_base for stamp in pts]
    assert recorder.nudged == 0
    assert recorder.notes == []


@settings(max_examples=25)
@given(
    st.lists(st.integers(0, 10**6), min_size=1, max_size=12, unique=True).map(sorted),
    st.sampled_from([Fraction(1, d) for d in (24, 600, 1000, 44100, 90000)]),
)
def test_any_increasing_time_stamps_are_kept(
    tmp_path_factory: pytest.TempPathFactory, pts: list[int], time_base: Fraction
) -> None:
    """Times read back unchanged, whatever the gaps."""
    path = tmp_path_factory.mktemp("recorder") / "a.mp4"
    record(path, make_images(len(pts)), pts, time_base)
    assert read_video(path)[0] == [stamp * time_base for stamp in pts]


def test_no_frame_is_lost_to_a_bad_time_stamp(tmp_path: Path) -> None:
    """Time stamps that do not increase move to the next tick; later good ones stay."""
    pts = [5, 5, 5, 6, 3, 20, 21]
    recorder = record(tmp_path / "a.mp4", make_images(len(pts)), pts)
    assert read_video(tmp_path / "a.mp4")[0] == [Fraction(t, 25) for t in (5, 6, 7, 8, 9, 20, 21)]
    assert recorder.nudged == 4
    assert len(recorder.notes) == 1


def test_negative_time_stamps_start_at_zero(tmp_path: Path) -> None:
    """MP4 would cut negative times off; all frames are there, with the same distances."""
    recorder = record(tmp_path / "a.mp4", make_images(8), [-5, -4, -2, -1, 0, 1, 2, 5])
    seconds = read_video(tmp_path / "a.mp4")[0]
    assert seconds == [Fraction(stamp, 25) for stamp in (0, 1, 3, 4, 5, 6, 7, 10)]
    assert "start at 0" in recorder.notes[0]


def test_colours_survive_and_are_flagged(tmp_path: Path) -> None:
    """Flat colours read back with FFmpeg are within 4 levels, and the file says BT.709."""
    colours = [(30, 60, 200), (200, 180, 20), (255, 255, 255), (0, 0, 0), (60, 220, 70)]
    flat = [np.full((48, 64, 3), colour, np.uint8) for colour in colours]
    record(tmp_path / "a.mp4", flat, crf=4)
    for image, expected in zip(read_video(tmp_path / "a.mp4")[1], flat, strict=True):
        assert np.abs(image.astype(int) - expected).max() <= 4
    with av.open(str(tmp_path / "a.mp4")) as container:
        codec = container.streams.video[0].codec_context
        assert (codec.colorspace, codec.color_primaries, codec.color_trc) == (1, 1, 1)
        assert codec.color_range == 1
        assert codec.name == "h264"
        assert codec.pix_fmt == "yuv420p"
        assert not container.streams.audio


def test_our_own_source_reads_the_same_frames(tmp_path: Path) -> None:
    """Recorded and replayed frames differ by less than two levels on average."""
    images = make_images(30, 320, 240)
    record(tmp_path / "a.mp4", images)
    with ContainerSource(str(tmp_path / "a.mp4")) as source:
        assert source.info.frame_count == 30
        for frame, image in zip(source.frames(), images, strict=True):
            assert np.abs(frame.image.astype(int) - image).mean() < 2


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 30), (3, 5), (63, 47), (64, 47), (161, 120)])
def test_odd_and_tiny_sizes_are_padded(size: tuple[int, int], tmp_path: Path) -> None:
    """The frame keeps its place and size; a repeated row or column makes it even."""
    images = [np.full((size[1], size[0], 3), 30 * index, np.uint8) for index in range(8)]
    recorder = record(tmp_path / "a.mp4", images)
    even = (size[0] + size[0] % 2, size[1] + size[1] % 2)
    read = read_video(tmp_path / "a.mp4")[1]
    assert len(read) == 8
    for image, level in zip(read, range(0, 240, 30), strict=True):
        assert image.shape == (even[1], even[0], 3)
        assert np.abs(image.astype(int) - level).max() <= 6
    assert recorder.notes == [f"odd size {size[0]}x{size[1]} padded to {even[0]}x{even[1]}"]


def test_frames_of_another_size_fit_between_bars(tmp_path: Path) -> None:
    """A wide frame on a 64x64 canvas has black bars above and below."""
    images = [np.full((64, 64, 3), 200, np.uint8), np.full((50, 100, 3), 200, np.uint8)]
    recorder = record(tmp_path / "a.mp4", images, crf=4)
    second = read_video(tmp_path / "a.mp4")[1][1].astype(int)
    assert recorder.rescaled == 1
    assert np.abs(second[18:46] - 200).max() < 12
    assert second[:14].max() < 12
    assert second[50:].max() < 12


def test_overlays_go_first(tmp_path: Path) -> None:
    """The frame with the overlay is recorded if there is one, else the frame."""
    plain, drawn = np.zeros((48, 64, 3), np.uint8), np.full((48, 64, 3), 250, np.uint8)
    with Recorder(tmp_path / "a.mp4", INFO) as recorder:
        assert recorder.wants_overlay
        recorder.write(result_of(plain, 0, annotated=drawn))
        recorder.write(result_of(plain, 1))
    first, second = read_video(tmp_path / "a.mp4")[1]
    assert first.mean() > 240
    assert second.mean() < 5


def test_what_is_not_drawn_on_keeps_the_recordings_bits(tmp_path: Path) -> None:
    """With a lossless encoder all samples outside the drawn box are the source's."""
    record(tmp_path / "source.mp4", make_images(6, 96, 64))
    box = (10, 20, 50, 42)
    with (
        ContainerSource(str(tmp_path / "source.mp4")) as source,
        Recorder(tmp_path / "drawn.mp4", source.info, crf=0) as recorder,
    ):
        for frame in source.frames():
            green = np.full((22, 40, 3), (0, 255, 0), np.uint8)
            everywhere = np.ones(green.shape[:2], np.uint8)
            drawn = Annotated(frame.pixels, (Patch(box, green, everywhere),), FramePool())
            recorder.write(replace(result_of(frame.image), frame=frame, annotated=drawn))
    mask = np.zeros((32, 48), bool)
    mask[10:21, 5:25] = True
    before, after = (planes_in(tmp_path / name) for name in ("source.mp4", "drawn.mp4"))
    assert len(before) == len(after) == 6
    for (y, u, v), (y2, u2, v2) in zip(before, after, strict=True):
        np.testing.assert_array_equal(y[~mask.repeat(2, 0).repeat(2, 1)],
                                      y2[~mask.repeat(2, 0).repeat(2, 1)])  # fmt: skip
        np.testing.assert_array_equal(u[~mask], u2[~mask])
        np.testing.assert_array_equal(v[~mask], v2[~mask])
        assert abs(int(y2[30, 30]) - GREEN_LUMA) <= 1


def test_frames_of_another_size_are_recorded_with_the_overlay(tmp_path: Path) -> None:
    """Decoded frames with drawn patches are composed first and then scaled to fit."""
    planes = planes_of(np.random.default_rng(0), 96, 64)
    green, everywhere = np.full((64, 96, 3), (0, 255, 0), np.uint8), np.ones((64, 96), np.uint8)
    drawn = Annotated(planes, (Patch((0, 0, 96, 64), green, everywhere),), FramePool())
    small, large = result_of(np.zeros((32, 48, 3), np.uint8), 0), result_of(planes.bgr(), 1)
    frame = replace(large.frame, pixels=planes)
    with Recorder(tmp_path / "a.mp4", INFO, crf=0) as recorder:
        recorder.write(small)
        recorder.write(replace(large, frame=frame, annotated=drawn))
        assert recorder.rescaled == 1
    y = planes_in(tmp_path / "a.mp4")[1][0]
    assert y.shape == (32, 48)
    assert np.abs(y.astype(int) - GREEN_LUMA).max() <= 1


def test_seeking_finds_frames(tmp_path: Path) -> None:
    """After a seek to the second minute a player finds the next frames."""
    pts = range(0, 25 * 70 * 40, 40)
    record(
        tmp_path / "a.mp4", make_images(1) * len(pts), pts, Fraction(1, 1000), preset="ultrafast"
    )
    capture = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == len(pts)
    capture.set(cv2.CAP_PROP_POS_MSEC, 60_000)
    assert capture.read()[0]
    assert capture.get(cv2.CAP_PROP_POS_MSEC) == pytest.approx(60_000, abs=40)
    capture.release()


def test_an_older_file_lasts_until_the_new_one_is_complete(tmp_path: Path) -> None:
    """The old file is whole during recording; afterwards there is only the new one."""
    path = tmp_path / "a.mp4"
    path.write_bytes(OLD)
    recorder = Recorder(path, INFO)
    for index, image in enumerate(make_images(5)):
        recorder.write(result_of(image, index))
    assert path.read_bytes() == OLD
    recorder.close()
    recorder.close()
    assert len(read_video(path)[0]) == 5
    assert names_in(tmp_path) == ["a.mp4"]


@pytest.mark.parametrize("old", [None, OLD])
def test_without_frames_nothing_is_made(old: bytes | None, tmp_path: Path) -> None:
    """A recorder that is opened and closed leaves the folder as it was."""
    path = tmp_path / "a.mp4"
    if old:
        path.write_bytes(old)
    Recorder(path, INFO).close()
    assert [file.read_bytes() for file in tmp_path.iterdir()] == ([old] if old else [])


def test_what_cannot_be_written_is_refused_before_any_frame(tmp_path: Path) -> None:
    """A missing folder, a folder or a device is an error that names the path and says why."""
    (tmp_path / "folder.mp4").mkdir()
    for path, reason in (
        (tmp_path / "absent" / "a.mp4", "create it first"),
        (tmp_path / "folder.mp4", "not a regular file"),
        (Path(os.devnull), "not a regular file"),
    ):
        with pytest.raises(SinkError, match=reason) as caught:
            Recorder(path, INFO)
        assert path.name in str(caught.value)


def test_what_x264_cannot_take_is_an_error(tmp_path: Path) -> None:
    """A frame above x264's limit is an error with the limit, and no file is left."""
    recorder = Recorder(tmp_path / "a.mp4", INFO)
    with pytest.raises(SinkError, match=r"20000x4 are too large .* 16384 px"):
        recorder.write(result_of(np.zeros((4, 20000, 3), np.uint8)))
    recorder.close()
    assert names_in(tmp_path) == []


RECORD = """
import os, signal
from pathlib import Path
from fractions import Fraction
import numpy as np
from support.media import make_images, result_of
from qlumen.realtime.sinks.recorder import Recorder
from qlumen.realtime.sources.base import SourceInfo

rng = np.random.default_rng(0)
noise = [rng.integers(0, 256, (96, 128, 3), np.uint8) for _ in range(8)]
recorder = Recorder(Path(sys.argv[1]), SourceInfo("made", None, None, Fraction(25), None))
"""


def test_a_killed_process_leaves_a_playable_part(tmp_path: Path) -> None:
    """After SIGKILL at frame 300 the part lacks only the last seconds; the old file is whole."""
    path = tmp_path / "a.mp4"
    path.write_bytes(OLD)
    code = """
for index in range(300):
    recorder.write(result_of(noise[index % 8], index))
os.kill(os.getpid(), signal.SIGKILL)
"""
    process = start_python(RECORD + code, path)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert path.read_bytes() == OLD
    seconds = read_video(tmp_path / ".a.mp4.part")[0]
    assert len(seconds) >= 180
    assert seconds == [Fraction(index, 25) for index in range(len(seconds))]


def test_control_c_leaves_a_complete_file(tmp_path: Path) -> None:
    """A recording interrupted between two frames has every frame that was written."""
    code = """
written = 0
try:
    with recorder:
        while True:
            recorder.write(result_of(noise[written % 8], written))
            written += 1
            if written == 20:
                print("ready", flush=True)
except KeyboardInterrupt:
    print(written)
"""
    process = start_python(RECORD + code, tmp_path / "a.mp4")
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    # The frame that was written when the signal came may be in the file or not.
    assert len(read_video(tmp_path / "a.mp4")[0]) - int(output) in (0, 1)
    assert names_in(tmp_path) == ["a.mp4"]


@pytest.mark.parametrize("free_bytes", [0, 3000, 200_000, 1_000_000])
def test_a_full_disk_is_an_error_and_damages_nothing(free_bytes: int, tmp_path: Path) -> None:
    """The error names file and reason, the old file is whole, and the part plays. A part of which
    nothing plays is not named and not left (obsproject/obs-studio #9124)."""
    path = tmp_path / "a.mp4"
    path.write_bytes(OLD)
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (96, 128, 3), np.uint8) for _ in range(8)]

    def record_all() -> None:
        with Recorder(path, INFO) as recorder:
            for index in range(300):
                recorder.write(result_of(noise[index % 8], index))

    with full_disk(free_bytes), pytest.raises(SinkError) as caught:
        record_all()
    message = str(caught.value)
    assert f"recording {path} cannot be written: File too large" in message
    assert path.read_bytes() == OLD
    part = tmp_path / ".a.mp4.part"
    assert part.exists() == (free_bytes >= 1_000_000)
    assert (str(part) in message) == part.exists()
    if free_bytes >= 1_000_000:
        with ContainerSource(str(part)) as source:
            first = [frame.pts * frame.time_base for frame in islice(source.frames(), 40)]
        assert first == [Fraction(index, 25) for index in range(40)]


@pytest.mark.data
@pytest.mark.parametrize(
    "name",
    ["ldpolypvideo_test101.mp4", "atlas_Pediculado5.mpg", "atlas_Polypileocecalvalve1.mpg"],
)
def test_real_clips_keep_their_time_stamps(data_dir: Path, name: str, tmp_path: Path) -> None:
    """A real clip has the same frames at the same times after replay and recording."""
    seconds, means = [], []
    with (
        ContainerSource(str(data_dir / "clips" / name)) as source,
        Recorder(tmp_path / "a.mp4", source.info, preset="ultrafast") as recorder,
    ):
        for frame in source.frames():
            seconds.append(frame.pts * frame.time_base)
            means.append(frame.image.mean())
            recorder.write(result_of(frame.image, pts=frame.pts, time_base=frame.time_base))
    read, images = read_video(tmp_path / "a.mp4")
    assert read == seconds
    np.testing.assert_allclose([image.mean() for image in images], means, atol=2)

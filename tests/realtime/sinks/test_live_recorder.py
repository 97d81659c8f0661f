"""A live recording plays and is almost complete at any moment, however it ends."""

import re
import signal
import subprocess
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from qlumen.errors import SinkError, UsageError
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.sinks.recorder import LiveRecorder
from qlumen.realtime.sources.base import SourceInfo

from support.media import RATE, full_disk, make_images, read_video, result_of, start_python

INFO = SourceInfo("made", None, None, RATE, None)
MICROSECOND = Fraction(1, 1_000_000)
FRAME_US = 40_000
START_US = 5_000_000
FRAGMENT_FRAMES = 14  # half a second at 25/s, and the frame that begins the next
both = pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])


def write(recorder: LiveRecorder, image: Image, index: int, pts: int | None = None) -> None:
    pts = START_US + index * FRAME_US if pts is None else pts
    recorder.write(result_of(image, index, pts=pts, time_base=MICROSECOND))


def record(path: Path, images: Sequence[Image], pts: Sequence[int], **options: Any) -> LiveRecorder:
    with LiveRecorder(path, INFO, **options) as recorder:
        for index, (image, stamp) in enumerate(zip(images, pts, strict=True)):
            write(recorder, image, index, stamp)
    return recorder


@both
def test_at_any_moment_the_file_plays(name: str, tmp_path: Path) -> None:
    """A copy after every third frame has all frames except those of the last half second."""
    copy = tmp_path / f"copy.{name}"
    with LiveRecorder(tmp_path / name, INFO) as recorder:
        for index, image in enumerate(make_images(75)):
            write(recorder, image, index)
            if index < FRAGMENT_FRAMES or index % 3:
                continue
            copy.write_bytes((tmp_path / name).read_bytes())
            seconds = read_video(copy)[0]
            assert index + 1 - len(seconds) <= FRAGMENT_FRAMES
            expected = [(START_US + k * FRAME_US) * MICROSECOND for k in range(len(seconds))]
            assert seconds == expected


RECORD = """
import time
from fractions import Fraction
from pathlib import Path
import numpy as np
from support.media import make_images, result_of
from qlumen.realtime.sinks.recorder import LiveRecorder
from qlumen.realtime.sources.base import SourceInfo

rng = np.random.default_rng(0)
noise = [rng.integers(0, 256, (96, 128, 3), np.uint8) for _ in range(8)]
recorder = LiveRecorder(Path(sys.argv[1]), SourceInfo("made", None, None, Fraction(25), None))

def write(index):
    image = noise[index % 8]
    recorder.write(result_of(image, index, pts=40_000 * index, time_base=Fraction(1, 10**6)))
"""


def test_a_killed_process_loses_less_than_a_second(tmp_path: Path) -> None:
    """After SIGKILL in real time both kinds of file play up to the end."""
    code = """
begin = time.monotonic()
for index in range(10_000):
    write(index)
    print(index, flush=True)
    time.sleep(max(0, begin + 0.04 * index - time.monotonic()))
"""
    paths = [tmp_path / "a.mp4", tmp_path / "a.mkv"]
    processes = [start_python(RECORD + code, path) for path in paths]
    for process, path in zip(processes, paths, strict=True):
        for line in process.stdout:
            if line == "70\n":
                break
        process.kill()
        written = int(("70\n" + process.communicate()[0]).split()[-1]) + 1
        assert process.returncode == -signal.SIGKILL
        seconds, images = read_video(path)
        assert written - len(seconds) <= 25
        assert seconds == [Fraction(index, 25) for index in range(len(seconds))]
        assert images[-1].std() > 20


@both
def test_a_closed_file_is_whole_and_players_can_seek(name: str, tmp_path: Path) -> None:
    """A player knows its length and jumps to the second minute, which has its own frame."""
    levels = np.linspace(20, 220, 70)
    images = [np.full((48, 64, 3), int(level), np.uint8) for level in np.repeat(levels, 25)]
    record(tmp_path / name, images, range(0, len(images) * FRAME_US, FRAME_US))
    with av.open(str(tmp_path / name)) as container:
        assert container.duration == pytest.approx(70e6, abs=50_000)
    capture = cv2.VideoCapture(str(tmp_path / name))
    capture.set(cv2.CAP_PROP_POS_MSEC, 62_000)
    assert capture.read()[1].mean() == pytest.approx(levels[62], abs=3)
    assert capture.get(cv2.CAP_PROP_POS_MSEC) == pytest.approx(62_000, abs=80)
    capture.release()


def test_closed_files_have_an_index(tmp_path: Path) -> None:
    """The MP4's own tables and the Matroska's cues have the index, without a full read."""
    for name in ("a.mp4", "a.mkv"):
        record(tmp_path / name, make_images(60), range(0, 60 * FRAME_US, FRAME_US))
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].frames == 60
    assert b"\x1c\x53\xbb\x6b" in (tmp_path / "a.mkv").read_bytes()  # EBML id of Cues


@pytest.mark.parametrize(("name", "tick"), [("a.mp4", 1), ("a.mkv", 1000)])
def test_times_and_gaps_stay(name: str, tick: int, tmp_path: Path) -> None:
    """Uneven microseconds and a gap of half an hour stay, to the microsecond in MP4 and to the
    millisecond in MKV."""
    pts = [7, 40_011, 79_987, 120_500, 1_800_000_123, 1_800_040_001, 1_800_040_999]
    recorder = record(tmp_path / name, make_images(len(pts)), pts)
    times = [float(second / MICROSECOND) for second in read_video(tmp_path / name)[0]]
    assert np.abs(np.subtract(times, pts)).max() <= (0 if tick == 1 else tick / 2 + 1)
    assert recorder.notes == []


@both
def test_overlay_or_clean(name: str, tmp_path: Path) -> None:
    """The frame is recorded with the overlay, or without it and without asking for one."""
    plain, drawn = np.zeros((48, 64, 3), np.uint8), np.full((48, 64, 3), 250, np.uint8)
    for clean, low, high in ((False, 240, 256), (True, -1, 5)):
        path = tmp_path / f"{clean}{name}"
        with LiveRecorder(path, INFO, clean=clean) as recorder:
            assert recorder.wants_overlay != clean
            recorder.write(result_of(plain, time_base=MICROSECOND, annotated=drawn))
        assert low < read_video(path)[1][0].mean() < high


@both
def test_another_size_in_mid_stream(name: str, tmp_path: Path) -> None:
    """Frames that grow or shrink are scaled to the first size, and this is noted once."""
    images = [np.full(size, 200, np.uint8) for size in ((48, 64, 3), (96, 128, 3), (24, 32, 3))]
    recorder = record(tmp_path / name, images * 4, range(0, 12 * FRAME_US, FRAME_US))
    read = read_video(tmp_path / name)[1]
    assert {image.shape for image in read} == {(48, 64, 3)}
    assert all(abs(image.mean() - 200) < 3 for image in read)
    assert (len(read), recorder.rescaled, len(recorder.notes)) == (12, 8, 1)


@both
def test_an_existing_file_is_kept(name: str, tmp_path: Path) -> None:
    """An existing file is a usage error before the start and stays as it was."""
    (tmp_path / name).write_bytes(b"an older recording")
    with pytest.raises(UsageError, match=f"{name} exists and is kept; choose another name"):
        LiveRecorder(tmp_path / name, INFO)
    assert (tmp_path / name).read_bytes() == b"an older recording"


def test_other_places_and_endings_are_refused(tmp_path: Path) -> None:
    """Each error says what to do, and no file is left."""
    with pytest.raises(UsageError, match=r"a\.avi must end in \.mp4 or \.mkv"):
        LiveRecorder(tmp_path / "a.avi", INFO)
    with pytest.raises(SinkError, match="create it first"):
        LiveRecorder(tmp_path / "absent" / "a.mp4", INFO)
    assert not list(tmp_path.iterdir())


@both
def test_without_frames_there_is_no_file(name: str, tmp_path: Path) -> None:
    """An open recorder holds its name; closed without a frame it leaves no file."""
    recorder = LiveRecorder(tmp_path / name, INFO)
    assert (tmp_path / name).exists()
    recorder.close()
    recorder.close()
    assert not list(tmp_path.iterdir())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Provide a file system of one MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no mount command here")
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@both
def test_a_full_disk_is_an_error_and_the_file_plays(name: str, small_disk: Path) -> None:
    """The error names the file and the reason; all except the last second can be read."""
    path = small_disk / name
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (96, 128, 3), np.uint8) for _ in range(8)]
    recorder = LiveRecorder(path, INFO)
    failed = []
    for index in range(2000):
        try:
            write(recorder, noise[index % 8], index)
        except SinkError as error:
            failed = [index, str(error)]
            break
    recorder.close()
    assert failed[0] > 40
    assert f"recording {path} cannot be written: No space left" in failed[1]
    assert failed[0] - len(read_video(path)[0]) <= 25


@both
@pytest.mark.parametrize("missing", [1, 60, 600, 2000])
def test_no_room_for_the_index(name: str, missing: int, tmp_path: Path) -> None:
    """If the disk fills up during closing, there is an error, and every fragment plays."""
    path = tmp_path / name
    recorder = record_noise(path, 100)
    before = path.stat().st_size
    recorder.close()
    size = path.stat().st_size
    path.unlink()
    recorder = record_noise(path, 100)
    with (
        full_disk(max(before, size - missing)),
        pytest.raises(SinkError, match=f"{re.escape(str(path))} cannot be written: File too large"),
    ):
        recorder.close()
    assert 100 - len(read_video(path)[0]) <= 25
    assert [file.name for file in tmp_path.iterdir()] == [name]


def record_noise(path: Path, frames: int) -> LiveRecorder:
    """Return an open recorder after this many frames that compress badly."""
    rng = np.random.default_rng(0)
    recorder = LiveRecorder(path, INFO)
    for index in range(frames):
        write(recorder, rng.integers(0, 256, (96, 128, 3), np.uint8), index)
    return recorder

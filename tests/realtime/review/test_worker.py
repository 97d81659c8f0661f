"""Checks that an upload can hold anything; it can end its worker, but never the page."""

import os
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from qlumen.errors import QlumenError, RefusedError, WorkerError
from qlumen.realtime.config.settings import Settings, load_settings
from qlumen.realtime.review import review_job as task
from qlumen.realtime.review.intake.limits import BoundedSource, Limits
from qlumen.realtime.review.intake.probe import check_announced
from qlumen.realtime.review.intake.sniff import HEAD_BYTES, sniff
from qlumen.realtime.review.review import Review
from qlumen.realtime.review.worker_process import WorkerProcess
from qlumen.realtime.sources.ffmpeg.container import ContainerSource

from support.media import make_images, write_image, write_video
from support.reviews import make_recording, png_of

PLAYLIST = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n"


def load(*overrides: str) -> Settings:
    return load_settings(None, list(overrides))


def check(file: Path, *overrides: str) -> None:
    """Do what a worker does before it decodes anything."""
    file = task.name_by_content(file, Path(tempfile.mkdtemp(dir=file.parent)))
    check_announced(file, sniff(file), Limits.from_settings(load(*overrides)))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif", ".webp"])
def test_images_are_known_by_their_content(tmp_path: Path, suffix: str) -> None:
    """Each kind of image is known by its first bytes under any name."""
    image = write_image(tmp_path / f"a{suffix}", make_images(1)[0]).rename(tmp_path / "evil.exe")
    assert sniff(image).image
    assert sniff(image).suffix == suffix
    check(image)


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [(".mp4", "libx264"), (".mkv", "libx264"), (".avi", "mpeg4"), (".mpg", "mpeg2video"),
     (".ts", "libx264"), (".mov", "libx264")],
)  # fmt: skip
def test_videos_are_known_by_their_content(tmp_path: Path, suffix: str, codec: str) -> None:
    """Each container is known by its first bytes, and FFmpeg agrees."""
    video = write_video(tmp_path / f"a{suffix}", make_images(25), codec=codec)
    named = video.rename(tmp_path / "photo.png")
    assert not sniff(named).image
    check(named)


def test_titles_in_other_encodings_do_not_matter(tmp_path: Path) -> None:
    """A recording with tags that are not UTF-8, as from older machines, can be read."""
    plain, titled = write_video(tmp_path / "a.mp4", make_images(5)), tmp_path / "b.mp4"
    with av.open(str(plain)) as source, av.open(str(titled), "w") as container:
        container.metadata["title"] = "MARK"
        stream = container.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                container.mux(packet)
    assert titled.read_bytes().count(b"MARK") == 1
    titled.write_bytes(titled.read_bytes().replace(b"MARK", b"\xc4rzt"))
    check(titled)
    with ContainerSource(str(titled)) as opened:
        assert len(list(opened.frames())) == 5


@pytest.mark.parametrize(
    "content",
    [b"", PLAYLIST, b"ffconcat version 1.0\nfile /etc/passwd\n", b"<svg/>", b"%PDF-1.7",
     b"MZ\x90\0", b"v=0\no=- 0 0 IN IP4 127.0.0.1\n", bytes(HEAD_BYTES)],
)  # fmt: skip
def test_what_is_neither_image_nor_video_is_refused(tmp_path: Path, content: bytes) -> None:
    """FFmpeg gets no playlists that would open other files, no documents and no programs."""
    file = tmp_path / "clip.mp4"
    file.write_bytes(content)
    with pytest.raises(RefusedError):
        sniff(file)


def test_announced_sizes_beyond_the_limits_are_refused(tmp_path: Path) -> None:
    """A bomb of 4,000 megapixels and large or long files are refused before decoding."""
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png_of(65535, 65535))
    video = write_video(tmp_path / "v.mp4", make_images(10, 128, 96))
    for file, override, message in (
        (bomb, "view.upload_megapixels=40", "too large"),
        (video, "view.upload_megapixels=0.01", "128x96"),
        (video, "view.upload_minutes=0.005", "longer than"),
    ):
        with pytest.raises(RefusedError, match=message):
            check(file, override)
    with pytest.raises(RefusedError, match="MiB"):
        Limits.from_settings(load("view.upload_mib=1")).check_bytes((1 << 20) + 1)


def test_a_video_that_grows_on_its_way_is_refused(tmp_path: Path) -> None:
    """A transport stream that becomes larger than allowed gives no large frame."""
    parts = [write_video(tmp_path / f"{w}.ts", make_images(12, w, w * 3 // 4)) for w in (128, 512)]
    file = tmp_path / "grows.ts"
    file.write_bytes(b"".join(part.read_bytes() for part in parts))
    check(file, "view.upload_megapixels=0.05")
    limits = Limits.from_settings(load("view.upload_megapixels=0.05"))
    sizes = set()
    with (
        BoundedSource(ContainerSource(str(file)), limits) as source,
        pytest.raises(RefusedError, match="512x384"),
    ):
        sizes.update(frame.size for frame in source.frames())
    assert sizes <= {(128, 96)}


def test_a_container_in_disguise_is_refused(tmp_path: Path) -> None:
    """A file with the head of one kind and the body of another is refused."""
    file = tmp_path / "a.mkv"
    file.write_bytes(b"\x1aE\xdf\xa3" + PLAYLIST * 50)
    with pytest.raises(QlumenError):
        check(file)


def test_fuzzed_files_are_read_or_refused(tmp_path: Path) -> None:
    """Changed and cut heads of images and videos give a clear error or pass the check."""
    rng = random.Random(7)
    sources = [
        write_image(tmp_path / "a.png", make_images(1)[0]),
        write_image(tmp_path / "a.tif", make_images(1)[0]),
        write_image(tmp_path / "a.webp", make_images(1)[0]),
        write_video(tmp_path / "a.mp4", make_images(2)),
        write_video(tmp_path / "a.mkv", make_images(2)),
    ]
    for round_ in range(60):
        content = bytearray(rng.choice(sources).read_bytes())
        for _ in range(rng.randint(1, 30)):
            content[rng.randrange(min(len(content), 600))] = rng.randrange(256)
        file = tmp_path / f"fuzzed{round_}"
        file.write_bytes(content[: rng.randint(20, len(content))])
        with suppress(QlumenError):
            check(file)


def start_worker(file: Path, folder: Path, *overrides: str) -> WorkerProcess:
    settings = load(*overrides)
    arguments = task.arguments(file, folder, settings, "upload")
    return WorkerProcess("review", arguments, Limits.from_settings(settings))


def test_a_worker_makes_a_whole_review_and_reports_progress(tmp_path: Path) -> None:
    """The network runs in the worker; this process sees its progress and reads the review."""
    recording = make_recording(tmp_path / "clip.mp4", 6)
    work = start_worker(recording, tmp_path / "r")
    assert work.result() == {"frames": 6, "error": None}
    assert (work.progress.done, work.progress.expected) == (6, 6)
    with Review(tmp_path / "r") as review:
        assert len(review.frames) == 6
        assert review.manifest.source.name == "upload"


def test_refusals_come_through(tmp_path: Path) -> None:
    """A refusal in the worker is an error here with the same message."""
    file = tmp_path / "a.mp4"
    file.write_bytes(b"no video")
    with pytest.raises(WorkerError, match="is of an unknown kind"):
        start_worker(file, tmp_path / "r").result()


def test_a_worker_can_be_ended(tmp_path: Path) -> None:
    """Cancelling ends the process immediately, with all that it started."""
    recording = make_recording(tmp_path / "clip.mp4", 4)
    work = start_worker(recording, tmp_path / "r")
    pid = work._process.pid
    work.cancel()
    with pytest.raises(WorkerError, match="was cancelled"):
        work.result()
    with pytest.raises(ProcessLookupError):
        os.killpg(pid, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"cpu_s": 1}, "processor time"), ({"stall_s": 0.05}, "no progress")],
)
def test_limits_end_a_worker(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    """Too much processor time or no progress ends the process; the message says why.

    So many frames need more than a second on any computer.
    """
    recording = make_recording(tmp_path / "clip.mp4", 500)
    work = start_worker(recording, tmp_path / "r", *(f"review.{k}={v}" for k, v in change.items()))
    with pytest.raises(WorkerError, match=message):
        work.result()


@pytest.fixture
def orphan(tmp_path: Path) -> Iterator[tuple[int, WorkerProcess]]:
    recording = make_recording(tmp_path / "clip.mp4", 4)
    work = start_worker(recording, tmp_path / "r")
    yield work._process.pid, work
    work.cancel()


def test_a_worker_ends_with_its_parent(orphan: tuple[int, WorkerProcess]) -> None:
    """The worker ends when the page's process is gone, because its pipe closes."""
    pid, work = orphan
    assert work._process.stdin is not None
    work._process.stdin.close()
    deadline = time.monotonic() + 60
    while work._process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert work._process.poll() is not None, f"worker {pid} is still there"


def test_memory_beyond_the_limit_ends_the_worker_alone(tmp_path: Path) -> None:
    """An image that needs more memory than the worker may have is an error, not a crash here."""
    image = write_image(tmp_path / "large.png", np.zeros((18000, 18000, 3), np.uint8))
    limits = ("view.upload_megapixels=400", "review.memory_mib=1024", "review.stall_s=45")
    with pytest.raises(WorkerError):
        start_worker(image, tmp_path / "r", *limits).result()


def test_a_system_without_limits_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Python has no `resource`, as on Windows, the error says what is needed."""
    monkeypatch.setitem(sys.modules, "resource", None)
    with pytest.raises(WorkerError, match=r"the recording is opened .* a POSIX system"):
        WorkerProcess("review", {}, Limits(1, 1.0, 1, 1, 1, 1.0))

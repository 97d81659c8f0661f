"""Makes small videos and images for the tests, and reads them."""

import atexit
import resource
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.frames import Finding, Frame, FrameResult, Segmentation
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.pixels.planes import Planes
from qlumen.realtime.pixels.pool import FramePool
from qlumen.realtime.sources.base import SourceInfo
from qlumen.realtime.sources.choose import open_source

RATE = Fraction(25)
INTERLACED_DCT, INTERLACED_ME = 1 << 18, 1 << 29  # AV_CODEC_FLAG_*
AUDIO_RATE = 48000
BT709 = 1  # ITU-T H.273, MatrixCoefficients


def make_images(count: int, width: int = 64, height: int = 48) -> list[Image]:
    """Make smooth gradients with a red square that moves; each image is different."""
    x = np.linspace(40, 200, width)[None, :, None]
    y = np.linspace(40, 200, height)[:, None, None]
    made = []
    for index in range(count):
        levels = np.array([1.0, 0.8, 0.6]) * x * 0.5 + np.array([0.4, 0.8, 1.0]) * y * 0.5
        image = levels.astype(np.uint8)
        left = index * 3 % max(1, width - width // 4)
        image[height // 4 : height // 2, left : left + width // 4] = (40, 60, 200)
        made.append(image)
    return made


def fields(count: int, width: int = 320, height: int = 240) -> list[Image]:
    """Make interlaced images: even rows show a moving bar, odd rows the bar one field later."""

    def at(field: int) -> Image:
        image = np.full((height, width, 3), 60, np.uint8)
        left = 10 + 4 * field
        image[:, left : left + 30] = (30, 90, 220)
        return image

    made = [at(2 * index) for index in range(count)]
    for index, image in enumerate(made):
        image[1::2] = at(2 * index + 1)[1::2]
    return made


def write_video(
    path: Path,
    images: Sequence[Image],
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    rate: Fraction = RATE,
    pts: Iterable[int] | None = None,
    time_base: Fraction | None = None,
    options: dict[str, str] | None = None,
    muxing: dict[str, str] | None = None,
    matrix: Sequence[int] | None = None,
    colour: tuple[int, int] | None = None,
    audio: bool = False,
    sound_seconds: float = 1,
    interlaced: bool = False,
) -> Path:
    """Encode `images` and return `path`; its suffix chooses the container.

    `pts` is in units of `time_base`; without it a frame is one unit of 1 / `rate`. `matrix` is the
    nine numbers of a display matrix, `colour` the numbers of colour matrix and range.
    """
    time_base = time_base or 1 / rate
    with av.open(str(path), "w", container_options=muxing or {}) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pixels
        stream.codec_context.time_base = time_base
        if matrix:
            stream.set_display_matrix(matrix)
        if colour:
            stream.codec_context.colorspace, stream.codec_context.color_range = colour
        if interlaced:
            stream.codec_context.flags |= INTERLACED_DCT | INTERLACED_ME
        sound = container.add_stream("aac", rate=AUDIO_RATE) if audio else None
        for image, stamp in zip(images, pts or range(len(images)), strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(
                format=pixels,
                dst_colorspace=colour and colour[0],
                dst_color_range=colour and colour[1],
            )
            frame.pts, frame.time_base = stamp, time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            _write_silence(container, sound, sound_seconds)
    return path


def write_sound(path: Path, *, cover: bool = False) -> Path:
    """Write a second of silence, with a cover image if asked."""
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=AUDIO_RATE)
        image = container.add_stream("mjpeg", rate=1) if cover else None
        if image is not None:
            image.width, image.height, image.pix_fmt = 64, 48, "yuvj420p"
            image.disposition = av.stream.Disposition.attached_pic
            frame = av.VideoFrame.from_ndarray(make_images(1)[0], format="bgr24")
            container.mux(image.encode(frame))
            container.mux(image.encode(None))
        _write_silence(container, sound, 1)
    return path


def cut(path: Path, share: float) -> Path:
    """Keep the first `share` of the file's bytes."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def damage_packets(path: Path, damaged: Path, indices: set[int]) -> Path:
    """Copy a video, and replace the packets of these indices by noise."""
    with av.open(str(path)) as source, av.open(str(damaged), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for index, packet in enumerate(source.demux(video=0)):
            if packet.size == 0:
                continue
            copied = _noise_like(packet) if index in indices else packet
            copied.stream = stream
            target.mux(copied)
    return damaged


def read_video(path: Path) -> tuple[list[Fraction], list[Image]]:
    """Read the seconds and BGR pixels of each frame with FFmpeg alone."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        seconds = [frame.pts * frame.time_base for frame in frames]
        return seconds, [frame.to_ndarray(format="bgr24") for frame in frames]


def read_source(path: Path, *settings: str) -> tuple[list[Frame], SourceInfo]:
    """Read all frames, and the description after the last one."""
    with open_source(str(path), load_settings(None, settings)) as source:
        return list(source.frames()), source.info


def write_image(path: Path, image: NDArray[Any]) -> Path:
    """Encode by suffix to any path: cv2.imwrite cannot write all names."""
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    return path


def with_exif_orientation(jpeg: bytes, orientation: int) -> bytes:
    """Insert an EXIF segment that holds only the orientation tag."""
    entry = struct.pack("<HHHIHHI", 1, 0x112, 3, 1, orientation, 0, 0)
    exif = b"Exif\0\0" + b"II*\0" + struct.pack("<I", 8) + entry
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


def result_of(
    image: Image,
    index: int = 0,
    *,
    pts: int | None = None,
    time_base: Fraction = 1 / RATE,
    name: str = "",
    findings: tuple[Finding, ...] = (),
    mask: NDArray[np.uint8] | None = None,
    annotated: Image | None = None,
    stages_ms: dict[str, float] | None = None,
) -> FrameResult:
    """Return what a sink receives for `image`."""
    frame = Frame(index, index if pts is None else pts, time_base, BgrImage(image), 0, name=name)
    mask = np.zeros(image.shape[:2], np.uint8) if mask is None else mask
    segmentation = Segmentation(mask, findings, np.zeros((2, 2), np.float32))
    over = None if annotated is None else BgrImage(annotated)
    return FrameResult(frame, segmentation, over, stages_ms or {})


def planes_of(rng: np.random.Generator, width: int, height: int) -> Planes:
    """Make a decoded frame of noise with even sides."""
    samples = rng.integers(0, 256, (height * 3 // 2, width), np.uint8)
    frame = av.VideoFrame.from_ndarray(samples, format="yuv420p")
    frame.colorspace = BT709
    return Planes(frame, FramePool())


def start_python(code: str, *arguments: object) -> "subprocess.Popen[str]":
    """Run `code` in another process, which can also import this module."""
    here = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
    command = [sys.executable, "-c", here + code, *map(str, arguments)]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, stdout=pipe, stderr=pipe, stdin=pipe, text=True)
    atexit.register(process.kill)  # where a test fails while it runs
    return process


@contextmanager
def full_disk(free_bytes: int) -> Iterator[None]:
    """Limit the size of files of this process, so that writing fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free_bytes, hard))  # Python ignores SIGXFSZ
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _write_silence(
    container: av.container.OutputContainer, stream: av.audio.stream.AudioStream, seconds: float
) -> None:
    for start in range(0, int(seconds * AUDIO_RATE), 1024):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate, frame.pts = AUDIO_RATE, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _noise_like(packet: av.Packet) -> av.Packet:
    noise = np.random.default_rng(packet.size).integers(0, 256, packet.size, np.uint8)
    copied = av.Packet(noise.tobytes())
    copied.pts, copied.dts, copied.time_base = packet.pts, packet.dts, packet.time_base
    copied.duration, copied.is_keyframe = packet.duration, packet.is_keyframe
    return copied

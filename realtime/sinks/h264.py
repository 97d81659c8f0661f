"""H.264 in MP4, from images with time stamps."""

import os
from fractions import Fraction
from typing import BinaryIO

import av

from qlumen.realtime.frames import Image
from qlumen.realtime.sinks.yuv import pad_to_even, to_i420

KEYFRAME_SECONDS = 2  # the most that a killed process loses, and how finely players seek
MAX_KEYFRAME_FRAMES = 250
MAX_AUTO_THREADS = 4  # each thread of x264 holds frames: 64 of them would hold 200 MB
SPC_BT709 = PRI_BT709 = TRC_BT709 = 1  # ITU-T H.273
RANGE_LIMITED = 1  # libavutil, AVCOL_RANGE_MPEG


class H264Writer:
    """Encodes with libx264 into an open file: playable fragments while it grows, an
    ordinary MP4 once `finish` was called.

    BT.709, limited range, flagged so. Odd sides are made even by repeating the last row
    or column. Errors are `OSError` (of the file) and `av.error.FFmpegError`.

    Args:
        file: binary and seekable; stays the caller's to close.
        size: width and height of all images, in pixels.
        time_base: seconds per unit of `pts`; kept exactly.
        rate: mean frames per second, for the encoder's rate control.
        crf, preset: of x264.
        threads: 0 for one a core, `MAX_AUTO_THREADS` at most.
    """

    def __init__(
        self,
        file: BinaryIO,
        size: tuple[int, int],
        time_base: Fraction,
        rate: Fraction,
        *,
        crf: int,
        preset: str,
        threads: int,
    ) -> None:
        self._time_base = time_base
        muxing = _muxing(time_base)
        self._container = av.open(file, "w", format="mp4", container_options=muxing)
        options = {"crf": str(crf), "preset": preset, "g": str(_keyframe_gap(rate))}
        self._stream = self._container.add_stream("libx264", rate=rate, options=options)
        self._stream.width, self._stream.height = padded(size)
        self._stream.pix_fmt = "yuv420p"
        codec = self._stream.codec_context
        codec.time_base = time_base
        codec.thread_count = threads or min(MAX_AUTO_THREADS, os.cpu_count() or 1)
        codec.colorspace, codec.color_range = SPC_BT709, RANGE_LIMITED
        codec.color_primaries, codec.color_trc = PRI_BT709, TRC_BT709
        codec.open()

    def write(self, image: Image, pts: int) -> None:
        """Encode `(H, W, 3) uint8` BGR of the writer's size; `pts` must increase."""
        picture = av.VideoFrame.from_ndarray(to_i420(pad_to_even(image)), format="yuv420p")
        picture.pts, picture.time_base = pts, self._time_base
        self._encode(picture)

    def finish(self) -> None:
        """Encode what is held back and write the index."""
        self._encode(None)
        self._container.close()

    def abandon(self) -> None:
        """Release everything after the file was closed; nothing more is written."""
        self._container.close()

    def _encode(self, picture: av.VideoFrame | None) -> None:
        for packet in self._stream.encode(picture):
            self._container.mux(packet)


def padded(size: tuple[int, int]) -> tuple[int, int]:
    """Width and height rounded up to even numbers."""
    return size[0] + size[0] % 2, size[1] + size[1] % 2


def _keyframe_gap(rate: Fraction) -> int:
    return min(MAX_KEYFRAME_FRAMES, max(1, round(KEYFRAME_SECONDS * rate)))


def _muxing(time_base: Fraction) -> dict[str, str]:
    return {
        "movflags": "hybrid_fragmented+frag_keyframe+delay_moov",
        # In milliseconds, the default, the time of the first frame would be rounded.
        "movie_timescale": str(time_base.denominator),
    }

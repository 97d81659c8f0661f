"""Reads what a file announces, before anything in it is decoded."""

import struct
import warnings
from pathlib import Path

import av
from PIL import Image, UnidentifiedImageError

from qlumen.errors import NotAVideoError, RefusedError
from qlumen.realtime.review.intake.limits import Limits
from qlumen.realtime.review.intake.sniff import FileKind
from qlumen.realtime.sources.ffmpeg.opening import open_location, video_stream


def check_announced(file: Path, kind: FileKind, limits: Limits) -> None:
    """Check the announced pixels and length against the limits.

    Raises:
        RefusedError: the file is beyond a limit, or not of the kind that its first bytes say.
        SourceError: the file cannot be read.
    """
    limits.check_bytes(file.stat().st_size)
    if kind.image:
        limits.check_size(_image_size(file, kind))
    else:
        _check_video(file, kind, limits)


def _image_size(file: Path, kind: FileKind) -> tuple[int, int]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file, formats=(kind.format,)) as image:
                return image.size
    except Image.DecompressionBombError as error:
        raise RefusedError(f"the image is too large; scale it down: {error}") from None
    except (
        UnidentifiedImageError,
        OSError,
        SyntaxError,
        ValueError,
        OverflowError,
        struct.error,
    ) as error:
        raise RefusedError(f"the {kind.name} image is damaged ({error}); export it again") from None


def _check_video(file: Path, kind: FileKind, limits: Limits) -> None:
    with open_location(str(file)) as container:
        if container.format.name != kind.format:
            raise NotAVideoError(
                f"the file begins like {kind.name} and goes on like {container.format.name}; "
                "export it again"
            )
        context = video_stream(container, file.name).codec_context
        limits.check_size((context.width or 1, context.height or 1))
        if container.duration:
            limits.check_length(container.duration / av.time_base)

"""Opens a container with FFmpeg, or says in one line why it cannot be opened."""

import errno
from pathlib import Path
from typing import Any

import av
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.stream import Disposition

from qlumen.errors import ConfigError, NotAVideoError, SourceError, SourceNotFoundError
from qlumen.realtime.sources.ffmpeg.addresses import Address
from qlumen.realtime.sources.ffmpeg.suggestions import suggest
from qlumen.realtime.sources.network.srt_reader import Relay
from qlumen.system.locations import show_location, without_secrets

NETWORK_TIMEOUT_SECONDS = 10.0
PATIENCE_S = 0.2
"""Time by which FFmpeg notices a silence later than the thread that waits for frames. FFmpeg then
still gives out a frame that it held back, and the silence would seem shorter."""
TEXT_CODECS = frozenset({"ansi", "bintext", "idf", "xbin"})  # FFmpeg also plays text files


def open_location(location: str, hardware: str | None = None) -> av.container.InputContainer:
    """Open a file, URL or device node and find its streams.

    Raises:
        SourceNotFoundError: there is no such file.
        NotAVideoError: a folder, or not a format that FFmpeg knows.
        ConfigError: `hardware` is not a type that this FFmpeg was built with.
        SourceError: anything else: no permission, no connection, no such hardware.
    """
    if hardware is not None:
        _check_hardware(hardware)
    path = None if "://" in location else _check_file(location)
    try:
        container = _open(location, path)
    except av.error.FFmpegError as error:
        raise _explain(location, path, error) from error
    if hardware is None:
        return container
    container.close()
    try:
        return _open(location, path, HWAccel(hardware, allow_software_fallback=False))
    except (av.error.FFmpegError, RuntimeError) as error:
        raise _not_on(hardware, location, error) from error


def open_address(
    address: Address, hardware: str | None, open_s: float, read_s: float, relay: Relay | None = None
) -> av.container.InputContainer:
    """Open a camera or a stream and find its streams.

    Args:
        hardware: see `open_location`.
        open_s: seconds to wait for a connection, and again for its content.
        read_s: seconds without a packet after which reading raises FFmpeg's `ExitError`, and
            `PATIENCE_S` more.
        relay: relay to read instead of the address.

    Raises:
        SourceError, ConfigError: as `open_location`.
    """
    if hardware is not None:
        _check_hardware(hardware)
    try:
        return av.open(
            relay or address.name,
            format=address.format,
            options=dict(address.options),
            timeout=(open_s, read_s + PATIENCE_S),
            hwaccel=HWAccel(hardware, allow_software_fallback=False) if hardware else None,
        )
    except av.error.FFmpegError as error:
        if relay is not None and (reason := relay.reason()):
            raise SourceError(
                f"{address.shown} cannot be opened: {without_secrets(reason, address.location)}"
            ) from error
        raise _explain(address.location, None, error, open_s) from error
    except RuntimeError as error:
        raise _not_on(hardware, address.location, error) from error


def video_stream(
    container: av.container.InputContainer, location: str, number: int | None = None
) -> av.video.stream.VideoStream:
    """Return the stream to show.

    Args:
        number: number among the container's video streams, from 0, as in FFmpeg's `v:0`; None:
            the largest frames that can be decoded; of equal ones FFmpeg's choice.

    Raises:
        NotAVideoError: there is none, only the cover image of a sound file, or only the tiles of
            an image (HEIC and AVIF of telephones), which FFmpeg does not put together.
        ConfigError: there is no stream of this number that can be decoded.
    """
    streams = [s for s in container.streams.video if _is_decodable(s)]
    if not streams:
        found = ", ".join(_describe(s) for s in container.streams) or "nothing"
        raise NotAVideoError(
            f"{location} holds no video that can be decoded, only {found}; give a video file"
        )
    if number is None:
        streams = [s for s in streams if not s.disposition & Disposition.dependent]
        if not streams:
            raise NotAVideoError(
                f"{location} is an image in tiles (HEIC or AVIF), which cannot be read; "
                "export it as JPEG or PNG"
            )
        best = container.streams.best("video")
        return max(streams, key=lambda s: (s.width * s.height, s is best))
    chosen = container.streams.video[number : number + 1]
    if not chosen or chosen[0] not in streams:
        known = ", ".join(_number_and_size(s) for s in streams)
        raise ConfigError(f"{location} has no video stream {number}; source.stream may be {known}")
    return chosen[0]


def other_streams_note(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream
) -> str:
    """Return a line that names the stream and those left out; empty where it is the only one."""
    others = [s for s in container.streams.video if s is not stream and not _is_cover(s)]
    if not others:
        return ""
    left_out = ", ".join(_number_and_size(s) for s in others)
    shown = _number_and_size(stream)
    return f"video stream {shown} shown, left out: {left_out}; source.stream chooses"


def is_endless(container: av.container.InputContainer) -> bool:
    """Check whether what was opened is a transmission: nobody knows its length or size.

    HTTP cameras are (`multipart/x-mixed-replace`, whatever length some of them announce), endless
    transport streams, and playlists that still grow. Files on a web server have a length.
    """
    if container.format.name == "mpjpeg":
        return True
    return container.duration is None and (is_playlist(container) or container.size <= 0)


def is_playlist(container: av.container.InputContainer) -> bool:
    """Check whether the video comes in pieces that a list names (HLS)."""
    return container.format.name == "hls"


def no_answer(location: str, seconds: float) -> SourceError:
    return SourceError(
        f"{location} did not answer within {seconds:g} s; check address, network and sender"
    )


def _check_hardware(hardware: str) -> None:
    known = hwdevices_available()
    if hardware not in known:
        raise ConfigError(
            f"no hardware decoder {hardware!r}; this FFmpeg knows {', '.join(known) or 'none'}"
        )


def _check_file(location: str) -> Path:
    path = Path(location)
    shown = show_location(location)
    if not path.exists():
        raise SourceNotFoundError(f"no such file: {shown}; {suggest(location)}")
    if path.is_dir():
        raise NotAVideoError(f"{shown} is a folder; give a video file")
    if path.is_file() and path.stat().st_size == 0:
        raise NotAVideoError(f"{shown} is empty (0 bytes); copy or export it again")
    return path


def _open(
    location: str, path: Path | None, hwaccel: HWAccel | None = None
) -> av.container.InputContainer:
    options: dict[str, Any] = {"hwaccel": hwaccel, "metadata_errors": "replace"}
    if path is None:
        tcp = {"rtsp_transport": "tcp"} if location.startswith("rtsp") else None
        return av.open(location, timeout=NETWORK_TIMEOUT_SECONDS, options=tcp, **options)
    # Absolute, because FFmpeg takes `a:b.mp4` for a protocol `a`, and no pattern, because it would
    # show `a001.jpg` for `a%03d.jpg`.
    format_ = "v4l2" if path.is_char_device() else None
    alone = {"pattern_type": "none"}
    return av.open(str(path.absolute()), format=format_, options=alone, **options)


def _not_on(hardware: str | None, location: str, error: Exception) -> SourceError:
    reason = without_secrets(str(error), location)
    return SourceError(
        f"{show_location(location)} cannot be decoded on {hardware} here ({reason}); "
        "remove the hardware setting to decode on the processor"
    )


def _explain(
    location: str,
    path: Path | None,
    error: av.error.FFmpegError,
    timeout_s: float = NETWORK_TIMEOUT_SECONDS,
) -> SourceError:
    location = show_location(location)
    if isinstance(error, av.error.ExitError):
        return no_answer(location, timeout_s)
    if path is None or error.errno in errno.errorcode:
        return SourceError(f"{location} cannot be opened: {error.strerror}")
    reason = without_secrets(_read_log(path), location) or error.strerror
    return NotAVideoError(
        f"{location} is not a video that FFmpeg can read ({reason}); if it is one, it was cut "
        "short or damaged: copy or export it again"
    )


def _read_log(path: Path) -> str:
    """Return FFmpeg's last message on opening `path`; PyAV does not report it otherwise."""
    level = av.logging.get_level()
    av.logging.set_level(av.logging.PANIC)  # errors are kept, nothing is printed
    try:
        _open(str(path), path).close()
    except av.error.FFmpegError as error:
        message = error.log and error.log[2]
    else:
        message = None
    finally:
        av.logging.set_level(level)
    return " ".join((message or "").split())


def _is_decodable(stream: av.stream.Stream) -> bool:
    codec = stream.codec_context
    return codec is not None and codec.name not in TEXT_CODECS and not _is_cover(stream)


def _is_cover(stream: av.stream.Stream) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)


def _number_and_size(stream: av.video.stream.VideoStream) -> str:
    number = stream.container.streams.video.index(stream)
    return f"{number} ({stream.width}x{stream.height})"


def _describe(stream: av.stream.Stream) -> str:
    if _is_cover(stream):
        return "a cover image"
    codec = stream.codec_context
    return f"{stream.type} ({codec.name if codec is not None else 'unknown codec'})"

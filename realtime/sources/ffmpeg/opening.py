"""Opens a container with FFmpeg, or says in one line why it cannot be opened."""

import errno
from pathlib import Path
from typing import Any

import av
from av.codec.hwaccel import HWAccel, hwdevices_available
from av.stream import Disposition

from qlumen.errors import ConfigError, NotAVideoError, SourceError, SourceNotFoundError
from qlumen.realtime.sources.ffmpeg.addresses import Address, without_secrets
from qlumen.realtime.sources.network.srt_reader import Relay

NETWORK_TIMEOUT_SECONDS = 10.0
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
        read_s: seconds without a packet after which reading raises FFmpeg's `ExitError`.
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
            timeout=(open_s, read_s),
            hwaccel=HWAccel(hardware, allow_software_fallback=False) if hardware else None,
        )
    except av.error.FFmpegError as error:
        if relay is not None and (reason := relay.reason()):
            raise SourceError(
                f"{address.shown} cannot be opened: {without_secrets(reason)}"
            ) from error
        raise _explain(address.shown, None, error, open_s) from error
    except RuntimeError as error:
        raise _not_on(hardware, address.shown, error) from error


def video_stream(
    container: av.container.InputContainer, location: str
) -> av.video.stream.VideoStream:
    """Return the stream to show: FFmpeg's choice among the video streams that can be decoded.

    Raises:
        NotAVideoError: there is none, or only the cover image of a sound file.
    """
    streams = [s for s in container.streams.video if _is_decodable(s)]
    if not streams:
        found = ", ".join(_describe(s) for s in container.streams) or "nothing"
        raise NotAVideoError(
            f"{location} holds no video that can be decoded, only {found}; give a video file"
        )
    best = container.streams.best("video")
    return best if best in streams else streams[0]


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
    if not path.exists():
        raise SourceNotFoundError(f"no such file: {location}; check the path")
    if path.is_dir():
        raise NotAVideoError(f"{location} is a folder; give a video file")
    if path.is_file() and path.stat().st_size == 0:
        raise NotAVideoError(f"{location} is empty (0 bytes); copy or export it again")
    return path


def _open(
    location: str, path: Path | None, hwaccel: HWAccel | None = None
) -> av.container.InputContainer:
    options: dict[str, Any] = {"hwaccel": hwaccel, "metadata_errors": "replace"}
    if path is None:
        tcp = {"rtsp_transport": "tcp"} if location.startswith("rtsp") else None
        return av.open(location, timeout=NETWORK_TIMEOUT_SECONDS, options=tcp, **options)
    # Absolute, because FFmpeg takes `a:b.mp4` for a protocol `a`.
    format_ = "v4l2" if path.is_char_device() else None
    return av.open(str(path.absolute()), format=format_, **options)


def _not_on(hardware: str | None, location: str, error: Exception) -> SourceError:
    return SourceError(
        f"{location} cannot be decoded on {hardware} here ({error}); "
        "remove the hardware setting to decode on the processor"
    )


def _explain(
    location: str,
    path: Path | None,
    error: av.error.FFmpegError,
    timeout_s: float = NETWORK_TIMEOUT_SECONDS,
) -> SourceError:
    location = without_secrets(location)
    if isinstance(error, av.error.ExitError):
        return no_answer(location, timeout_s)
    if path is None or error.errno in errno.errorcode:
        return SourceError(f"{location} cannot be opened: {error.strerror}")
    reason = _read_log(path) or error.strerror
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
    is_cover = bool(stream.disposition & Disposition.attached_pic)
    return codec is not None and codec.name not in TEXT_CODECS and not is_cover


def _describe(stream: av.stream.Stream) -> str:
    if stream.disposition & Disposition.attached_pic:
        return "a cover image"
    codec = stream.codec_context
    return f"{stream.type} ({codec.name if codec is not None else 'unknown codec'})"

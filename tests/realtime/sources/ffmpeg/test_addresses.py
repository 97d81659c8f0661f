"""Cameras and streams have names that give FFmpeg the right options."""

from pathlib import Path

import pytest

from qlumen.errors import ConfigError, SourceNotFoundError, UsageError
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.config.source import SourceSettings
from qlumen.realtime.sources.ffmpeg.addresses import address, is_live
from qlumen.system.locations import without_secrets


def source(*overrides: str) -> SourceSettings:
    return load_settings(None, [f"source.{override}" for override in overrides]).source


@pytest.mark.parametrize(
    "location",
    ["rtsp://a/b", "RTMP://a/b", "srt://a:1", "udp://@:1", "v4l2:/dev/video0", "dshow:video=A B",
     "decklink:Mini", "avfoundation:0", "lavfi:testsrc2", "/dev/null"],
)  # fmt: skip
def test_cameras_and_streams_are_live(location: str) -> None:
    """Devices and the URLs of streams are received live."""
    assert is_live(location)


@pytest.mark.parametrize(
    "location", ["a.mp4", "a:b.mp4", "/tmp/v4l2", "v4l2", "http://a/b.mp4", "file:///a", "C:/a.mp4"]
)
def test_files_are_not(location: str) -> None:
    """Locations with an end are played and not received."""
    assert not is_live(location)


def test_camera_settings_become_ffmpeg_options() -> None:
    """Size, rate and format get the device's own names, and further options are added."""
    wanted = ("camera_size=1920x1080", "camera_fps=29.97", "camera_format=mjpeg")
    found = address("v4l2:/dev/null", source(*wanted, "options={channel: 1}"))
    assert (found.name, found.format) == ("/dev/null", "v4l2")
    assert found.options == {
        "video_size": "1920x1080",
        "framerate": "29.97",
        "input_format": "mjpeg",
        "channel": "1",
    }
    assert address("/dev/null", source()).options == {}


def test_options_of_a_stream_can_be_replaced() -> None:
    """Options in the settings replace those for low delay."""
    found = address("rtsp://a/b", source("options={rtsp_transport: udp, stimeout: 3}"))
    assert found.options["rtsp_transport"] == "udp"
    assert found.options["stimeout"] == "3"
    assert address("rtsp://a/b", source()).options["rtsp_transport"] == "tcp"


@pytest.mark.parametrize(
    ("location", "override", "error", "message"),
    [
        ("v4l2:/dev/video99", "loop=true", SourceNotFoundError, "no such device: /dev/video99"),
        ("v4l2:", "loop=true", UsageError, "v4l2:NAME"),
        ("decklink:A", "loop=true", UsageError, "cannot read decklink devices; it knows .*lavfi"),
        ("lavfi:testsrc2", "camera_format=bgr0", ConfigError, r"no source\.camera_format"),
        ("udp://a:1", "camera_size=1x1", ConfigError, r"source\.camera_size is for cameras"),
    ],
)
def test_what_cannot_be_is_explained(
    location: str, override: str, error: type[Exception], message: str
) -> None:
    """An unknown device or a setting that it does not have is an error before the opening."""
    with pytest.raises(error, match=message):
        address(location, source(override))


@pytest.mark.parametrize("size", ["1920", "1920x", "0x5", "1920 x 1080"])
def test_camera_size_is_checked(size: str) -> None:
    """A size that FFmpeg would not understand is refused with the settings."""
    with pytest.raises(ConfigError, match="camera_size"):
        source(f"camera_size={size}")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://me:secret@a:554/b?x=1", "rtsp://a:554/***"),
        ("rtsp://me:se@cret@a:554", "rtsp://a:554"),
        ("RTMP://a/live/secret", "RTMP://a/***"),
        ("https://a?token=secret#secret", "https://a?***"),
        ("udp://@239.0.0.1:5", "udp://239.0.0.1:5"),
        ("srt://a:1?passphrase=secret&mode=caller", "srt://a:1?***"),
        ("to srt://a?mode=x&passphrase=secret failed", "to srt://a?*** failed"),
        ("rtsp://me:secret@a/secret: no answer", "rtsp://a/***: no answer"),
        ("rtsp://a:554: no answer", "rtsp://a:554: no answer"),
        ("from rtmp://a/secret, rtsp://b/secret; end", "from rtmp://a/***, rtsp://b/***; end"),
        ("file:///home/me/a.mp4", "file:///home/me/a.mp4"),
        ("/dev/video0", "/dev/video0"),
    ],
)  # fmt: skip
def test_secrets_are_not_shown(text: str, shown: str) -> None:
    """Messages and files hold neither passwords nor keys; the address keeps them."""
    assert without_secrets(text) == shown
    if "://" in text and " " not in text:
        assert address(text, source()).name == text


def test_a_device_node_is_a_camera(tmp_path: Path) -> None:
    """A character device is a camera under any name."""
    (tmp_path / "scope").symlink_to("/dev/null")
    assert address(str(tmp_path / "scope"), source()).format == "v4l2"

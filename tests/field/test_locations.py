"""Passwords and keys in the addresses of cameras are shown nowhere.

Asked for by bluenviron/mediamtx #2069 and Kurento/bugtracker #611.
"""

import json
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlumen.errors import ConfigError, QlumenError, ReviewError, SinkError
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.report.results import check_recording
from qlumen.realtime.review.recording import stored_location
from qlumen.realtime.review.records import MANIFEST
from qlumen.realtime.review.review import Review
from qlumen.realtime.sinks.streamer import Streamer
from qlumen.realtime.sources.base import SourceInfo
from qlumen.realtime.sources.choose import open_live_source, open_source
from qlumen.system.locations import show_location, without_secrets

from support.reviews import make_recording, make_review

SECRET = "S3cret"
CAMERAS = [
    "rtsp://admin:S3cret@Pass@127.0.0.1:1/s",
    "rtsp://admin:S3cret/Pass@127.0.0.1:1/s",
    "rtsp://admin:S3cret#Pass@127.0.0.1:1/s",
    "rtsp://admin:S3cret Pass@127.0.0.1:1/s",
    "rtsp://admin:S3cret?Pass@127.0.0.1:1/s",
    "rtsp://admin:S3cretPass",
    "rtsp://127.0.0.1:1/cam?user=admin&password=S3cretPass",
    "http://127.0.0.1:1/snap?usr=a&pwd=S3cretPass",
    "rtsp://127.0.0.1:1/user=admin&password=S3cretPass&channel=1",
    "http://127.0.0.1:1/live?token=S3cretPass",
    "cache:http://admin:S3cretPass@127.0.0.1:1/live",
    "admin:S3cretPass@127.0.0.1/stream",
    "rtsp:/admin:S3cretPass@127.0.0.1/stream",
    "127.0.0.1/cam?password=S3cretPass",
    "lavfi:movie=rtsp:admin:S3cretPass@127.0.0.1/s",
]
SHAPE = re.compile(r"rtsp://(cam\.lan:554([/?#]\*\*\*)?|\*\*\*)")
"""All that may be shown of an address with the host `cam.lan:554`."""

secrets = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
plain = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=4, max_size=12)


@given(user=secrets, password=secrets, tail=secrets, mark=st.sampled_from(["", "/", "?", "#"]))
def test_only_scheme_and_host_are_shown(user: str, password: str, tail: str, mark: str) -> None:
    """Whatever letters user, password, path and query have, none of them is shown."""
    tail = mark + tail.replace("://", "") if mark else ""
    assert SHAPE.fullmatch(show_location(f"rtsp://{user}:{password}@cam.lan:554{tail}"))
    assert SHAPE.fullmatch(show_location(f"rtsp://cam.lan:554{tail}"))


@given(
    password=plain.map("S3cret".__add__),
    between=st.sampled_from(["@", "/", "#", "?", "&", "=", ":", ";", "%", "\\", '"']),
    frame=st.sampled_from(
        ["{}: Input/output error", "cannot open '{}', sorry", "[srt @ 0x1] {} failed", "{}"]
    ),
)
def test_texts_of_other_programs_hide_them(password: str, between: str, frame: str) -> None:
    """A message that repeats an address, or the pieces that FFmpeg makes of it, shows none."""
    url = f"srt://me:{password}{between}{password}@cam.lan:554/s?passphrase={password}"
    for text in (url, f"{password}{between}{password}", password):
        assert SECRET not in without_secrets(frame.format(text), url)


@given(text=st.text("abcé 12.,:;()'\"/_-", max_size=40))
def test_other_texts_stay(text: str) -> None:
    """A text without URL stays as it is."""
    assert without_secrets(text) == text


@pytest.mark.parametrize(
    "name", ["dshow:video=@device_pnp_x", "dshow:video=Cam & Co", "C:\\x@y.mp4", "v4l2:/dev/a@b"]
)
def test_devices_and_paths_are_shown(name: str) -> None:
    """Names of cameras and paths of Windows are no addresses."""
    assert show_location(name) == name


@pytest.mark.parametrize("url", CAMERAS)
def test_errors_of_sources_show_no_secret(url: str) -> None:
    """A camera that does not answer is named without its password, live and in a replay."""
    settings = load_settings(None, ["reconnect.open_s=2"])
    for opener in (open_live_source, open_source):
        with pytest.raises(QlumenError) as error:
            opener(url, settings).close()
        assert "Pass" not in str(error.value)
        assert SECRET not in str(error.value)
    assert SECRET not in stored_location(url)


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg command")
def test_the_command_ffmpeg_shows_no_secret() -> None:
    """SRT is received and sent by FFmpeg's command, whose messages repeat the address."""
    url = "srt://127.0.0.1:1?streamid=x&passphrase=S3cretPass"
    with pytest.raises(QlumenError, match="srt://127") as received:
        open_live_source(url, load_settings(None, ["reconnect.open_s=2"]))
    assert "Pass" not in str(received.value)
    streamer = Streamer(url, SourceInfo("scene", None, None, None, None), timeout_s=2)
    sent = streamer._error(OSError())
    assert isinstance(sent, SinkError)
    assert "Pass" not in str(sent)


@pytest.mark.parametrize(
    "override",
    [
        "view.sources=rtsp://me:S3cret@a/b",
        "source.options={passphrase: [S3cret]}",
        "source.options={passphrase: S3cret",
        "source.options=S3cret",
        "source.camera_fps=rtsp://me:S3cret/x@a",
        "source.options.passphrase=!S3cret",
        "source.options={passphrase: *S3cret}",
    ],
)
def test_errors_of_settings_show_no_secret(override: str) -> None:
    """A wrong value of a setting that holds addresses or options is not repeated."""
    with pytest.raises(ConfigError) as error:
        load_settings(None, [override])
    assert SECRET not in str(error.value)


def test_a_review_does_not_keep_the_secret(tmp_path: Path) -> None:
    """A review made of an address with a password names it without; only its maker reads on."""
    folder = make_review(tmp_path / "review", make_recording(tmp_path / "clip.mp4"))
    file, address = folder / MANIFEST, "http://me:S3cret@127.0.0.1:1/a.mkv?token=S3cret"
    content = json.loads(file.read_text("utf-8"))
    content["source"] |= {"location": stored_location(address), "sha256": None, "bytes": None}
    file.write_text(json.dumps(content), "utf-8")
    with Review(folder, address) as review:
        assert review.location == address
        check_recording(review)
    with Review(folder) as review, pytest.raises(ReviewError, match="whole address http://") as no:
        check_recording(review)
    assert SECRET not in str(no.value) + file.read_text("utf-8")

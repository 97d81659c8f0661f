"""What people type for a source gets one line that says what to type instead."""

from pathlib import Path

import pytest

from qlumen.errors import SourceNotFoundError
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.sources.choose import open_live_source, open_source
from qlumen.realtime.sources.ffmpeg import suggestions


@pytest.mark.parametrize("name", ["0", "1", "webcam", "usb:0", "camera", "/dev/video99", "video0"])
def test_cameras_under_other_programs_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """OpenCV's numbers and others' words for a camera are answered with those that are here.

    Whoever comes from Breakthrough/PySceneDetect (#189) or OpenCV types `0`.
    """
    monkeypatch.setattr(suggestions, "DEVICES", tmp_path)
    with pytest.raises(SourceNotFoundError, match="named like /dev/video0, and none is plugged"):
        open_live_source(name, Settings())
    for number in (2, 0):
        (tmp_path / f"video{number}").touch()
    with pytest.raises(SourceNotFoundError, match=rf"cameras here: {tmp_path}/video0, .*video2$"):
        open_live_source(name, Settings())


@pytest.mark.parametrize("name", ["im_%04d.png", "im_%d.jpg", "*.png", "im_00[12].png", "a?.png"])
def test_patterns_name_their_folder(tmp_path: Path, name: str) -> None:
    """A pattern of images, as FFmpeg and shells take it, is answered with its folder."""
    with pytest.raises(SourceNotFoundError, match=f"give the folder {tmp_path} instead"):
        open_source(str(tmp_path / name), Settings())


def test_a_dash_is_answered_with_the_pipe() -> None:
    """`-` for the standard input is answered with its name."""
    with pytest.raises(SourceNotFoundError, match="give /dev/stdin"):
        open_source("-", Settings())


@pytest.mark.parametrize("name", ["absent.mp4", "video.mp4", "camera one.avi", "12.mp4"])
def test_other_names_have_the_plain_line(tmp_path: Path, name: str) -> None:
    """A missing file is told without advice that does not fit."""
    with pytest.raises(SourceNotFoundError, match=r"check the path$"):
        open_source(str(tmp_path / name), Settings())

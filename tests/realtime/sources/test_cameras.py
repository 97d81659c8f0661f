"""FFmpeg's `lavfi` device, which makes its own frames and is always there, works as a camera."""

import pytest

from qlumen.errors import SourceError
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.sources.choose import open_live_source

from support.receiving import arrivals_of, frames, until_frame, until_lost

CAMERA = "lavfi:testsrc2=size=320x200:rate=20:duration=1.5,realtime"


def test_camera_that_goes_and_comes_again() -> None:
    """Frames come at the device's size and rate; at its end the signal is lost, then back."""
    camera = open_live_source(CAMERA, load_settings(None, ["reconnect.first_s=0.05"]))
    assert (camera.info.name, camera.info.width, camera.info.height) == (CAMERA, 320, 200)
    assert camera.info.fps == 20
    with arrivals_of(camera) as arrivals:
        taken, lost = until_lost(arrivals)
        again = [until_frame(arrivals)[1], *frames(arrivals, 5)]
    assert {frame.size for frame in (*taken, *again)} == {(320, 200)}
    assert [frame.pts for frame in taken] == [index * 50_000 for index in range(len(taken))]
    assert len(taken) > 10
    assert lost.reason == f"{CAMERA} has ended"
    assert [frame.index for frame in again] == [len(taken) + index for index in range(6)]


def test_camera_that_cannot_be_opened() -> None:
    """A name that the device does not know is an error in one line."""
    with pytest.raises(SourceError, match=r"lavfi:nonsense cannot be opened: ") as error:
        open_live_source("lavfi:nonsense", load_settings())
    assert "\n" not in str(error.value)

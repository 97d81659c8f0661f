"""Pixels that are not square keep their shape in files, on the page and in reports.

Recordings of PAL and NTSC have them. Asked for by nagadomi/nunif #561, Kruk2/jasna #125 and
xyonix/vannot #42.
"""

from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from qlumen.realtime.cli import commands
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.frames import Frame, FrameResult
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.replay.outputs import Outputs, open_sinks
from qlumen.realtime.review.review import Review
from qlumen.realtime.sinks.images import SnapshotOnRequest
from qlumen.realtime.sinks.monitor import fit_image
from qlumen.realtime.sinks.recorder import LiveRecorder, Recorder
from qlumen.realtime.sources.base import SourceInfo
from qlumen.realtime.sources.choose import open_live_source, open_source
from qlumen.realtime.sources.ffmpeg.aspect import pixel_aspect
from qlumen.realtime.tracking.findings import segment_findings

SIZE = 720, 576
PAL_WIDE = Fraction(64, 45)
RADIUS = 150


def round_object(aspect: Fraction) -> Image:
    """Draw what is a circle once pixels with this width over height are shown."""
    image = np.full((SIZE[1], SIZE[0], 3), (40, 50, 140), np.uint8)
    axes = round(RADIUS / aspect), RADIUS
    cv2.ellipse(image, (SIZE[0] // 2, SIZE[1] // 2), axes, 0, 0, 360, (255, 255, 255), cv2.FILLED)
    return image


def shape(image: Image) -> tuple[int, int]:
    """Measure width and height of the drawn object."""
    _, _, width, height = cv2.boundingRect((image.min(axis=2) > 190).astype(np.uint8))
    return width, height


def write_recording(file: Path, aspect: Fraction, frames: int = 5) -> Path:
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.bit_rate = 8_000_000
        stream.codec_context.sample_aspect_ratio = aspect
        for _ in range(frames):
            frame = av.VideoFrame.from_ndarray(round_object(aspect), "bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file


def aspect_of(file: Path) -> Fraction:
    with av.open(str(file)) as container:
        return Fraction(container.streams.video[0].sample_aspect_ratio)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_recording(tmp_path_factory.mktemp("pal") / "pal.mpg", PAL_WIDE)


@pytest.mark.parametrize("aspect", [PAL_WIDE, Fraction(16, 15), Fraction(221, 125), Fraction(1)])
@pytest.mark.parametrize("live", [False, True])
def test_recordings_keep_the_shape(tmp_path: Path, aspect: Fraction, live: bool) -> None:
    """What is recorded of a replay and of live video is shown in the source's shape."""
    source_file = write_recording(tmp_path / "a.mpg", aspect)
    assert aspect_of(source_file) == aspect
    files = [tmp_path / name for name in (("a.mp4", "a.mkv") if live else ("a.mp4",))]
    for file in files:
        if live:
            with open_live_source(str(source_file), Settings()) as playing:
                sink = LiveRecorder(file, playing.info)
                frames = [next(iter(playing.arrivals()))]
        else:
            with open_source(str(source_file), Settings()) as reading:
                sink = Recorder(file, reading.info)
                frames = list(reading.frames())
        with sink:
            for frame in frames:
                sink.write(FrameResult(frame, segment_findings((), frame.size)))
        assert aspect_of(file) == aspect


def test_reports_show_round_things_round(recording: Path, tmp_path: Path) -> None:
    """A circle is as wide as high in the images of a report; video and DICOM name the shape."""
    review, video = tmp_path / "review", tmp_path / "video.mp4"
    arguments = ["report", str(recording), "--review", str(review), "--video", str(video)]
    result = CliRunner().invoke(commands, arguments, standalone_mode=False)
    assert result.exception is None, result.output
    assert aspect_of(video) == PAL_WIDE
    with Review(review) as opened:
        assert opened.manifest.source.pixel_aspect == "64/45"
        image = opened.image(0)
    assert image.shape[1] / image.shape[0] == pytest.approx(16 / 9, rel=0.01)
    width, height = shape(image)
    assert width == pytest.approx(height, abs=3)


@given(
    aspect=st.fractions(Fraction(1, 2), Fraction(2), max_denominator=50),
    width=st.integers(200, 900),
    height=st.integers(200, 900),
)
def test_the_monitor_shows_round_things_round(aspect: Fraction, width: int, height: int) -> None:
    """The window has its own size, and a circle in it is as wide as high."""
    shown = fit_image(round_object(aspect), width, height, float(aspect))
    assert shown.shape[:2] == (height, width)
    across, down = shape(shown)
    assert across == pytest.approx(down, abs=5)


def test_turned_frames_have_turned_pixels(recording: Path) -> None:
    """Frames that are turned by a quarter have pixels that are as much higher than wide."""
    with av.open(str(recording)) as container:
        stream = container.streams.video[0]
        assert pixel_aspect(stream, SIZE) == PAL_WIDE
        assert pixel_aspect(stream, SIZE[::-1]) == 1 / PAL_WIDE


@pytest.mark.parametrize("aspect", [PAL_WIDE, Fraction(3, 4)])
def test_snapshots_show_round_things_round(aspect: Fraction, tmp_path: Path) -> None:
    """A circle is as wide as high in a snapshot of live video. The PNG files of a replay keep the
    frame's pixels, as the masks beside them.
    """
    frame = Frame(0, 0, Fraction(1, 25), BgrImage(round_object(aspect)), 0)
    result = FrameResult(frame, segment_findings((), frame.size))
    outputs = Outputs(snapshots=tmp_path / "replay", masks=tmp_path / "masks")
    info = SourceInfo("pal", *SIZE, None, None, pixel_aspect=aspect)
    with ExitStack() as stack:
        for _, sink in open_sinks(outputs, info, Settings(), stack):
            sink.write(result)
    with SnapshotOnRequest(tmp_path / "live", pixel_aspect=aspect) as requested:
        requested.request()
        requested.write(result)
    (live,) = (tmp_path / "live").iterdir()
    width, height = shape(cv2.imread(str(live)))
    assert width == pytest.approx(height, abs=3)
    assert max(width, height) >= 2 * RADIUS - 1  # made larger, so that nothing is lost
    (replayed,), (mask,) = ((tmp_path / name).iterdir() for name in ("replay", "masks"))
    np.testing.assert_array_equal(cv2.imread(str(replayed)), frame.image)
    assert cv2.imread(str(mask)).shape[1::-1] == SIZE

"""HDR video is shown as ordinary video."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from support.media import read_source

BT709_TO_BT2020 = np.array(
    [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]
)
"""ITU-R BT.2087, for red, green, blue."""
WHITE = 203.0


def pq_signal(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """Encode light in cd/m2 (SMPTE ST 2084)."""
    power = (light / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def write_hdr(path: Path, rgb: Sequence[float] | NDArray[np.float64], transfer: int) -> Path:
    """Write one colour of BT.2020 as lossless 10-bit RGB; `rgb` are signals from 0 to 1."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25, options={"level": "3"})
        stream.width, stream.height, stream.pix_fmt = 32, 16, "gbrp10le"
        stream.codec_context.color_trc, stream.codec_context.color_primaries = transfer, 9
        stream.codec_context.colorspace, stream.codec_context.color_range = 0, 2
        samples = np.empty((16, 32, 3), np.uint16)
        samples[:] = np.round(np.array(rgb) * 1023)
        frame = av.VideoFrame.from_ndarray(samples, format="gbrp10le")
        frame.pts, frame.time_base = 0, Fraction(1, 25)
        frame.color_trc, frame.color_primaries = transfer, 9
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("transfer", "signal", "light"),
    [(16, 0.38, 26), (18, 0.38, 26), (16, 0.3022, 10), (16, 0.5081, 100), (16, 0, 0), (18, 0, 0)],
)
def test_hdr_greys_keep_their_light(
    transfer: int, signal: float, light: float, tmp_path: Path
) -> None:
    """Grey of PQ and HLG becomes the level of the same light on an ordinary display whose white
    is 203 cd/m2 (opencv/opencv #24185). The pairs are those of ITU-R BT.2408, table 1, and of
    BT.2100.
    """
    frames, info = read_source(write_hdr(tmp_path / "a.mkv", [signal] * 3, transfer))
    expected = 255 * (light / WHITE) ** (1 / 2.4)
    assert np.abs(frames[0].image - expected).max() <= 2
    name = {16: "PQ", 18: "HLG"}[transfer]
    assert f"high dynamic range ({name}) mapped to ordinary video" in info.notes


@pytest.mark.parametrize("white", [(16, 0.5807), (18, 0.75)])
def test_hdr_white_and_beyond(white: tuple[int, float], tmp_path: Path) -> None:
    """The white of ordinary video stays bright, and brighter light is brighter still
    (opencv/opencv #24185).
    """
    transfer, signal = white
    levels = [
        read_source(write_hdr(tmp_path / f"{s}.mkv", [s] * 3, transfer))[0][0].image.mean()
        for s in (signal, signal + 0.07, 1.0)
    ]
    assert 240 <= levels[0] < levels[1] <= levels[2] == 255


@given(st.tuples(*[st.floats(0.002, 0.75)] * 3))
def test_hdr_colours_are_those_of_ordinary_video(rgb: tuple[float, float, float]) -> None:
    """Light of BT.709 that was converted to BT.2020 and PQ comes back (opencv/opencv #24185)."""
    light = WHITE * np.array(rgb)
    with TemporaryDirectory() as folder:
        path = write_hdr(Path(folder) / "a.mkv", pq_signal(BT709_TO_BT2020 @ light), 16)
        frames, _ = read_source(path)
    shown = WHITE * (frames[0].image[0, 0, ::-1] / 255) ** 2.4
    # Steps of 8 and of 10 bits are each about 1% of the light.
    assert np.abs(shown - light).max() <= 0.04 * light.max()

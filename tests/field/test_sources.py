"""Files as devices and other programs write them are read with the right pictures and times."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import chain, pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.codec.context import Flags
from av.sidedata.sidedata import Type
from hypothesis import given
from hypothesis import strategies as st

from qlumen.errors import ConfigError
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.sources.ffmpeg.decoding import Decoding
from qlumen.realtime.sources.ffmpeg.timestamps import PresentationOrder, TimeLine
from qlumen.realtime.sources.pattern import PatternSource, read_number

from support.media import fields, make_images, read_source, with_exif_orientation, write_video

STEP = Fraction(1, 25)


def jpegs(count: int, orientation: int) -> list[bytes]:
    """Encode images as a camera does, with EXIF data."""
    plain = [cv2.imencode(".jpg", image)[1].tobytes() for image in make_images(count)]
    return [with_exif_orientation(jpeg, orientation) for jpeg in plain]


def write_motion_jpeg(path: Path, pictures: Sequence[bytes]) -> Path:
    """Write the JPEG files as the packets of a video."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for index, picture in enumerate(pictures):
            packet = av.Packet(picture)
            packet.stream, packet.time_base = stream, STEP
            packet.pts = packet.dts = index
            packet.duration, packet.is_keyframe = 1, True
            container.mux(packet)
    return path


@pytest.mark.parametrize("suffix", ["jpg", "avi", "mov"])
@pytest.mark.parametrize("orientation", [1, 4, 6])
def test_exif_is_read(suffix: str, orientation: int, tmp_path: Path) -> None:
    """JPEG and Motion JPEG with EXIF are read, upright as OpenCV reads them (opencv/opencv #25274).

    FFmpeg reports EXIF as a kind of side data that PyAV does not know.
    """
    pictures = jpegs(1 if suffix == "jpg" else 3, orientation)
    path = tmp_path / f"a.{suffix}"
    if suffix == "jpg":
        path.write_bytes(pictures[0])
    else:
        write_motion_jpeg(path, pictures)
    frames, _ = read_source(path)
    assert len(frames) == len(pictures)
    for frame, picture in zip(frames, pictures, strict=True):
        expected = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR)
        assert expected is not None
        assert frame.image.shape == expected.shape
        assert np.abs(frame.image.astype(int) - expected).mean() < 4


@given(st.integers(10_000, 2**31 - 1))
def test_any_kind_of_side_data_has_a_name(value: int) -> None:
    """A kind of side data that no PyAV knows is passed over (opencv/opencv #25274)."""
    unknown = Type(value)
    assert (unknown.value, isinstance(unknown, Type)) == (value, True)
    assert unknown not in list(Type)
    assert Type(Type.DISPLAYMATRIX.value) is Type.DISPLAYMATRIX


def write_numbered(path: Path, count: int, b_frames: int = 0, start: int = 0) -> Path:
    """Write MPEG-2 of the test pattern; the time stamps begin at `start` frames."""
    pattern = PatternSource(352, 288, 1 / STEP)
    images = [pattern.picture(index) for index in range(count)]
    options = {"bf": str(b_frames), "g": "10", "qmin": "2", "qmax": "4"}
    stamps = range(start, start + count)
    return write_video(path, images, codec="mpeg2video", options=options, pts=stamps)


@pytest.mark.parametrize("suffix", ["mpg", "ts"])
@pytest.mark.parametrize(
    ("b_frames", "start"), [((0, 0), 0), ((2, 2), 0), ((2, 0), 0), ((0, 0), 100_000)]
)
def test_joined_files_have_one_time_line(
    suffix: str, b_frames: tuple[int, int], start: int, tmp_path: Path
) -> None:
    """Chapters that were joined with `cat` follow each other by one step (xbmc/xbmc #8426,
    CCExtractor/ccextractor #1824), whether the second begins anew or hours later.
    """
    first = write_numbered(tmp_path / f"a.{suffix}", 20, b_frames[0])
    second = write_numbered(tmp_path / f"b.{suffix}", 20, b_frames[1], start)
    joined = tmp_path / f"joined.{suffix}"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    frames, info = read_source(joined)
    assert [read_number(frame.image) for frame in frames] == [*range(20), *range(20)]
    seconds = [frame.pts * frame.time_base for frame in frames]
    assert all(abs(b - a - STEP) <= Fraction(1, 1000) for a, b in pairwise(seconds))
    assert "time stamps begin anew: the parts were put one after the other" in info.notes


def test_a_long_pause_stays(tmp_path: Path) -> None:
    """In a format whose time stamps cannot begin anew, a pause of minutes is a pause: recorders
    that are paused during an examination write it so.
    """
    path = write_video(tmp_path / "a.mkv", make_images(4), pts=[0, 1, 10_000, 10_001])
    frames, info = read_source(path)
    assert [frame.time_s for frame in frames] == [0, 0.04, 400, 400.04]
    assert not any("begin anew" in note for note in info.notes)


def place(line: TimeLine, stamp: int) -> int:
    packet = av.Packet(b"-")
    packet.time_base, packet.pts, packet.dts, packet.duration = STEP, stamp, stamp, 1
    line.place(packet)
    assert packet.pts is not None
    return packet.pts


@given(st.lists(st.tuples(st.integers(-(10**6), 10**6), st.integers(4, 9)), max_size=5))
def test_any_parts_go_on_by_one_step(parts: list[tuple[int, int]]) -> None:
    """A part that begins anywhere follows the part before it by one step, except after a short
    pause or a step back of less than 0.1 s; nothing changes inside a part (xbmc/xbmc #8426).
    """
    line = TimeLine(STEP, jumps=True)
    stamps = [range(start, start + length) for start, length in parts]
    placed = [[place(line, stamp) for stamp in part] for part in stamps]
    assert [[b - a for a, b in pairwise(part)] for part in placed] == [
        [1] * (length - 1) for _, length in parts
    ]
    for before, after, given_before, given_after in zip(
        placed, placed[1:], stamps, stamps[1:], strict=False
    ):
        own = given_after[0] - given_before[-1]
        slightly = -2 <= own <= 250
        assert after[0] - before[-1] == (own if slightly else 1)


@pytest.mark.parametrize(
    ("codec", "rate", "options"),
    [
        ("libx264", 30, {"bf": "3", "b-pyramid": "normal", "b_strategy": "0"}),
        ("libx264", 1, {"bf": "3", "b-pyramid": "normal", "b_strategy": "0"}),
        ("libx265", 25, {"x265-params": "log-level=none"}),
    ],
)
def test_a_pyramid_of_b_frames_is_one_part(
    codec: str, rate: int, options: dict[str, str], tmp_path: Path
) -> None:
    """Matroska gives the first packets no decoding time, and presentation times go back there:
    the frames stay evenly spaced (what x264 and x265 write by default).
    """
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for image in make_images(40):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode(None))
    frames, info = read_source(path)
    times = [frame.pts * frame.time_base for frame in frames]
    assert all(abs(b - a - Fraction(1, rate)) <= Fraction(2, 1000) for a, b in pairwise(times))
    assert (len(frames), info.notes) == (40, ())


def test_joined_matroska_is_one_time_line() -> None:
    """A part whose first packets have no decoding time follows the part before it."""
    line = TimeLine(STEP, jumps=True)
    shown = [0, *(pts for pair in range(2, 61, 2) for pts in (pair, pair - 1))]
    part = [(pts, place - 2 if place >= 2 else None) for place, pts in enumerate(shown)]
    placed = []
    for pts, dts in [*part, *part]:
        packet = av.Packet(b"-")
        packet.time_base, packet.pts, packet.dts, packet.duration = STEP, pts, dts, 1
        line.place(packet)
        placed.append(packet.pts)
    assert placed == [*shown, *(pts + len(part) for pts in shown)]
    assert line.joints == 1


def test_raw_dv_has_its_rate(tmp_path: Path) -> None:
    """Raw DV of decks and converters has 25 frames/s and no note on missing frames
    (kylemcdonald/ofxBlackmagic #9, bavc/qctools #141).
    """
    path = write_video(
        tmp_path / "a.dv", make_images(5, 720, 576), codec="dvvideo", pixels="yuv420p"
    )
    frames, info = read_source(path)
    assert (info.fps, info.frame_count, len(frames)) == (25, 5, 5)
    assert [frame.pts * frame.time_base for frame in frames] == [STEP * i for i in range(5)]
    assert not any("announced" in note for note in info.notes)


def write_two_pictures(path: Path) -> Path:
    """Write a small blue and a large green video stream into one file."""
    colours = [((64, 48), (200, 30, 30)), ((128, 96), (30, 200, 30))]
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libx264", rate=25) for _ in colours]
        for stream, ((width, height), colour) in zip(streams, colours, strict=True):
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            image = np.full((height, width, 3), colour, np.uint8)
            for index in range(3):
                frame = av.VideoFrame.from_ndarray(image, format="bgr24")
                frame.pts, frame.time_base = index, STEP
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("suffix", ["mp4", "ts", "mkv"])
def test_one_of_two_video_streams_is_chosen(suffix: str, tmp_path: Path) -> None:
    """The largest is taken, or the one of `source.stream`; the note names it (PyAV #1481,
    bytedeco/javacv #135).
    """
    path = write_two_pictures(tmp_path / f"two.{suffix}")
    for setting, size, shown, left_out in (
        ([], (128, 96), "1 (128x96)", "0 (64x48)"),
        (["source.stream=0"], (64, 48), "0 (64x48)", "1 (128x96)"),
        (["source.stream=1"], (128, 96), "1 (128x96)", "0 (64x48)"),
    ):
        frames, info = read_source(path, *setting)
        assert {frame.size for frame in frames} == {size}
        note = f"video stream {shown} shown, left out: {left_out}; source.stream chooses"
        assert note in info.notes
    with pytest.raises(ConfigError, match=r"no video stream 2; .* 0 \(64x48\), 1 \(128x96\)"):
        read_source(path, "source.stream=2")


def comb(image: Image) -> float:
    """Measure how much neighbouring rows differ in the way of interlaced frames."""
    rows = image.astype(int)
    return float(np.abs(2 * rows[1:-1] - rows[:-2] - rows[2:]).mean())


@pytest.mark.parametrize(("flagged", "auto_helps"), [(True, True), (False, False)])
def test_deinterlacing_can_be_asked_for_and_forbidden(
    flagged: bool, auto_helps: bool, tmp_path: Path
) -> None:
    """Grabbers and recorders that do not flag interlaced frames need `always`
    (teltek/Galicaster #376, leikareipa/vcs #22); `never` keeps flagged frames as they are.
    """
    path = write_video(
        tmp_path / "a.mkv", fields(6), codec="ffv1", interlaced=False, options={"level": "3"}
    )
    if flagged:
        path = write_video(tmp_path / "b.mp4", fields(6), options={"qp": "4"}, interlaced=True)
    combs, notes = {}, {}
    for mode in ("auto", "always", "never"):
        frames, info = read_source(path, f"source.deinterlace={mode}")
        assert len(frames) == 6
        combs[mode], notes[mode] = comb(frames[3].image), " ".join(info.notes)
    assert combs["always"] < combs["never"] / 4
    assert (combs["auto"] < combs["never"] / 4) == auto_helps
    assert "all frames deinterlaced" in notes["always"]
    assert ("interlaced frames are shown as they are" in notes["never"]) == flagged


@pytest.mark.parametrize(
    ("text", "mode"), [("on", "always"), ("off", "never"), ("true", "always"), ("false", "never")]
)
def test_words_of_yaml_for_deinterlacing(text: str, mode: str) -> None:
    """YAML makes true and false of on and off; they count as always and never
    (teltek/Galicaster #376).
    """
    assert load_settings(None, [f"source.deinterlace={text}"]).source.deinterlace == mode


@given(st.lists(st.none() | st.integers(0, 50)))
def test_no_frame_is_shown_after_a_later_one(stamps: list[int | None]) -> None:
    """Of frames in any order those are kept that do not step back
    (insight-platform/Savant #182, #681).
    """
    order = PresentationOrder()
    kept = [s for s in stamps if order.is_kept(s) and s is not None]
    assert kept == sorted(kept)
    highest = [max(s for s in stamps[: i + 1] if s is not None) for i, s in enumerate(stamps) if s]
    assert set(highest) <= set(kept)


def test_frames_in_order_of_decoding_are_refused(tmp_path: Path) -> None:
    """A decoder that does not reorder B-frames loses them, and each is counted
    (insight-platform/Savant #182).
    """
    path = write_numbered(tmp_path / "a.ts", 21, b_frames=2)
    notes: list[str] = []
    refused: list[None] = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.flags |= Flags.low_delay
        decoding = Decoding(
            stream, 1 / STEP, notes.append, lambda _: None, refused=lambda: refused.append(None)
        )
        packets = (packet for packet in container.demux(stream) if packet.size)
        numbers = [
            read_number(pixels.bgr()) for _, pixels in decoding.frames(chain(packets, [None]))
        ]
    assert numbers == sorted({number for number in numbers if number is not None})
    assert len(refused) >= 10
    assert len(refused) + len(numbers) == 21

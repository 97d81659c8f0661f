"""Cut and damaged recordings give what can be decoded, and report what cannot."""

from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from qlumen.errors import (
    NoFramesError,
    QlumenError,
    SourceError,
    TruncatedError,
)
from qlumen.realtime.frames import Frame
from qlumen.realtime.sources.ffmpeg.container import ContainerSource

from support.media import (
    cut,
    damage_packets,
    make_images,
    read_video,
    write_video,
)
from support.recordings import CONTAINERS, COUNT, NO_REORDERING, frames_of, seconds_of, video

FASTSTART = {"movflags": "faststart"}
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}


def read_until_cut(path: Path) -> tuple[list[Frame], str]:
    """Return the frames before the TruncatedError, and its message."""
    frames: list[Frame] = []
    with ContainerSource(str(path)) as source, pytest.raises(TruncatedError) as caught:
        frames.extend(source.frames())
    return frames, str(caught.value)


@pytest.mark.parametrize(
    ("name", "codec", "muxing"),
    [
        ("a.mp4", "libx264", FASTSTART),
        ("a.mp4", "libx264", FRAGMENTED),
        ("a.mkv", "libx264", {}),
        ("a.webm", "libvpx", {}),
        ("a.avi", "mpeg4", {}),
        ("a.flv", "flv", {}),
    ],
)
def test_cut_recordings_give_what_they_have(
    name: str, codec: str, muxing: dict[str, str], tmp_path: Path
) -> None:
    """The frames before the cut come unchanged, then an error counts them."""
    options = {"g": "10", **(NO_REORDERING if codec == "libx264" else {"b": "2M"})}
    path = video(tmp_path / name, codec, muxing=muxing, options=options)
    whole = frames_of(path)
    frames, message = read_until_cut(cut(path, 0.6))
    assert COUNT // 3 < len(frames) < COUNT
    for frame, expected in zip(frames[:-1], whole, strict=False):
        assert frame.pts == expected.pts
        np.testing.assert_array_equal(frame.image, expected.image)
    assert str(path) in message
    assert f"{len(frames)} of " in message
    assert "\n" not in message


def test_edit_lists_are_no_truncation(tmp_path: Path) -> None:
    """Frames that an MP4's edit list removes are neither delivered nor missing."""
    path = video(
        tmp_path / "a.mp4",
        pts=range(-25, COUNT - 25),
        options={"g": "10"},
        muxing={"avoid_negative_ts": "disabled"},
    )
    with ContainerSource(str(path)) as source:
        frames = list(source.frames())
        assert len(frames) == source.info.frame_count == COUNT - 25
        assert not source.drops
    assert seconds_of(frames)[0] == 0


def test_gaps_in_avi_are_no_truncation(tmp_path: Path) -> None:
    """AVI counts frames that were never captured; their absence is no fault."""
    stamps = [*range(30), *range(45, 75)]
    path = video(tmp_path / "a.avi", "mpeg4", pts=stamps)
    assert seconds_of(frames_of(path)) == [Fraction(stamp, 25) for stamp in stamps]


def test_longer_sound_is_no_truncation(tmp_path: Path) -> None:
    """In Matroska the announced length is that of the longest stream, here the sound."""
    path = write_video(tmp_path / "a.mkv", make_images(10), audio=True, sound_seconds=2)
    with av.open(str(path)) as container:
        assert container.duration > 1.5 * av.time_base
    assert len(frames_of(path)) == 10


@pytest.mark.parametrize("indices", [{31}, {31, 32, 45}, {COUNT - 1}, {COUNT - 3, COUNT - 1}])
def test_damaged_packets_are_skipped_and_counted(indices: set[int], tmp_path: Path) -> None:
    """Every packet that can be decoded gives its frame; the others are counted."""
    path = video(tmp_path / "a.mp4", options={"g": "10", **NO_REORDERING})
    damaged = damage_packets(path, tmp_path / "b.mp4", indices)
    with ContainerSource(str(damaged)) as source:
        frames = list(source.frames())
        assert source.drops == {"decode_error": len(indices)}
    expected = [stamp for index, stamp in enumerate(read_video(path)[0]) if index not in indices]
    assert seconds_of(frames) == expected


def test_a_damaged_key_frame_costs_its_group_at_most(tmp_path: Path) -> None:
    """Without key frame 30, frames before it and from key frame 40 on come; a note says why."""
    path = video(tmp_path / "a.mp4", options={"g": "10", **NO_REORDERING})
    damaged = damage_packets(path, tmp_path / "b.mp4", {30})
    with ContainerSource(str(damaged)) as source:
        indices = {int(time * 25) for time in seconds_of(list(source.frames()))}
        assert any("key frame" in note for note in source.info.notes)
    assert indices >= set(range(30)) | set(range(40, COUNT))


def test_no_decodable_frame(tmp_path: Path) -> None:
    """A video whose packets are all damaged is refused when it is opened."""
    damaged = damage_packets(video(tmp_path / "a.mp4"), tmp_path / "b.mp4", set(range(COUNT)))
    with pytest.raises(NoFramesError, match=r"b\.mp4 has a video stream \(h264\) but no frame"):
        ContainerSource(str(damaged))


def test_damage_leaves_the_terminal_clean(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """FFmpeg's messages about damaged packets are not printed."""
    damaged = damage_packets(video(tmp_path / "a.mp4"), tmp_path / "b.mp4", {20, 40})
    capfd.readouterr()
    frames_of(damaged)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.7, 0.97])
def test_noise_anywhere_ends_in_an_error_of_ours(share: float, tmp_path: Path) -> None:
    """Noise in a part of the file costs frames or raises our error, and nothing else."""
    for name, codec in CONTAINERS:
        path = video(tmp_path / name, codec)
        data = bytearray(path.read_bytes())
        start = int(len(data) * share)
        data[start : start + 400] = np.random.default_rng(1).bytes(len(data[start : start + 400]))
        path.write_bytes(data)
        with suppress(QlumenError):
            assert 0 < len(frames_of(path)) <= COUNT


SDP = """v=0
o=- 0 0 IN IP4 127.0.0.1
s=x
c=IN IP4 127.0.0.1
t=0 0
m=video 45678 RTP/AVP 96
a=rtpmap:96 H264/90000
"""


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("stream.sdp", SDP, "'rtp' not on whitelist"),
        (
            "list.m3u8",
            "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n",
            "first segment",
        ),
        ("list.ffconcat", "ffconcat version 1.0\nfile http://127.0.0.1:9/x.ts\n", "not permitted"),
    ],
)
def test_a_file_opens_no_addresses(name: str, content: str, reason: str, tmp_path: Path) -> None:
    """FFmpeg connects to nothing for a local playlist or session description."""
    (tmp_path / name).write_text(content)
    with pytest.raises(SourceError, match=reason):
        ContainerSource(str(tmp_path / name))

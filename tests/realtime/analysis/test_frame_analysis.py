"""Tests that the analysis is the same with its halves together or apart, on any frames."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from qlumen.networks.bundle import find_bundle, read_bundle
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.analysis.look_ahead import LookAhead
from qlumen.realtime.analysis.observe import ignore_laps
from qlumen.realtime.analysis.packing import pack_map, unpack_map
from qlumen.realtime.config.settings import Settings, load_settings
from qlumen.realtime.engines.base import Probability
from qlumen.realtime.frames import Condition, Frame, Judgement
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.realtime.sources.ffmpeg.container import ContainerSource

FRAMES = 24


@pytest.fixture(scope="module")
def segmenter() -> Iterator[Segmenter]:
    opened = Segmenter.open(read_bundle(find_bundle()), Settings())
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def clip(data_dir: Path) -> list[Frame]:
    """Return a real clip with a polyp, in a black border that an endoscopy tower would add."""
    with ContainerSource(str(data_dir / "clips" / "ldpolypvideo_test101.mp4")) as source:
        return [add_border(frame) for frame in islice(source.frames(), 60, 60 + FRAMES)]


def add_border(frame: Frame) -> Frame:
    image = np.zeros((frame.size[1], 2 * frame.size[0], 3), np.uint8)
    image[:, 200 : 200 + frame.size[0]] = frame.image
    return replace(frame, pixels=BgrImage(image))


def summary(judgement: Judgement) -> tuple[object, ...]:
    findings = [(one.box, one.score, one.area_px) for one in judgement.segmentation.findings]
    tracks = [(one.number, one.finding.box, one.alarm, one.new) for one in judgement.tracks]
    return findings, tracks, judgement.seen.condition


@pytest.mark.data
def test_frames_in_flight_change_nothing(segmenter: Segmenter, clip: list[Frame]) -> None:
    """Several frames in the network at once give what one after the other gives."""
    settings = load_settings(None, ["analysis.look_ahead=false"])
    one_by_one = FrameAnalysis(segmenter, settings, related=True)
    wanted = [summary(one_by_one.judge(frame)) for frame in clip]
    together = FrameAnalysis(segmenter, settings, related=True).judge_all(iter(clip))
    assert [summary(judgement) for _, judgement in together] == wanted
    assert any(findings for findings, *_ in wanted)


@pytest.mark.data
def test_stored_maps_give_the_same_map_again(segmenter: Segmenter, clip: list[Frame]) -> None:
    """The shown map is computed from the stored form of the network's map, bit by bit."""
    analysis = FrameAnalysis(segmenter, Settings(), related=True)
    judged = [judgement for _, judgement in analysis.judge_all(iter(clip))]
    ahead = LookAhead(segmenter.postprocess, segmenter.preprocess.fit, Settings().temporal)
    stored = [
        (place, one.seen, None if one.probability is None else store(one.probability), ignore_laps)
        for place, one in enumerate(judged)
    ]
    for wanted, (_, again) in zip(judged, ahead.interpret_all(stored), strict=True):
        np.testing.assert_array_equal(
            again.segmentation.probability, wanted.segmentation.probability
        )


def store(probability: Probability) -> Probability:
    height, width = probability.shape
    return unpack_map(pack_map(probability), (width, height))


@pytest.mark.data
def test_the_network_sees_the_field(segmenter: Segmenter, clip: list[Frame]) -> None:
    """The field leaves the border out, and with `analysis.field` off it is the whole frame."""
    within = FrameAnalysis(segmenter, Settings(), related=False)
    whole = FrameAnalysis(segmenter, load_settings(None, ["analysis.field=false"]), related=False)
    for frame in clip[::6]:
        x0, _, x1, _ = within.judge(frame).seen.field.box
        assert x0 >= 200 - 2
        assert x1 <= 200 + frame.size[0] // 2 + 2
        assert whole.judge(frame).seen.field.box == (0, 0, *frame.size)


@pytest.mark.data
def test_without_time_each_frame_stands_for_itself(segmenter: Segmenter, clip: list[Frame]) -> None:
    """With `analysis.temporal=false` video is judged like unrelated images: without tracks and
    alarm hold, in any order, and also on a dark frame."""
    settings = load_settings(None, ["analysis.temporal=false"])
    alone = FrameAnalysis(segmenter, Settings(), related=False)
    video = FrameAnalysis(segmenter, settings, related=True)
    dark = replace(clip[0], pixels=BgrImage(np.zeros_like(clip[0].image)))
    frames = [*clip[:6], dark]
    wanted = [summary(alone.judge(frame)) for frame in reversed(frames)]
    assert [summary(video.judge(frame)) for frame in frames] == wanted[::-1]
    assert all(not tracks for _, tracks, _ in wanted)
    last = video.judge(dark)
    assert last.seen.condition is Condition.UNDEREXPOSED
    assert last.probability is not None


@pytest.mark.data
def test_an_image_alone_is_judged_upside_down_too(segmenter: Segmenter, clip: list[Frame]) -> None:
    """Its map is the mean of two, so an image and its flipped copy have the same one, flipped."""
    one = FrameAnalysis(segmenter, Settings(), related=False)
    off = Segmenter.open(
        read_bundle(find_bundle()), load_settings(None, ["analysis.second_look=false"])
    )
    plain = FrameAnalysis(off, Settings(), related=False)
    changed = 0.0
    for frame in clip[::6]:
        flipped = replace(frame, pixels=BgrImage(np.ascontiguousarray(frame.image[::-1])))
        mean, again, upright, other = (
            analysis.judge(image).probability
            for analysis in (one, plain)
            for image in (frame, flipped)
        )
        assert mean is not None
        assert again is not None
        assert upright is not None
        assert other is not None
        np.testing.assert_allclose(again[::-1], mean, atol=2e-5)
        np.testing.assert_allclose(mean, (upright + other[::-1]) / 2, atol=2e-5)
        changed = max(changed, float(np.abs(mean - upright).max()))
    assert changed > 0.1
    off.close()

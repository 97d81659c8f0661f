"""Tests that no sink that writes or sends receives an unmasked frame."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from qlumen.errors import SinkError
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.endoscope.privacy import Privacy
from qlumen.realtime.frames import FrameResult
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.live.event_log import Note
from qlumen.realtime.live.outputs import LiveOutputs
from qlumen.realtime.live.privacy_stage import PrivacyStage
from qlumen.realtime.live.session import LiveSession
from qlumen.realtime.live.stage import SinkRunner
from qlumen.realtime.pixels.annotated import Annotated
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.pixels.planes import Planes
from qlumen.realtime.pixels.pool import FramePool
from qlumen.realtime.pixels.yuv import to_video_frame
from qlumen.realtime.sinks.base import Sink
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource

from support.media import read_video, result_of

FRAMES = 50
CORNER = ["privacy.regions=[[0, 0, 0.25, 0.5]]", "privacy.pixelate_outside_body=false"]


class MemorySink(Sink):
    def __init__(self) -> None:
        self.images: list[Image] = []

    def write(self, result: FrameResult) -> None:
        assert isinstance(result.frame.pixels, BgrImage)
        assert isinstance(result.annotated, BgrImage | None)
        self.images += [result.frame.image, *([] if result.annotated is None else [result.shown])]

    def close(self) -> None:
        pass


def ignore(kind: str, **fields: Any) -> None:
    """Ignore the event."""


def images_behind(
    results: Iterable[FrameResult],
    *,
    privacy: Privacy | None = None,
    overrides: Sequence[str] = CORNER,
    note: Note = ignore,
) -> list[Image]:
    """Return the images that a sink behind the stage received."""
    settings = load_settings(None, overrides)
    kept = MemorySink()
    sink = SinkRunner("out", lambda: kept, LatencyRecorder(), note, frames=FRAMES)
    chosen = privacy or Privacy(**settings.privacy.model_dump())
    stage = PrivacyStage(chosen, settings, [sink], LatencyRecorder(), note, frames=FRAMES)
    for part in (sink, stage):
        part.start()
    for result in results:
        stage.put(result)
    for part in (stage, sink):
        part.close(30)
    return kept.images


def test_frame_and_drawing_are_both_masked() -> None:
    """In both, the region is black and the rest is unchanged. The decoded planes, which a recorder
    would take, are left out."""
    image = SceneSource(SceneSettings(width=160, height=120)).frame(3).image
    drawn = np.flipud(image).copy()
    result = result_of(image, annotated=drawn)
    unmasked = Planes(to_video_frame(image), FramePool())
    in_parts = Annotated(BgrImage(drawn), (), FramePool())
    result = replace(result, frame=replace(result.frame, pixels=unmasked), annotated=in_parts)
    images = images_behind([result])
    assert len(images) == 2
    for given, got in zip((unmasked.bgr(), drawn), images, strict=True):
        assert not got[:60, :40].any()
        assert np.array_equal(got[:, 40:], given[:, 40:])
        assert np.array_equal(got[60:], given[60:])


def test_a_frame_with_nothing_to_hide_keeps_its_decoded_form() -> None:
    """Where nothing is hidden, sinks get the very result, so that none of them must convert it."""
    image = SceneSource(SceneSettings(width=160, height=120)).frame(3).image
    result = result_of(image)
    planes = Planes(to_video_frame(image), FramePool())
    result = replace(result, frame=replace(result.frame, pixels=planes))
    settings, got = load_settings(None, []), []

    class Keeping(MemorySink):
        def write(self, result: FrameResult) -> None:
            got.append(result)

    sink = SinkRunner("out", Keeping, LatencyRecorder(), ignore, frames=FRAMES)
    privacy = Privacy(**settings.privacy.model_dump())
    stage = PrivacyStage(privacy, settings, [sink], LatencyRecorder(), ignore)
    for part in (sink, stage):
        part.start()
    stage.put(result)
    for part in (stage, sink):
        part.close(30)
    assert got == [result]


def test_frames_from_outside_the_body_are_pixelated_from_the_first_one_on() -> None:
    """After the scene comes a grey room with lettering, and no frame of it comes out unchanged."""
    privacy = Privacy(regions=(), outside_field=False, pixelate_outside_body=True)
    scene = SceneSource(SceneSettings(width=160, height=120))
    room = np.full((120, 160, 3), 140, np.uint8)
    room[40:80:3, 30:130:2] = (220, 215, 210)
    results = [result_of(scene.frame(index).image, index) for index in range(3)]
    results += [result_of(room, index) for index in range(3, 6)]
    images = images_behind(results, privacy=privacy)
    inside, outside = images[:3], images[3:]
    assert all(np.array_equal(got, scene.frame(index).image) for index, got in enumerate(inside))
    assert len(outside) == 3
    assert not any(np.array_equal(got, room) for got in outside)


def test_nothing_is_let_through_until_a_field_is_seen() -> None:
    """A dark frame with a name on it, before the endoscope's light, comes out black. With the field
    in view the image inside it comes through."""
    name = np.zeros((120, 160, 3), np.uint8)
    name[10:14, 5:40:2] = 255
    scene = SceneSource(SceneSettings(width=160, height=120)).frame(3).image
    results = [result_of(name, 0, annotated=name), result_of(scene, 50)]
    images = images_behind(results, overrides=["privacy.outside_field=true"])
    assert not images[0].any()
    assert not images[1].any()
    assert np.array_equal(images[2][50:70, 60:100], scene[50:70, 60:100])


@pytest.mark.parametrize("level_bgr", [(200, 60, 20), (150, 150, 150)], ids=["blue", "grey"])
def test_a_screen_that_was_full_does_not_count_as_field_afterwards(
    level_bgr: tuple[int, int, int],
) -> None:
    """After a second of a full screen comes the endoscope's image with a name beside the field, and
    the name is on no frame that is written."""
    full = np.full((240, 320, 3), level_bgr, np.uint8)
    scene = SceneSource(SceneSettings(width=320, height=240))
    results = [result_of(full, index) for index in range(25)]
    for index in range(25, 50):
        named = scene.frame(index).image.copy()
        named[6:16:2, 2:30:2] = 255
        results.append(result_of(named, index))
    after = images_behind(results, overrides=["privacy.outside_field=true"])[25:]
    assert len(after) == 25
    assert all(not image[:20, :32].any() for image in after)
    assert after[-1][100:140, 140:180].any()


def test_a_stage_that_fails_lets_nothing_through() -> None:
    """A failed stage is detached like any sink, and the sinks behind it get no further frame."""

    class Broken(Privacy):
        def __call__(self, *_: object) -> Image:
            raise SinkError("made to fail")

    broken = Broken(regions=[(0, 0, 1, 1)], outside_field=True, pixelate_outside_body=True)
    detached: list[str] = []

    def note(kind: str, **fields: Any) -> None:
        if kind == "sink_detached":
            detached.append(fields["sink"])

    black = [result_of(np.zeros((8, 8, 3), np.uint8), index) for index in range(3)]
    assert images_behind(black, privacy=broken, note=note) == []
    assert detached == ["privacy"]


def test_recordings_of_a_session_are_masked(tmp_path: Path) -> None:
    """The region is black in every decoded frame, with overlay and without."""
    size = ("scene.width=320", "scene.height=240")
    settings = load_settings(None, [*size, "scene.frames=15", *CORNER])
    outputs = LiveOutputs(record=tmp_path / "o.mp4", record_clean=tmp_path / "c.mp4")
    with LiveSession("scene", outputs, settings, Console(quiet=True)) as session:
        session.run()
    for name in ("o.mp4", "c.mp4"):
        _, images = read_video(tmp_path / name)
        assert len(images) > 5
        for image in images:
            assert image[30:112, 4:72].max() < 16  # below the AI's plate, beside the soft edge
            assert image[120:, 80:].max() > 60

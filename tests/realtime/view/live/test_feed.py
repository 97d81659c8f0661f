"""Checks the images for browsers: only the newest, encoded once for all, and nobody waits."""

import threading
import time
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlumen.errors import SinkError
from qlumen.realtime.frames import (
    AiState,
    Condition,
    Finding,
    Frame,
    FrameResult,
    LiveState,
    Segmentation,
    Track,
)
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.view.live.feed import Feed, WebSink
from qlumen.realtime.view.live.figures import Figures
from qlumen.realtime.view.live.gallery import MAX_SHOWN, SIDE_PX, Gallery

from support.media import make_images

NOTHING = Segmentation(np.zeros((48, 64), np.uint8), (), np.zeros((1, 1), np.float32))
STATE = LiveState(AiState.ON, 0, 40.0, Condition.CLEAR, (), False, True)


def make_result(index: int, width: int = 64, height: int = 48) -> FrameResult:
    image = make_images(1, width, height)[0]
    frame = Frame(index, index, Fraction(1, 25), BgrImage(image), time.monotonic_ns())
    return FrameResult(frame, NOTHING, BgrImage(image.copy()), {}, STATE)


def make_track(number: int, score: float, box: tuple[int, int, int, int]) -> Track:
    contour = np.array([[box[0], box[1]]], np.int32)
    return Track(number, Finding(box, score, 9, contour), 1.0, alarm=True, new=False)


@given(st.lists(st.sampled_from(["frame", "take", "drew", "old"]), max_size=60))
def test_a_viewer_has_the_newest_and_few_on_their_way(turns: list[str]) -> None:
    """In any order of events, a viewer takes what a list kept by hand says."""
    feed = Feed(viewers=1, in_flight=2)
    viewer = feed.join(lambda: None)
    published, taken, way = 0, 0, []
    for turn in turns:
        if turn == "frame":
            published += 1
            feed.publish(published, 0, b"jpeg")
        elif turn == "take":
            image = viewer.take()
            wanted = published if published > taken and len(way) < 2 else None
            assert (image.number if image else None) == wanted
            taken = wanted or taken
            way += [wanted] if wanted else []
        elif turn == "drew" and way:
            viewer.drew(way.pop(0))
        else:
            viewer.drew(0)
        assert viewer.ready == (len(way) < 2)


def test_nothing_is_encoded_while_nobody_can_take_it() -> None:
    """No JPEG is made without a viewer, or if its viewer has too many on their way."""
    feed = Feed(viewers=2, in_flight=1)
    with WebSink(feed, width_px=64, jpeg_quality=80) as sink:
        sink.write(make_result(0))
        assert feed.newest is None
        viewer = feed.join(lambda: None)
        sink.write(make_result(1))
        first = viewer.take()
        sink.write(make_result(2))
        assert feed.published == 1
        assert first is not None
        viewer.drew(first.number)
        assert viewer.take() is None
        sink.write(make_result(3))
        taken = viewer.take()
    assert taken is not None
    assert taken.frame == 3
    assert viewer.delay_ms is not None


def test_all_viewers_get_the_same_bytes() -> None:
    """All viewers get one encoding, which decodes to nearly the drawn frame."""
    feed = Feed(viewers=3, in_flight=1)
    viewers = [feed.join(lambda: None) for _ in range(3)]
    result = make_result(0)
    with WebSink(feed, width_px=64, jpeg_quality=95) as sink:
        sink.write(result)
    taken = [viewer.take() for viewer in viewers]
    assert taken[0] is not None
    assert all(image is taken[0] for image in taken)
    decoded = cv2.imdecode(np.frombuffer(taken[0].jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(decoded.astype(int) - result.shown).mean() < 8


def test_wide_frames_are_scaled_down() -> None:
    """A wide frame gets the width of the setting and keeps its proportions."""
    feed = Feed(viewers=1, in_flight=1)
    viewer = feed.join(lambda: None)
    with WebSink(feed, width_px=100, jpeg_quality=80) as sink:
        sink.write(make_result(0, 400, 300))
    image = viewer.take()
    assert image is not None
    decoded = cv2.imdecode(np.frombuffer(image.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape == (75, 100, 3)


def test_there_is_a_limit_to_viewers() -> None:
    """One viewer too many is refused with the setting's name; one that leaves makes room."""
    feed = Feed(viewers=1, in_flight=1)
    first = feed.join(lambda: None)
    with pytest.raises(SinkError, match=r"view\.viewers"):
        feed.join(lambda: None)
    first.leave()
    first.leave()
    assert feed.viewers == 0
    feed.join(lambda: None)


def test_a_waiting_viewer_is_woken() -> None:
    """The next frame wakes the viewer, from the sink's thread."""
    feed, woken = Feed(viewers=1, in_flight=1), threading.Event()
    feed.join(woken.set)
    with WebSink(feed, width_px=64, jpeg_quality=80) as sink:
        writer = threading.Thread(target=lambda: sink.write(make_result(0)))
        writer.start()
        assert woken.wait(30)
        writer.join()


def test_other_receivers_get_every_frame() -> None:
    """They get it without any viewer."""
    seen: list[int] = []
    feed = Feed(viewers=1, in_flight=1)
    also = (lambda result: seen.append(result.frame.index),)
    with WebSink(feed, width_px=64, jpeg_quality=80, also=also) as sink:
        for index in range(3):
            sink.write(make_result(index))
    assert seen == [0, 1, 2]


def test_figures_keep_the_worst_age_of_each_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a test clock, ten frames a second give the greatest age of each second."""
    clock = iter(range(0, 3_000_000_000, 100_000_000))
    now_ns = 0

    def monotonic_ns() -> int:
        return now_ns

    monkeypatch.setattr(time, "monotonic_ns", monotonic_ns)
    figures, result = Figures(), make_result(0)
    for index in range(30):
        now_ns = next(clock)
        age = None if index < 10 else float(index)
        figures(replace(result, live=replace(STATE, annotation_age_ms=age)))
    assert [(second.number, second.age_ms) for second in figures.seconds()] == [
        (0, None), (1, 19.0), (2, 29.0),
    ]  # fmt: skip
    assert figures.rate() == pytest.approx(10)
    now_ns += 10_000_000_000
    assert figures.rate() == 0
    figures.begin()
    assert figures.seconds() == []


def test_the_gallery_keeps_the_best_image_of_each_lesion() -> None:
    """A better score replaces the image after a pause; a worse score never does."""
    gallery = Gallery()
    scores = {0: 0.5, 1: 0.9, 100: 0.8, 200: 0.95}
    for index, score in scores.items():
        live = replace(STATE, tracks=(make_track(7, score, (10, 10, 30, 30)),))
        gallery(replace(make_result(index), live=live))
        time.sleep(0.0 if index != 100 else 0.6)
    (thumbnail,) = gallery.thumbnails()
    assert (thumbnail.number, thumbnail.score, thumbnail.version) == (7, 0.95, 2)
    assert thumbnail.last_s == pytest.approx(8.0)
    jpeg = gallery.jpeg(7)
    assert jpeg is not None
    decoded = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert max(decoded.shape[:2]) == SIDE_PX
    assert gallery.jpeg(8) is None


@given(
    st.integers(0, 63), st.integers(0, 47), st.integers(1, 64), st.integers(1, 48)
)  # fmt: skip
def test_any_box_gives_an_image(x0: int, y0: int, width: int, height: int) -> None:
    """A box at the frame's edge, or as large as the frame, also gives an image."""
    gallery = Gallery()
    box = (x0, y0, min(64, x0 + width), min(48, y0 + height))
    gallery(replace(make_result(0), live=replace(STATE, tracks=(make_track(1, 0.5, box),))))
    assert gallery.jpeg(1)


def test_the_gallery_is_bounded() -> None:
    """The gallery drops the oldest lesions."""
    gallery = Gallery()
    for number in range(1, MAX_SHOWN + 11):
        live = replace(STATE, tracks=(make_track(number, 0.5, (1, 1, 5, 5)),))
        gallery(replace(make_result(number), live=live))
    numbers = [thumbnail.number for thumbnail in gallery.thumbnails()]
    assert numbers == list(range(MAX_SHOWN + 10, 10, -1))

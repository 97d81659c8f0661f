"""Tests that one engine serves all who open it, and that one that was given up is replaced."""

import threading
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from qlumen.errors import ConfigError, EngineError
from qlumen.networks.bundle import read_bundle
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.engines import choose
from qlumen.realtime.engines.base import Engine, Probability, Ticket
from qlumen.realtime.frames import Frame
from qlumen.realtime.live import shared_engine
from qlumen.realtime.live.shared_engine import SharedEngine, User
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.segmentation.segmenter import Segmenter

from support.media import make_images
from support.small_network import small_network

SETTINGS = load_settings(None, [small_network(), "engine.threads=1"])
BUNDLE = read_bundle(choose.bundle_folder(SETTINGS))


class FragileTicket(Ticket):
    def __init__(self, ticket: Ticket, engine: "FragileEngine") -> None:
        self._ticket, self._engine = ticket, engine

    def result(self) -> Probability:
        self._engine.held.wait(60)
        found = self._ticket.result()
        if self._engine.broken:
            raise EngineError("made to fail")
        return found


class FragileEngine(Engine):
    """Runs a real engine, which a test can break, hold and find closed."""

    opened: list["FragileEngine"]

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.input_size, self.output_size = engine.input_size, engine.output_size
        self.requests = engine.requests
        self.broken = self.closed = False
        self.held = threading.Event()
        self.held.set()
        self.opened.append(self)

    def submit(self, image: Image) -> Ticket:
        return FragileTicket(self._engine.submit(image), self)

    def _about(self) -> dict[str, Any]:
        return self._engine.describe()

    def close(self) -> None:
        self.closed = True
        self._engine.close()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[FragileEngine]]:
    """Return the engines that are opened meanwhile."""
    FragileEngine.opened = []
    real = choose.open_engine
    monkeypatch.setattr(
        shared_engine, "open_engine", lambda *args, **more: FragileEngine(real(*args, **more))
    )
    yield FragileEngine.opened
    for engine in FragileEngine.opened:
        engine.held.set()


def infer(user: Segmenter) -> Probability:
    """Run the network on a black image."""
    width, height = user.engine.input_size
    return user.engine.infer(np.zeros((height, width, 3), np.uint8))


def test_all_get_the_maps_of_one_engine_with_thresholds_of_their_own(
    opened: list[FragileEngine],
) -> None:
    """Two users have one engine, equal maps and their own thresholds; the last one closes it."""
    shared = SharedEngine(BUNDLE, SETTINGS)
    quiet, sensitive = (
        load_settings(None, [small_network(), f"postprocess.high={high}"]) for high in (0.95, 0.6)
    )
    a, b = (shared.segmenter(User(), BUNDLE, each) for each in (quiet, sensitive))
    np.testing.assert_array_equal(infer(a), infer(b))
    likely = np.full(a.engine.output_size[::-1], 0.9, np.float32)
    frame = Frame(0, 0, Fraction(1, 25), BgrImage(make_images(1)[0]), 0)
    assert [len(user.finish(frame, likely).findings) for user in (a, b)] == [0, 1]
    assert a.engine.describe() == b.engine.describe() == opened[0].describe()
    shared.close()
    a.close()
    a.close()
    assert [engine.closed for engine in opened] == [False]
    with pytest.raises(EngineError, match="closed"):
        infer(a)
    infer(b)
    b.close()
    assert [engine.closed for engine in opened] == [True]


def test_who_gave_the_engine_up_gets_a_new_one_and_the_others_follow(
    opened: list[FragileEngine],
) -> None:
    """The first to come back opens a new engine, the second one takes it too, and the old one
    ends with its last user."""
    one, two = User(), User()
    with SharedEngine(BUNDLE, SETTINGS) as engine:
        a, b = (engine.segmenter(user, BUNDLE, SETTINGS) for user in (one, two))
        opened[0].broken = True
        for each in (a, b):
            with pytest.raises(EngineError, match="made to fail"):
                infer(each)
        a.close()
        again = engine.segmenter(one, BUNDLE, SETTINGS)
        infer(again)
        assert not opened[0].closed
        b.close()
        assert opened[0].closed
        other = engine.segmenter(two, BUNDLE, SETTINGS)
        infer(other)
        assert len(opened) == 2
        again.close()
        other.close()
    assert opened[1].closed


def test_an_engine_that_hangs_is_left_to_whom_it_holds(opened: list[FragileEngine]) -> None:
    """Its user comes back and gets a new engine; the old one is closed when the frame ends."""
    user = User()
    with SharedEngine(BUNDLE, SETTINGS) as engine:
        hangs = engine.segmenter(user, BUNDLE, SETTINGS)
        opened[0].held.clear()
        thread = threading.Thread(target=infer, args=[hangs])
        thread.start()
        works = engine.segmenter(user, BUNDLE, SETTINGS)
        infer(works)
        assert [each.closed for each in opened] == [False, False]
        opened[0].held.set()
        thread.join()
        hangs.close()
        assert opened[0].closed
        works.close()


def test_wrong_thresholds_of_one_room_hold_no_engine(opened: list[FragileEngine]) -> None:
    """The error is that of one source alone, and the engine can still be closed."""
    wrong = load_settings(None, ["postprocess.low=0.9", "postprocess.high=0.5"])
    with SharedEngine(BUNDLE, SETTINGS) as engine, pytest.raises(ConfigError):
        engine.segmenter(User(), BUNDLE, wrong)
    assert opened[0].closed

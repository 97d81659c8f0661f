"""Tests the passes of a profile on real frames."""

import pytest

from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.frames import FrameResult
from qlumen.realtime.profiling import rig as rigs
from qlumen.realtime.profiling.passes import KIB, allocation_pass
from qlumen.realtime.sinks.base import NullSink

from support.small_network import small_network

SMALL = ["scene.width=160", "scene.height=128", "scene.frames=15"]
LEAK_KIB = 20


def test_a_leak_is_found_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sink that keeps memory shows a growth; a sink that keeps nothing does not."""
    kept: list[bytes] = []

    class Leaking(NullSink):
        def write(self, result: FrameResult) -> None:
            kept.append(bytes(LEAK_KIB * KIB))

    with rigs.Rig("scene", load_settings(overrides=[*SMALL, small_network()]), record=False) as rig:
        clean = allocation_pass(rig)
        monkeypatch.setattr(rigs, "DrawnSink", Leaking)
        leaking = allocation_pass(rig)
    assert clean.growth_kib < LEAK_KIB / 4
    assert LEAK_KIB <= leaking.growth_kib < 1.5 * LEAK_KIB
    assert leaking.sites[0].place.startswith(__file__)
    assert leaking.sites[0].blocks == leaking.frames

"""Tests that settings change immediately while video runs, and that every change is logged."""

from pathlib import Path
from typing import Any

import pytest

from qlumen.networks.bundle import Bundle, find_bundle, read_bundle
from qlumen.realtime.config.settings import Settings, load_settings
from qlumen.realtime.live.control import Control
from qlumen.realtime.segmentation.segmenter import thresholds


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, kind: str, **fields: object) -> None:
        self.lines.append((kind, fields))


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return read_bundle(find_bundle())


def test_the_overlay_is_switched_off_and_on(bundle: Bundle) -> None:
    """The key pressed twice leaves the overlay as before, and the log has both presses."""
    log = Log()
    control = Control(bundle, Settings(), log)
    control.toggle_overlay()
    assert not control.overlay_visible
    control.toggle_overlay()
    assert control.overlay_visible
    assert [fields["overlay"] for _, fields in log.lines] == [False, True]


def test_the_threshold_moves_in_steps_and_stays_in_bounds(bundle: Bundle) -> None:
    """Each key moves the threshold by 0.05, within 0.05 and 0.99, and low is never above high."""
    log = Log()
    control = Control(bundle, Settings(), log)
    own = thresholds(bundle, Settings())["high"]
    control.step_threshold(-1)
    assert thresholds(bundle, control.settings())["high"] == pytest.approx(own - 0.05)
    for _ in range(40):
        control.step_threshold(-1)
    at_end = thresholds(bundle, control.settings())
    assert at_end["high"] == pytest.approx(0.05)
    assert at_end["low"] <= at_end["high"]
    for _ in range(40):
        control.step_threshold(1)
    assert thresholds(bundle, control.settings())["high"] == pytest.approx(0.99)
    assert log.lines[-1][1]["high"] == 0.99


def test_a_reload_takes_over_what_may_change(bundle: Bundle, tmp_path: Path) -> None:
    """Overlay and alarm hold change immediately; the recorder's quality waits for a restart."""
    file = tmp_path / "c.yaml"
    file.write_text("overlay: {fill_alpha: 0.5}\ntemporal: {hold_s: 1.0}\nrecorder: {crf: 30}\n")
    log = Log()
    control = Control(bundle, Settings(), log)
    control.reload(lambda: load_settings(file))
    assert control.settings().overlay.fill_alpha == 0.5
    assert control.settings().temporal.hold_s == 1.0
    assert control.settings().recorder == Settings().recorder
    assert log.lines == [
        ("settings", {
            "changed": {"overlay.fill_alpha": 0.5, "temporal.hold_s": 1.0},
            "need_restart": ["recorder.crf"],
        })
    ]  # fmt: skip


@pytest.mark.parametrize(
    "content", ["overlay: {fill_alpha: 7}", "nonsense: 1", "postprocess: {low: 0.9, high: 0.2}"]
)
def test_bad_settings_change_nothing(bundle: Bundle, tmp_path: Path, content: str) -> None:
    """Bad settings are refused with the reason, and the settings in force stay."""
    file = tmp_path / "c.yaml"
    file.write_text(content)
    log = Log()
    control = Control(bundle, Settings(), log)
    control.reload(lambda: load_settings(file))
    assert control.settings() == Settings()
    assert [kind for kind, _ in log.lines] == ["settings_refused"]

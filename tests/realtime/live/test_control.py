"""Tests that settings change immediately while video runs, and that every change is logged."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qlumen.networks.bundle import AlarmRecord, Bundle, find_bundle, read_bundle
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


def test_the_dial_moves_by_positions_and_stops_at_its_ends(bundle: Bundle) -> None:
    """Each key moves it by one; more sensitive means a lower threshold, never below low."""
    log = Log()
    control = Control(bundle, Settings(), log)
    highs = [thresholds(bundle, control.settings())["high"]]
    for _ in range(4):
        control.step_sensitivity(1)
        now = thresholds(bundle, control.settings())
        assert now["low"] <= now["high"]
        highs.append(now["high"])
    assert highs[0] > highs[1] > highs[2] == highs[3] == highs[4]
    assert [fields["position"] for _, fields in log.lines] == [4, 5, 5, 5]
    for _ in range(9):
        control.step_sensitivity(-1)
    assert control.settings().postprocess.sensitivity == 1
    assert log.lines[-1][1]["high"] == thresholds(bundle, control.settings())["high"] > highs[0]


def test_the_dial_replaces_a_threshold_of_the_settings(bundle: Bundle) -> None:
    """At position 3 the bundle's own threshold counts again."""
    control = Control(bundle, load_settings(None, ["postprocess.high=0.65"]), Log())
    assert thresholds(bundle, control.settings())["high"] == 0.65
    control.set_sensitivity(3)
    assert thresholds(bundle, control.settings()) == bundle.manifest.thresholds.model_dump()


def test_measured_alarms_are_told_for_their_threshold_only(bundle: Bundle) -> None:
    """The text has the lowest and highest rate; another threshold or none measured gives none."""
    own = bundle.manifest.thresholds.high
    record = AlarmRecord(
        high=own, false_per_minute={"scene": 0.31, "panned": 1.24, "polyps": 0.9}, found_in_3_s=0.9
    )
    manifest = bundle.manifest.model_copy(update={"alarms": {3: record}})
    control = Control(replace(bundle, manifest=manifest), Settings(), Log())
    text = "On test videos: 0.3 to 1.2 false alarms a minute, 90% of the polyps in 3 s."
    assert control.describe_alarms() == text
    control.step_sensitivity(1)
    assert not control.describe_alarms()
    other = load_settings(None, [f"postprocess.high={own / 2}"])
    assert not Control(replace(bundle, manifest=manifest), other, Log()).describe_alarms()


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

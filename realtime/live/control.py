"""Changes settings while live video runs, and logs each change."""

import threading
from collections.abc import Callable

from qlumen.errors import ConfigError
from qlumen.networks.bundle import Bundle
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.segmentation.postprocess import Postprocessor
from qlumen.realtime.segmentation.segmenter import POSITIONS, thresholds
from qlumen.realtime.sinks.events import Note

LIVE_SECTIONS = ("overlay", "postprocess", "temporal", "live", "alarm")
"""Settings that take effect immediately. The others need a restart."""
FIXED_KEYS = frozenset({"live.sink_frames"})
"""Keys in these sections that still need a restart."""


class Control:
    """Holds the settings in force.

    It replaces them as a whole, so that a thread sees either the old or the new ones. One change
    is made after the other.
    """

    def __init__(self, bundle: Bundle, settings: Settings, note: Note) -> None:
        self._bundle, self._settings, self._note = bundle, settings, note
        self._changing = threading.RLock()
        self.overlay_visible = True

    def settings(self) -> Settings:
        return self._settings

    def toggle_overlay(self) -> None:
        """Show or hide the findings."""
        with self._changing:
            visible = self.overlay_visible = not self.overlay_visible
        self._note("action", action="toggle_overlay", overlay=visible)

    def reload(self, read: Callable[[], Settings]) -> None:
        """Apply new settings, and log which need a restart. Bad settings change nothing."""
        with self._changing:
            self._reload(read)

    def step_sensitivity(self, steps: int) -> None:
        """Move the dial by positions, up to be more sensitive; it stops at its ends."""
        with self._changing:
            position = self._settings.postprocess.sensitivity + steps
            self.set_sensitivity(min(POSITIONS[-1], max(POSITIONS[0], position)))

    def set_sensitivity(self, position: int) -> None:
        """Set the dial, one of `POSITIONS`. It replaces thresholds of the settings."""
        with self._changing:
            update = {"sensitivity": position, "high": None, "low": None}
            section = self._settings.postprocess.model_copy(update=update)
            self._settings = self._settings.model_copy(update={"postprocess": section})
            now = thresholds(self._bundle, self._settings)
        self._note("action", action="sensitivity", position=position, high=now["high"],
                   low=now["low"])  # fmt: skip

    def describe_alarms(self) -> str:
        """Tell how often the network alarmed on test videos at this position; "" if not known."""
        settings = self._settings
        record = self._bundle.manifest.alarms.get(settings.postprocess.sensitivity)
        if record is None or record.high != thresholds(self._bundle, settings)["high"]:
            return ""
        rates = sorted(record.false_per_minute.values())
        return (
            f"On test videos: {rates[0]:.1f} to {rates[-1]:.1f} false alarms a minute, "
            f"{record.found_in_3_s:.0%} of the polyps in 3 s."
        )

    def _reload(self, read: Callable[[], Settings]) -> None:
        try:
            given = read()
            Postprocessor(**thresholds(self._bundle, given))
        except ConfigError as error:
            self._note("settings_refused", reason=str(error))
            return
        old, new = self._settings.model_dump(mode="json"), given.model_dump(mode="json")
        changed = {
            f"{section}.{key}": value
            for section, keys in new.items()
            for key, value in keys.items()
            if value != old[section][key]
        }
        now = {
            key: value
            for key, value in changed.items()
            if key.split(".")[0] in LIVE_SECTIONS and key not in FIXED_KEYS
        }
        update = {section: getattr(given, section) for section in LIVE_SECTIONS}
        self._settings = self._settings.model_copy(update=update)
        self._note("settings", changed=now, need_restart=sorted(changed.keys() - now.keys()))

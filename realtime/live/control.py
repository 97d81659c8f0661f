"""Changes settings while live video runs, and logs each change."""

import threading
from collections.abc import Callable

from qlumen.errors import ConfigError
from qlumen.networks.bundle import Bundle
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.segmentation.postprocess import Postprocessor
from qlumen.realtime.segmentation.segmenter import thresholds
from qlumen.realtime.sinks.events import Note

THRESHOLD_STEP = 0.05
THRESHOLD_BOUNDS = (0.05, 0.99)
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

    def threshold(self) -> float:
        """Return the probability that a finding must reach at one pixel or more."""
        return thresholds(self._bundle, self._settings)["high"]

    def step_threshold(self, steps: int) -> None:
        """Move the threshold by `steps` times `THRESHOLD_STEP`, up or down."""
        with self._changing:
            self.set_threshold(self.threshold() + steps * THRESHOLD_STEP)

    def set_threshold(self, high: float) -> None:
        """Set the probability that a finding must reach. The lower threshold stays at or below it.

        Args:
            high: new value, limited to `THRESHOLD_BOUNDS`.
        """
        least, most = THRESHOLD_BOUNDS
        high = round(min(most, max(least, high)), 2)
        with self._changing:
            low = min(thresholds(self._bundle, self._settings)["low"], high)
            section = self._settings.postprocess.model_copy(update={"high": high, "low": low})
            self._settings = self._settings.model_copy(update={"postprocess": section})
        self._note("action", action="threshold", high=high, low=low)

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

"""What may change while live video runs, and the log of each change."""

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
"""Settings that take effect at once; the others need a restart."""
FIXED_KEYS = frozenset({"live.sink_frames"})
"""Of these sections, what does not."""


class Control:
    """Holds the settings in force. They are replaced as a whole, so that a thread that asks
    for them sees either the old or the new ones.

    Args:
        note: writes an event: kind and fields.
    """

    def __init__(self, bundle: Bundle, settings: Settings, note: Note) -> None:
        self._bundle, self._settings, self._note = bundle, settings, note
        self.overlay_visible = True

    def settings(self) -> Settings:
        return self._settings

    def toggle_overlay(self) -> None:
        """Show the findings, or hide them."""
        self.overlay_visible = not self.overlay_visible
        self._note("action", action="toggle_overlay", overlay=self.overlay_visible)

    def reload(self, read: Callable[[], Settings]) -> None:
        """Take over what may change; say what may not. Bad settings change nothing."""
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

    def threshold(self) -> float:
        """The probability that a finding must reach somewhere."""
        return thresholds(self._bundle, self._settings)["high"]

    def step_threshold(self, steps: int) -> None:
        """Move the threshold up, or down, by so many `THRESHOLD_STEP`."""
        self.set_threshold(self.threshold() + steps * THRESHOLD_STEP)

    def set_threshold(self, high: float) -> None:
        """Set the probability that a finding must reach, the lower one no higher than it.

        Args:
            high: within `THRESHOLD_BOUNDS`; what is beyond becomes the bound.
        """
        least, most = THRESHOLD_BOUNDS
        high = round(min(most, max(least, high)), 2)
        low = min(thresholds(self._bundle, self._settings)["low"], high)
        section = self._settings.postprocess.model_copy(update={"high": high, "low": low})
        self._settings = self._settings.model_copy(update={"postprocess": section})
        self._note("action", action="threshold", high=high, low=low)

"""Reads settings from YAML files and `section.key=value` overrides; refuses unknown keys."""

import difflib
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from qlumen.errors import ConfigError
from qlumen.realtime.config.base import Section
from qlumen.realtime.config.image import (
    AnalysisSettings,
    FieldSettings,
    PrivacySettings,
    QualitySettings,
)
from qlumen.realtime.config.live import AlarmSettings, LiveSettings, WatchdogSettings
from qlumen.realtime.config.network import (
    EngineSettings,
    ModelSettings,
    PipelineSettings,
    PostprocessSettings,
    QuantumSettings,
    TemporalSettings,
)
from qlumen.realtime.config.outputs import (
    MetricsSettings,
    MonitorSettings,
    OverlaySettings,
    RecorderSettings,
    ReportSettings,
    ReviewSettings,
    SnapshotSettings,
    StreamSettings,
    ViewSettings,
)
from qlumen.realtime.config.source import (
    PatternSection,
    ReconnectSettings,
    SceneSection,
    SourceSettings,
)
from qlumen.realtime.config.strict_yaml import read_override, read_yaml
from qlumen.system.locations import HIDDEN, without_secrets


class Settings(Section):
    source: SourceSettings = SourceSettings()
    reconnect: ReconnectSettings = ReconnectSettings()
    scene: SceneSection = SceneSection()
    pattern: PatternSection = PatternSection()
    model: ModelSettings = ModelSettings()
    analysis: AnalysisSettings = AnalysisSettings()
    field: FieldSettings = FieldSettings()
    quality: QualitySettings = QualitySettings()
    privacy: PrivacySettings = PrivacySettings()
    engine: EngineSettings = EngineSettings()
    quantum: QuantumSettings = QuantumSettings()
    postprocess: PostprocessSettings = PostprocessSettings()
    temporal: TemporalSettings = TemporalSettings()
    overlay: OverlaySettings = OverlaySettings()
    recorder: RecorderSettings = RecorderSettings()
    stream: StreamSettings = StreamSettings()
    monitor: MonitorSettings = MonitorSettings()
    snapshots: SnapshotSettings = SnapshotSettings()
    pipeline: PipelineSettings = PipelineSettings()
    live: LiveSettings = LiveSettings()
    watchdog: WatchdogSettings = WatchdogSettings()
    alarm: AlarmSettings = AlarmSettings()
    review: ReviewSettings = ReviewSettings()
    report: ReportSettings = ReportSettings()
    view: ViewSettings = ViewSettings()
    metrics: MetricsSettings = MetricsSettings()

    def sha256(self) -> str:
        """Return the hash of all values and defaults, whatever set them."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def load_settings(file: Path | None = None, overrides: Sequence[str] = ()) -> Settings:
    """Read `file`, apply `section.key=value` overrides and check everything.

    Raises:
        ConfigError: a value is wrong; the message names the key, what it got and what it takes.
    """
    return check_settings(read_sections(file) if file else {}, overrides)


def check_settings(values: dict[str, Any], overrides: Sequence[str]) -> Settings:
    """Apply the overrides to `values` and check everything, as `load_settings`."""
    for override in overrides:
        _apply(values, override)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None


def read_sections(file: Path) -> dict[str, Any]:
    """Read the sections of a file without checking their keys."""
    values = read_yaml(file)
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{file} holds a {type(values).__name__}; it needs sections with keys")
    return {section: keys for section, keys in values.items() if keys is not None}


def _apply(values: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    section, dot, key = path.strip().partition(".")
    if not (equals and dot and section and key):
        shown = without_secrets(path)
        raise ConfigError(f"--set {shown!r} does not have the form section.key=value")
    value = read_override(path, text)
    inner = values.setdefault(section, {})
    if not isinstance(inner, dict):
        raise ConfigError(f"--set {path}: {section} is not a section in the file")
    inner[key] = value


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if key == "rooms":
        return "the file names rooms, which only qlumen live takes, without a SOURCE"
    if first["type"] == "extra_forbidden":
        close = difflib.get_close_matches(key, list(_list_keys()), n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]}?" if close else f"; known: {', '.join(_list_keys())}"
        return f"unknown configuration key {key!r}{hint}"
    got = HIDDEN if key.startswith("source.options") else without_secrets(repr(first["input"]))
    return f"configuration key {key}: {first['msg']}, got {got}"


def _list_keys() -> Iterator[str]:
    for section, field in Settings.model_fields.items():
        for key in type(field.default).model_fields:
            yield f"{section}.{key}"

"""Settings of the video path: YAML files, `section.key=value` overrides, nothing unknown."""

import difflib
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from qlumen.realtime.errors import ConfigError

Channel = Annotated[int, Field(ge=0, le=255)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceSettings(Section):
    hardware: str | None = Field(
        None, description="FFmpeg device type that decodes, such as cuda or qsv; none by default"
    )
    threads: int = Field(0, ge=0, le=64, description="decoder threads; 0: slices over all cores")
    sequence: bool = Field(
        False, description="a folder's images follow each other in time (else unrelated stills)"
    )
    fps: float = Field(25.0, ge=0.01, le=1000, description="rate given to a folder's images, 1/s")


class SceneSection(Section):
    width: int = Field(1280, ge=1, le=8192, description="of the synthetic colon, px")
    height: int = Field(720, ge=1, le=8192, description="of the synthetic colon, px")
    fps: float = Field(25.0, ge=0.01, le=1000, description="frames per second")
    frames: int = Field(250, ge=1, description="length")
    seed: int = Field(0, ge=0, description="another seed, another colon")
    polyps: bool = Field(True, description="whether the colon has any")


class ModelSettings(Section):
    bundle: Path | None = Field(None, description="a bundle's folder; none: the shipped one")


class EngineSettings(Section):
    threads: int = Field(0, ge=0, le=256, description="of all inferences; 0: all cores")
    streams: int = Field(
        2, ge=1, le=64, description="inferences side by side; 1 is soonest, 2 are more a second"
    )
    requests: int = Field(3, ge=1, le=64, description="frames in flight in the engine")
    precision: Literal["f32", "bf16"] = Field(
        "f32", description="of the arithmetic; bf16 only where the CPU has it"
    )


class QuantumSettings(Section):
    executor: Literal[
        "surrogate", "lightning.qubit", "lightning.gpu", "default.qubit", "default.mixed"
    ] = Field(
        "surrogate", description="the tables in the compiled network, or a device that runs live"
    )
    shots: int | None = Field(
        None, ge=1, description="of a live device; none: exact expectation values"
    )
    depolarizing: float = Field(
        0.0, ge=0, le=0.75, description="error probability of a gate, default.mixed only"
    )
    readout_error: float = Field(
        0.0, ge=0, le=0.5, description="probability of an inverted read-out, default.mixed only"
    )
    memo_step: float = Field(
        1e-4, ge=0, le=1, description="live inputs are rounded to multiples of it, radians"
    )
    memo_entries: int = Field(
        50_000, ge=0, description="rounded inputs whose outputs are remembered; 0: none"
    )
    workers: int = Field(
        0, ge=0, le=256, description="processes that run lightning.qubit; 0: one per core"
    )


class PostprocessSettings(Section):
    """Where a field is none, the bundle's own value holds."""

    low: float | None = Field(None, gt=0, lt=1, description="probability at which a finding ends")
    high: float | None = Field(
        None, gt=0, lt=1, description="probability that a finding reaches somewhere"
    )
    min_area_fraction: float | None = Field(
        None, ge=0, lt=1, description="smallest finding, as a share of the frame's pixels"
    )


class OverlaySettings(Section):
    line_bgr: tuple[Channel, Channel, Channel] = Field(
        (230, 230, 0), description="colour of outlines and fill: blue, green, red"
    )
    fill_alpha: float = Field(0.15, ge=0, le=1, description="opacity of the fill")
    line_width_px: int = Field(0, ge=0, le=64, description="of the outline; 0: by frame height")


class RecorderSettings(Section):
    crf: int = Field(20, ge=0, le=51, description="x264 quality; lower is better and larger")
    preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow"] = (
        Field("veryfast", description="x264's trade of time for size")
    )
    threads: int = Field(0, ge=0, le=64, description="encoder threads; 0: one a core, up to 4")


class SnapshotSettings(Section):
    every: int = Field(1, ge=1, description="write every n-th frame")


class PipelineSettings(Section):
    queue_frames: int = Field(2, ge=1, le=64, description="frames waiting before each stage")


class Settings(Section):
    source: SourceSettings = SourceSettings()
    scene: SceneSection = SceneSection()
    model: ModelSettings = ModelSettings()
    engine: EngineSettings = EngineSettings()
    quantum: QuantumSettings = QuantumSettings()
    postprocess: PostprocessSettings = PostprocessSettings()
    overlay: OverlaySettings = OverlaySettings()
    recorder: RecorderSettings = RecorderSettings()
    snapshots: SnapshotSettings = SnapshotSettings()
    pipeline: PipelineSettings = PipelineSettings()

    def sha256(self) -> str:
        """Hash of all values, defaults included, independent of how they were given."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def load_settings(file: Path | None = None, overrides: Sequence[str] = ()) -> Settings:
    """Read `file`, apply `section.key=value` overrides, check everything.

    Raises:
        ConfigError: names the key, what it got and what it takes.
    """
    values = _read(file) if file else {}
    for override in overrides:
        _apply(values, override)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None


def _read(file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read the configuration {file}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError) as error:
        problem = " ".join(str(error).split())
        raise ConfigError(f"{file} is not valid YAML: {problem}") from None
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise ConfigError(f"{file} holds a {type(values).__name__}; want sections with keys")
    return {section: keys for section, keys in values.items() if keys is not None}


def _apply(values: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    section, dot, key = path.strip().partition(".")
    if not (equals and dot and section and key):
        raise ConfigError(f"--set {override!r} is not of the form section.key=value")
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        raise ConfigError(f"--set {override!r}: the value is not valid YAML") from None
    inner = values.setdefault(section, {})
    if not isinstance(inner, dict):
        raise ConfigError(f"--set {override!r}: {section} is not a section in the file")
    inner[key] = value


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        close = difflib.get_close_matches(key, list(_known_keys()), n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]}?" if close else f"; known: {', '.join(_known_keys())}"
        return f"unknown configuration key {key!r}{hint}"
    return f"configuration key {key}: {first['msg']}, got {first['input']!r}"


def _known_keys() -> Iterator[str]:
    for section, field in Settings.model_fields.items():
        for key in type(field.default).model_fields:
            yield f"{section}.{key}"

"""Holds the settings of the network, its engine, and the steps after the network."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from qlumen.networks.bundle import Precision
from qlumen.realtime.config.base import Section


class ModelSettings(Section):
    bundle: Path | None = None


class EngineSettings(Section):
    """Chooses the engine; see `docs/engines.md`. `qlumen doctor` shows what `auto` chooses."""

    name: (
        Literal["auto", "openvino", "onnxruntime", "torch", "tensorrt", "tensorrt-rtx"]
        | Annotated[str, Field(pattern=r"^plugin:.+$")]
    ) = "auto"
    device: str | None = Field(None, pattern=r"^(cpu|gpu(\.\d+)?|npu|cuda(:\d+)?)$")
    model: Path | None = None
    compile: bool = False
    threads: int = Field(0, ge=0, le=256)
    streams: int = Field(0, ge=0, le=64)
    requests: int = Field(3, ge=1, le=64)
    precision: Precision | None = None


class QuantumSettings(Section):
    executor: Literal[
        "surrogate", "lightning.qubit", "lightning.gpu", "default.qubit", "default.mixed"
    ] = "surrogate"
    shots: int | None = Field(None, ge=1)
    depolarizing: float = Field(0.0, ge=0, le=0.75)
    readout_error: float = Field(0.0, ge=0, le=0.5)
    memo_step: float = Field(1e-4, ge=0, le=1)
    memo_entries: int = Field(50_000, ge=0)
    workers: int = Field(0, ge=0, le=256)


class PostprocessSettings(Section):
    """Limits what counts as a finding; null takes the bundle's own value."""

    sensitivity: int = Field(3, ge=1, le=5)
    low: float | None = Field(None, gt=0, lt=1)
    high: float | None = Field(None, gt=0, lt=1)
    min_area_fraction: float | None = Field(None, ge=0, lt=1)


class TemporalSettings(Section):
    """Limits findings over time; see "Findings over time" in `docs/measurements.md`."""

    smoothing: float = Field(0.4, ge=0, lt=1)
    hold_s: float = Field(0.24, ge=0, le=10)
    release_s: float = Field(0.4, ge=0, le=10)
    gap_s: float = Field(0.0, ge=0, le=10)
    remember_s: float = Field(5.0, ge=0, le=60)
    min_overlap: float = Field(0.1, gt=0, le=1)
    max_distance: float = Field(1.0, ge=0, le=10)


class PipelineSettings(Section):
    queue_frames: int = Field(2, ge=1, le=64)

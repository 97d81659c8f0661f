"""Holds the settings of the network, its engine, and the steps after the network."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from qlumen.networks.bundle import Precision
from qlumen.realtime.config.base import Section


class ModelSettings(Section):
    bundle: Path | None = Field(
        None,
        description="a folder, or a shipped bundle's name; null: the shipped bundle that is "
        "fastest here",
    )


class EngineSettings(Section):
    """Chooses the engine; see `docs/engines.md`. `qlumen doctor` shows what `auto` chooses."""

    name: Literal["auto", "openvino", "onnxruntime", "torch", "tensorrt"] = Field(
        "auto", description="library that runs the network; auto: the best one here"
    )
    device: str | None = Field(
        None,
        pattern=r"^(cpu|gpu(\.\d+)?|npu|cuda(:\d+)?)$",
        description="cpu; gpu or npu: OpenVINO; cuda: the other engines; null: the best",
    )
    model: Path | None = Field(
        None, description="onnxruntime: a file of `qlumen export`; null: made from the bundle"
    )
    compile: bool = Field(False, description="torch: use torch.compile, which takes minutes")
    threads: int = Field(0, ge=0, le=256, description="threads of all inferences; 0: all cores")
    streams: int = Field(
        0,
        ge=0,
        le=64,
        description="inferences side by side; 1: soonest result, 2: more frames a second; "
        "0: 1 on live video, else 2",
    )
    requests: int = Field(3, ge=1, le=64, description="frames in flight in the engine")
    precision: Precision = Field(
        "f32", description="precision of the arithmetic; bf16 where the CPU has it, f16 on GPUs"
    )


class QuantumSettings(Section):
    executor: Literal[
        "surrogate", "lightning.qubit", "lightning.gpu", "default.qubit", "default.mixed"
    ] = Field(
        "surrogate", description="the tables in the compiled network, or a device that runs live"
    )
    shots: int | None = Field(
        None, ge=1, description="shots of a live device; null: exact expectation values"
    )
    depolarizing: float = Field(
        0.0, ge=0, le=0.75, description="error probability of a gate, default.mixed only"
    )
    readout_error: float = Field(
        0.0, ge=0, le=0.5, description="probability of an inverted read-out, default.mixed only"
    )
    memo_step: float = Field(
        1e-4, ge=0, le=1, description="live inputs are rounded to multiples of this, radians"
    )
    memo_entries: int = Field(
        50_000, ge=0, description="number of rounded inputs whose outputs are kept; 0: no memory"
    )
    workers: int = Field(
        0, ge=0, le=256, description="processes that run lightning.qubit; 0: one per core"
    )


class PostprocessSettings(Section):
    """Limits what counts as a finding; null takes the bundle's own value."""

    low: float | None = Field(None, gt=0, lt=1, description="probability at which a finding ends")
    high: float | None = Field(
        None, gt=0, lt=1, description="probability that a finding must reach somewhere"
    )
    min_area_fraction: float | None = Field(
        None, ge=0, lt=1, description="smallest finding, as a share of the frame's pixels"
    )


class TemporalSettings(Section):
    """Limits findings over time; see "Findings over time" in `docs/measurements.md`."""

    smoothing: float = Field(
        0.4, ge=0, lt=1, description="weight of the map 1/25 s before in the next one; 0: off"
    )
    hold_s: float = Field(
        0.24, ge=0, le=10, description="time that a finding must hold before its alarm begins, s"
    )
    release_s: float = Field(
        0.4, ge=0, le=10, description="time without a finding after which an alarm ends, s"
    )
    gap_s: float = Field(
        0.0, ge=0, le=10, description="the same for a track without alarm; 0: any miss ends it"
    )
    min_overlap: float = Field(
        0.1, gt=0, le=1, description="IoU of boxes from which a finding continues a track"
    )
    max_distance: float = Field(
        1.0, ge=0, le=10, description="or: largest distance of the centres, in mean diagonals"
    )


class PipelineSettings(Section):
    queue_frames: int = Field(2, ge=1, le=64, description="frames that wait before each stage")

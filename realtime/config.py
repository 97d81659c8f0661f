"""Settings of the video path: YAML files, `section.key=value` overrides, nothing unknown."""

import difflib
import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from qlumen.networks.precision import Precision
from qlumen.realtime.errors import ConfigError

Channel = Annotated[int, Field(ge=0, le=255)]
Share = Annotated[float, Field(ge=0, le=1)]
Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow"]


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
    loop: bool = Field(False, description="live: a file or the scene begins anew at its end")
    camera_size: str | None = Field(
        None, pattern=r"^[1-9]\d*x[1-9]\d*$", description="asked of a camera, such as 1920x1080, px"
    )
    camera_fps: float | None = Field(
        None, ge=0.01, le=1000, description="asked of a camera, frames per second"
    )
    camera_format: str | None = Field(
        None, description="asked of a camera: a pixel format or codec, such as yuyv422 or mjpeg"
    )
    options: dict[str, str | int | float] = Field(
        {}, description="live: further options for FFmpeg's input, by their names"
    )


class ReconnectSettings(Section):
    """Of live cameras and streams."""

    stall_s: float = Field(2.0, ge=0.1, le=600, description="without a picture: signal lost")
    open_s: float = Field(
        5.0, ge=0.1, le=600, description="from opening a source to its first picture, at most"
    )
    first_s: float = Field(0.5, ge=0.01, le=600, description="from the loss to the first attempt")
    max_s: float = Field(
        10.0, ge=0.01, le=600, description="between attempts, which double up to it, +-20%"
    )


class SceneSection(Section):
    width: int = Field(1280, ge=1, le=8192, description="of the synthetic colon, px")
    height: int = Field(720, ge=1, le=8192, description="of the synthetic colon, px")
    fps: float = Field(25.0, ge=0.01, le=1000, description="frames per second")
    frames: int = Field(250, ge=1, description="length")
    seed: int = Field(0, ge=0, description="another seed, another colon")
    polyps: bool = Field(True, description="whether the colon has any")


class PatternSection(Section):
    width: int = Field(1920, ge=192, le=8192, description="of the test pattern, px")
    height: int = Field(1080, ge=64, le=8192, description="of the test pattern, px")
    fps: float = Field(25.0, ge=0.01, le=1000, description="frames per second")


class ModelSettings(Section):
    bundle: Path | None = Field(
        None,
        description="a bundle's folder, or the name of a shipped one; none: the shipped one that "
        "is fastest in the engine",
    )


class FieldSettings(Section):
    """Of live video; `docs/quality.md` says more."""

    every_s: float = Field(
        1.0, ge=0, le=60, description="between two looks for the endoscope's visible field, s"
    )
    forget_s: float = Field(
        30.0, gt=0, le=3600, description="a place stays field so long after it was last lit, s"
    )
    level: int = Field(
        28, ge=1, le=255, description="of the brightest channel, from which a place is lit"
    )
    least_share: float = Field(
        0.1, gt=0, le=1, description="of the frame that must be lit for a look to count"
    )


class QualitySettings(Section):
    """Of live video; `docs/quality.md` says what the defaults rest on."""

    hold_frames: int = Field(
        3, ge=1, le=1000, description="a condition must hold so long before it is reported"
    )
    blurred_below: float = Field(
        0.36, ge=0, le=10, description="fine over coarse detail; below: out of focus"
    )
    red_out_from: float = Field(
        0.7, ge=0, le=1.01, description="deep red share of the field; from it: lens on the wall"
    )
    white_from: float = Field(
        0.2, ge=0, le=1.01, description="white share of the field; from it: overexposed"
    )
    dark_below: float = Field(
        60.0, ge=0, le=255, description="level of the brightest 5%; below: underexposed"
    )
    outside_below: float = Field(
        0.1, ge=0, le=1, description="reddish share of the field; below: out of the body"
    )
    grey_from: float = Field(
        0.3, ge=0, le=1.01, description="grey share of the field; from it: out of the body"
    )


class PrivacySettings(Section):
    """Hidden in everything that is written or sent, not on the monitor."""

    regions: tuple[tuple[Share, Share, Share, Share], ...] = Field(
        (), description="blacked out: x0, y0, x1, y1 as shares of the frame's width and height"
    )
    outside_field: bool = Field(
        False, description="black out all but the endoscope's visible field"
    )
    pixelate_outside_body: bool = Field(
        True, description="make pictures from out of the body unrecognisable"
    )


class EngineSettings(Section):
    """`docs/engines.md` says more; `qlumen doctor` what `auto` chooses here."""

    name: Literal["auto", "openvino", "onnxruntime", "torch", "tensorrt"] = Field(
        "auto", description="what runs the network; auto: the best that is here"
    )
    device: str | None = Field(
        None,
        pattern=r"^(cpu|gpu(\.\d+)?|npu|cuda(:\d+)?)$",
        description="cpu; gpu or npu: OpenVINO's; cuda: of the other engines; none: the best",
    )
    model: Path | None = Field(
        None, description="onnxruntime: a file of `qlumen export`; none: made from the bundle"
    )
    compile: bool = Field(False, description="torch: by torch.compile, which takes minutes")
    threads: int = Field(0, ge=0, le=256, description="of all inferences; 0: all cores")
    streams: int = Field(
        0,
        ge=0,
        le=64,
        description="inferences side by side; 1 is soonest, 2 are more a second; "
        "0: 1 on live video, else 2",
    )
    requests: int = Field(3, ge=1, le=64, description="frames in flight in the engine")
    precision: Precision = Field(
        "f32", description="of the arithmetic; bf16 where the CPU has it, f16 on GPUs"
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


class TemporalSettings(Section):
    """Of live video; `docs/temporal.md` says what the defaults rest on."""

    smoothing: float = Field(
        0.4, ge=0, lt=1, description="weight of the map 1/25 s before in the next one; 0: none"
    )
    hold_s: float = Field(
        0.24, ge=0, le=10, description="seconds a finding must hold before its alarm begins"
    )
    release_s: float = Field(
        0.4, ge=0, le=10, description="seconds without a finding after which an alarm ends"
    )
    gap_s: float = Field(
        0.0, ge=0, le=10, description="the same before the alarm; 0: any miss starts anew"
    )
    min_overlap: float = Field(
        0.1, gt=0, le=1, description="IoU of boxes from which a finding continues a track"
    )
    max_distance: float = Field(
        1.0, ge=0, le=10, description="or: distance of the centres, in mean diagonals"
    )


class OverlaySettings(Section):
    line_bgr: tuple[Channel, Channel, Channel] = Field(
        (230, 230, 0), description="colour of outlines and fill: blue, green, red"
    )
    fill_alpha: float = Field(0.15, ge=0, le=1, description="opacity of the fill")
    line_width_px: int = Field(0, ge=0, le=64, description="of the outline; 0: by frame height")


class RecorderSettings(Section):
    crf: int = Field(20, ge=0, le=51, description="x264 quality; lower is better and larger")
    preset: Preset = Field("ultrafast", description="x264's trade of time for size, in replay")
    live_preset: Preset = Field("ultrafast", description="the same, on live video")
    threads: int = Field(0, ge=0, le=64, description="encoder threads; 0: one a core, up to 4")
    fragment_s: float = Field(
        0.5, ge=0.1, le=1, description="of live video that a killed process loses, s"
    )


class StreamSettings(Section):
    crf: int = Field(23, ge=0, le=51, description="x264 quality; lower is better and larger")
    preset: Preset = Field("ultrafast", description="x264's trade of time for size")
    threads: int = Field(0, ge=0, le=64, description="encoder threads; 0: one a core, up to 4")
    max_kbps: int = Field(8000, ge=100, le=1_000_000, description="limit of the rate, kbit/s")
    keyframe_s: float = Field(
        1.0, ge=0.1, le=10, description="between key frames: a new viewer's longest wait, s"
    )
    timeout_s: float = Field(
        5.0, ge=0.5, le=60, description="without progress after which the stream is given up, s"
    )


class MonitorSettings(Section):
    full_screen: bool = Field(False, description="how the window starts; the key f switches")
    width_px: int = Field(1280, ge=64, le=16384, description="of the window at first, at most")


class SnapshotSettings(Section):
    every: int = Field(1, ge=1, description="write every n-th frame")


class PipelineSettings(Section):
    queue_frames: int = Field(2, ge=1, le=64, description="frames waiting before each stage")


class LiveSettings(Section):
    mode: Literal["passthrough", "synchronous"] = Field(
        "passthrough",
        description="passthrough: each frame at once, with the newest findings moved to it; "
        "synchronous: each frame with its own findings, the video late by the network",
    )
    wait_ms: float = Field(
        100.0, gt=0, le=1000, description="synchronous: longest wait for a frame's findings"
    )
    max_age_ms: float = Field(
        120.0, gt=0, le=2000, description="findings older than this are not shown; the AI is late"
    )
    no_signal_s: float = Field(
        0.5, gt=0, le=60, description="without a frame for so long, the picture says no signal"
    )
    sink_frames: int = Field(
        12, ge=1, le=250, description="frames that may wait for a slow output; more are dropped"
    )
    sink_close_s: float = Field(
        5.0, gt=0, le=60, description="how long an output may take to finish at the end"
    )


class WatchdogSettings(Section):
    hang_s: float = Field(
        2.0, gt=0, le=60, description="a frame that takes the network longer counts as a hang"
    )
    deadline_ms: float = Field(
        100.0, gt=0, le=2000, description="a frame that takes the network longer missed it"
    )
    late_frames: int = Field(
        250, ge=0, description="missed one after the other, they restart the engine; 0: never"
    )
    first_s: float = Field(0.5, gt=0, le=60, description="pause before the first restart")
    max_s: float = Field(30.0, gt=0, le=600, description="longest pause before a restart")
    failures: int = Field(
        5, ge=1, le=1000, description="after so many in a row the AI stays off until asked"
    )
    healthy_s: float = Field(
        60.0, gt=0, le=3600, description="a run of this length ends a row of failures"
    )


class AlarmSettings(Section):
    flash_s: float = Field(0.4, ge=0, le=5, description="frame around the picture on a new alarm")
    command: tuple[str, ...] = Field(
        (), description="program and arguments to run on a new alarm, such as a sound player"
    )


class ReviewSettings(Section):
    """Of recordings that are worked through once and then looked at, in the browser by a
    process of their own."""

    memory_mib: int = Field(6144, ge=1024, description="of a worker's own data, MiB")
    cpu_s: int = Field(14_400, ge=1, description="processor time of a worker, s")
    stall_s: float = Field(60.0, gt=0, description="without progress a worker is ended, s")
    picture_px: int = Field(
        960, ge=64, le=8192, description="longer side of the pictures kept for looking, px"
    )


class ReportSettings(Section):
    institution: str = Field("", max_length=120, description="named at the head of a report")
    person_fields: bool = Field(False, description="lines for patient and operator")
    max_tracks: int = Field(24, ge=1, le=40, description="tracks that are shown with a picture")


class ViewSettings(Section):
    """Of the page in the browser."""

    host: str = Field(
        "127.0.0.1", description="address to listen on; not the loopback's: with a password"
    )
    port: int = Field(7860, ge=0, le=65535, description="to listen on; 0: any free one")
    password_file: Path | None = Field(
        None, description="made by qlumen view --set-password; none: no password"
    )
    certificate: Path | None = Field(None, description="PEM file; with key: served over TLS")
    key: Path | None = Field(None, description="PEM file of the certificate's key")
    sources: tuple[str, ...] = Field(
        (), description="offered on the page beside the one it was started with"
    )
    width_px: int = Field(
        1280, ge=64, le=8192, description="wider pictures are made as small for the browser"
    )
    jpeg_quality: int = Field(80, ge=1, le=100, description="of the picture in the browser")
    frames_in_flight: int = Field(
        2, ge=1, le=8, description="sent and not yet drawn, for each viewer; 1: the least delay"
    )
    viewers: int = Field(16, ge=1, le=100, description="browsers that watch at once, at most")
    session_hours: float = Field(
        12.0, gt=0, le=720, description="then a browser must log in again, h"
    )
    folder: Path | None = Field(
        None, description="recordings that may be opened from the page; none: uploads only"
    )
    upload_mib: int = Field(500, ge=1, le=100_000, description="of one upload, MiB")
    upload_minutes: float = Field(60.0, gt=0, le=1440, description="of an uploaded video")
    upload_megapixels: float = Field(
        40.0, gt=0, le=1000, description="of an uploaded image or a frame of a video"
    )


class MetricsSettings(Section):
    host: str = Field(
        "127.0.0.1", min_length=1, description="live --metrics listens here; default: this machine"
    )


class Settings(Section):
    source: SourceSettings = SourceSettings()
    reconnect: ReconnectSettings = ReconnectSettings()
    scene: SceneSection = SceneSection()
    pattern: PatternSection = PatternSection()
    model: ModelSettings = ModelSettings()
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

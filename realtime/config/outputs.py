"""Holds the settings of the overlay and of all outputs."""

from pathlib import Path

from pydantic import Field, field_validator

from qlumen.realtime.config.base import Channel, Preset, Section


class OverlaySettings(Section):
    line_bgr: tuple[Channel, Channel, Channel] = (230, 230, 0)
    other_bgr: tuple[Channel, Channel, Channel] = (0, 159, 230)
    fill_alpha: float = Field(0.15, ge=0, le=1)
    line_width_px: int = Field(0, ge=0, le=64)


class RecorderSettings(Section):
    crf: int = Field(20, ge=0, le=51)
    preset: Preset = "ultrafast"
    live_preset: Preset = "ultrafast"
    threads: int = Field(0, ge=0, le=64)
    fragment_s: float = Field(0.5, ge=0.1, le=1)


class StreamSettings(Section):
    crf: int = Field(23, ge=0, le=51)
    preset: Preset = "ultrafast"
    threads: int = Field(0, ge=0, le=64)
    max_kbps: int = Field(8000, ge=100, le=1_000_000)
    keyframe_s: float = Field(1.0, ge=0.1, le=10)
    timeout_s: float = Field(5.0, ge=0.5, le=60)


class MonitorSettings(Section):
    full_screen: bool = False
    width_px: int = Field(1280, ge=64, le=16384)


class SnapshotSettings(Section):
    every: int = Field(1, ge=1)


class ReviewSettings(Section):
    """Limits recordings that are analysed once, for the browser by a worker process."""

    memory_mib: int = Field(6144, ge=1024)
    cpu_s: int = Field(14_400, ge=1)
    stall_s: float = Field(60.0, gt=0)
    picture_px: int = Field(960, ge=64, le=8192)


class ReportSettings(Section):
    institution: str = Field("", max_length=120)
    person_fields: bool = False
    max_tracks: int = Field(24, ge=1, le=40)


class ViewSettings(Section):
    """Limits and secures the page in the browser."""

    host: str = "127.0.0.1"
    port: int = Field(7860, ge=0, le=65535)
    root_path: str = Field("", pattern=r"^(/[\w.~-]+)*$")
    password_file: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    sources: tuple[str, ...] = ()
    width_px: int = Field(1280, ge=64, le=8192)
    jpeg_quality: int = Field(80, ge=1, le=100)
    frames_in_flight: int = Field(2, ge=1, le=8)
    viewers: int = Field(16, ge=1, le=100)
    session_hours: float = Field(12.0, gt=0, le=720)
    folder: Path | None = None
    annotations: Path | None = None
    upload_mib: int = Field(500, ge=1, le=100_000)
    upload_minutes: float = Field(60.0, gt=0, le=1440)
    upload_megapixels: float = Field(40.0, gt=0, le=1000)

    @field_validator("root_path", mode="before")
    @classmethod
    def _begin_with_a_slash(cls, path: object) -> object:
        """Write `endo`, `/endo` and `/endo/` in one way; `/` is no path."""
        if not isinstance(path, str):
            return path
        inner = path.strip("/")
        return f"/{inner}" if inner else ""


class MetricsSettings(Section):
    host: str = Field("127.0.0.1", min_length=1)

"""Holds the settings of the overlay and of all outputs."""

from pathlib import Path

from pydantic import Field

from qlumen.realtime.config.base import Channel, Preset, Section


class OverlaySettings(Section):
    line_bgr: tuple[Channel, Channel, Channel] = Field(
        (230, 230, 0), description="colour of outlines and fill: blue, green, red"
    )
    fill_alpha: float = Field(0.15, ge=0, le=1, description="opacity of the fill")
    line_width_px: int = Field(0, ge=0, le=64, description="of the outline, px; 0: by frame height")


class RecorderSettings(Section):
    crf: int = Field(20, ge=0, le=51, description="x264 quality; lower is better and larger")
    preset: Preset = Field("ultrafast", description="x264 preset of replay and report")
    live_preset: Preset = Field("ultrafast", description="x264 preset of live video")
    threads: int = Field(0, ge=0, le=64, description="encoder threads; 0: one a core, up to 4")
    fragment_s: float = Field(
        0.5, ge=0.1, le=1, description="length of live video that a killed process loses, s"
    )


class StreamSettings(Section):
    crf: int = Field(23, ge=0, le=51, description="x264 quality; lower is better and larger")
    preset: Preset = Field("ultrafast", description="x264 preset: speed against size")
    threads: int = Field(0, ge=0, le=64, description="encoder threads; 0: one a core, up to 4")
    max_kbps: int = Field(8000, ge=100, le=1_000_000, description="limit of the rate, kbit/s")
    keyframe_s: float = Field(
        1.0, ge=0.1, le=10, description="time between key frames: longest wait of a new viewer, s"
    )
    timeout_s: float = Field(
        5.0, ge=0.5, le=60, description="longest time without progress of the stream, s"
    )


class MonitorSettings(Section):
    full_screen: bool = Field(False, description="start in full screen; the key f switches")
    width_px: int = Field(1280, ge=64, le=16384, description="largest width at the start, px")


class SnapshotSettings(Section):
    every: int = Field(1, ge=1, description="replay: write every n-th frame")


class ReviewSettings(Section):
    """Limits recordings that are analysed once, for the browser by a worker process."""

    memory_mib: int = Field(6144, ge=1024, description="memory of a worker's own data, MiB")
    cpu_s: int = Field(14_400, ge=1, description="processor time of a worker, s")
    stall_s: float = Field(60.0, gt=0, description="longest time without progress of a worker, s")
    picture_px: int = Field(
        960, ge=64, le=8192, description="longer side of the images that are kept, px"
    )


class ReportSettings(Section):
    institution: str = Field("", max_length=120, description="name at the head of a report")
    person_fields: bool = Field(False, description="lines for patient and operator")
    max_tracks: int = Field(24, ge=1, le=40, description="tracks that are shown with an image")


class ViewSettings(Section):
    """Limits and secures the page in the browser."""

    host: str = Field(
        "127.0.0.1", description="address to listen on; all but the loopback need a password"
    )
    port: int = Field(7860, ge=0, le=65535, description="port to listen on; 0: any free port")
    password_file: Path | None = Field(
        None, description="file of qlumen view --set-password; null: no password"
    )
    certificate: Path | None = Field(None, description="PEM file; with key: TLS")
    key: Path | None = Field(None, description="PEM file of the certificate's key")
    sources: tuple[str, ...] = Field((), description="further sources that the page offers")
    width_px: int = Field(
        1280, ge=64, le=8192, description="wider frames are scaled down to this, px"
    )
    jpeg_quality: int = Field(80, ge=1, le=100, description="JPEG quality in the browser")
    frames_in_flight: int = Field(
        2, ge=1, le=8, description="frames sent to a viewer and not yet drawn; 1: the least delay"
    )
    viewers: int = Field(16, ge=1, le=100, description="largest number of browsers at a time")
    session_hours: float = Field(12.0, gt=0, le=720, description="duration of a login, h")
    folder: Path | None = Field(
        None, description="recordings that the page may open; null: uploads only"
    )
    upload_mib: int = Field(500, ge=1, le=100_000, description="largest upload, MiB")
    upload_minutes: float = Field(60.0, gt=0, le=1440, description="longest uploaded video")
    upload_megapixels: float = Field(
        40.0, gt=0, le=1000, description="largest uploaded image or frame of a video"
    )


class MetricsSettings(Section):
    host: str = Field(
        "127.0.0.1", min_length=1, description="address of live --metrics; default: this machine"
    )

"""What is drawn, and where it goes."""

from pathlib import Path

from pydantic import Field

from qlumen.realtime.config.base import Channel, Preset, Section


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

"""Holds the settings of sources."""

from pydantic import Field

from qlumen.realtime.config.base import Section


class SourceSettings(Section):
    hardware: str | None = Field(
        None, description="FFmpeg device type that decodes, such as cuda or qsv; null: no hardware"
    )
    threads: int = Field(0, ge=0, le=64, description="decoder threads; 0: slices over all cores")
    sequence: bool = Field(
        False, description="a folder's images follow each other in time; false: unrelated stills"
    )
    fps: float = Field(25.0, ge=0.01, le=1000, description="rate given to a folder's images, 1/s")
    loop: bool = Field(False, description="live: a file or the scene starts again at its end")
    camera_size: str | None = Field(
        None, pattern=r"^[1-9]\d*x[1-9]\d*$", description="asked of a camera: 1920x1080, px"
    )
    camera_fps: float | None = Field(
        None, ge=0.01, le=1000, description="asked of a camera: frames per second"
    )
    camera_format: str | None = Field(
        None, description="asked of a camera: a pixel format or codec, such as yuyv422 or mjpeg"
    )
    options: dict[str, str | int | float] = Field(
        {}, description="live: further options for FFmpeg's input, by their names"
    )


class ReconnectSettings(Section):
    """Limits the waits of live cameras and streams."""

    stall_s: float = Field(2.0, ge=0.1, le=600, description="without a frame: signal lost, s")
    open_s: float = Field(
        5.0, ge=0.1, le=600, description="longest time from opening a source to its first frame"
    )
    first_s: float = Field(0.5, ge=0.01, le=600, description="pause before the first attempt, s")
    max_s: float = Field(
        10.0, ge=0.01, le=600, description="longest pause; pauses double up to it, +-20%"
    )


class SceneSection(Section):
    width: int = Field(1280, ge=1, le=8192, description="of the synthetic colon, px")
    height: int = Field(720, ge=1, le=8192, description="of the synthetic colon, px")
    fps: float = Field(25.0, ge=0.01, le=1000, description="frames per second")
    frames: int = Field(250, ge=1, description="length")
    seed: int = Field(0, ge=0, description="another seed gives another colon")
    polyps: bool = Field(True, description="the colon has polyps")


class PatternSection(Section):
    width: int = Field(1920, ge=192, le=8192, description="of the test pattern, px")
    height: int = Field(1080, ge=64, le=8192, description="of the test pattern, px")
    fps: float = Field(25.0, ge=0.01, le=1000, description="frames per second")

"""Holds the settings of sources."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from qlumen.realtime.config.base import Section


def _name_switch(value: object) -> object:
    """Return the word for what YAML makes of a bare `on` and `off`."""
    if isinstance(value, bool):
        return "always" if value else "never"
    return value


Deinterlace = Annotated[Literal["auto", "always", "never"], BeforeValidator(_name_switch)]


class SourceSettings(Section):
    hardware: str | None = None
    threads: int = Field(0, ge=0, le=64)
    stream: int | None = Field(None, ge=0)
    deinterlace: Deinterlace = "auto"
    sequence: bool = False
    fps: float = Field(25.0, ge=0.01, le=1000)
    loop: bool = False
    camera_size: str | None = Field(None, pattern=r"^[1-9]\d*x[1-9]\d*$")
    camera_fps: float | None = Field(None, ge=0.01, le=1000)
    camera_format: str | None = None
    options: dict[str, str | int | float] = Field({})


class ReconnectSettings(Section):
    """Limits the waits of live cameras and streams."""

    stall_s: float = Field(2.0, ge=0.1, le=600)
    open_s: float = Field(5.0, ge=0.1, le=600)
    first_s: float = Field(0.5, ge=0.01, le=600)
    max_s: float = Field(10.0, ge=0.01, le=600)


class SceneSection(Section):
    width: int = Field(1280, ge=1, le=8192)
    height: int = Field(720, ge=1, le=8192)
    fps: float = Field(25.0, ge=0.01, le=1000)
    frames: int = Field(250, ge=1)
    seed: int = Field(0, ge=0)
    polyps: bool = True
    obstacles: bool = False


class PatternSection(Section):
    width: int = Field(1920, ge=192, le=8192)
    height: int = Field(1080, ge=64, le=8192)
    fps: float = Field(25.0, ge=0.01, le=1000)

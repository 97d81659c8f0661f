"""Holds the settings of live video alone: display, watchdog and alarm."""

from typing import Literal

from pydantic import Field

from qlumen.realtime.config.base import Section


class LiveSettings(Section):
    mode: Literal["passthrough", "synchronous"] = "passthrough"
    wait_ms: float = Field(100.0, gt=0, le=1000)
    max_age_ms: float = Field(120.0, gt=0, le=2000)
    no_signal_s: float = Field(0.5, gt=0, le=60)
    sink_frames: int = Field(12, ge=1, le=250)
    sink_close_s: float = Field(5.0, gt=0, le=60)


class WatchdogSettings(Section):
    hang_s: float = Field(2.0, gt=0, le=60)
    deadline_ms: float = Field(100.0, gt=0, le=2000)
    late_frames: int = Field(250, ge=0)
    first_s: float = Field(0.5, gt=0, le=60)
    max_s: float = Field(30.0, gt=0, le=600)
    failures: int = Field(5, ge=1, le=1000)
    healthy_s: float = Field(60.0, gt=0, le=3600)


class AlarmSettings(Section):
    flash_s: float = Field(0.4, ge=0, le=5)
    command: tuple[str, ...] = ()

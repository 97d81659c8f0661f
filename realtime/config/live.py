"""Holds the settings of live video alone: display, watchdog and alarm."""

from typing import Literal

from pydantic import Field

from qlumen.realtime.config.base import Section


class LiveSettings(Section):
    mode: Literal["passthrough", "synchronous"] = Field(
        "passthrough",
        description="passthrough: each frame immediately, with the newest findings moved to it; "
        "synchronous: each frame with its own findings, later by the network's time",
    )
    wait_ms: float = Field(
        100.0, gt=0, le=1000, description="synchronous: longest wait for a frame's findings"
    )
    max_age_ms: float = Field(
        120.0, gt=0, le=2000, description="older findings are not shown; the AI is late"
    )
    no_signal_s: float = Field(
        0.5, gt=0, le=60, description="time without a frame after which the video says no signal"
    )
    sink_frames: int = Field(
        12, ge=1, le=250, description="frames that may wait for a slow output; more are dropped"
    )
    sink_close_s: float = Field(
        5.0, gt=0, le=60, description="time that an output may take to finish at the end"
    )


class WatchdogSettings(Section):
    hang_s: float = Field(
        2.0, gt=0, le=60, description="a frame that takes the network longer counts as a hang"
    )
    deadline_ms: float = Field(
        100.0, gt=0, le=2000, description="a frame that takes the network longer misses it"
    )
    late_frames: int = Field(
        250, ge=0, description="missed deadlines in a row that restart the engine; 0: no restart"
    )
    first_s: float = Field(0.5, gt=0, le=60, description="pause before the first restart")
    max_s: float = Field(30.0, gt=0, le=600, description="longest pause before a restart")
    failures: int = Field(
        5, ge=1, le=1000, description="failures in a row after which the AI stays off until asked"
    )
    healthy_s: float = Field(
        60.0, gt=0, le=3600, description="a run of this length ends a row of failures"
    )


class AlarmSettings(Section):
    flash_s: float = Field(0.4, ge=0, le=5, description="duration of the border on a new alarm, s")
    command: tuple[str, ...] = Field(
        (), description="program and arguments to run on a new alarm, such as a sound player"
    )

"""What a browser may say over the live picture's socket, checked before anything is done."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from qlumen.realtime.live.control import THRESHOLD_BOUNDS

MAX_HOLD_S = 10.0
MAX_SOURCES = 1000


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Drawn(_Said):
    """The picture of this number is on the screen."""

    do: Literal["drawn"]
    number: int = Field(ge=0)


class Toggle(_Said):
    """Switch the overlay, its fill (else the contour alone), or the recording. What a
    browser believes of their state may be old, so it cannot say to which."""

    do: Literal["toggle"]
    what: Literal["overlay", "fill", "recording"]


class Step(_Said):
    """Move the threshold up or down by what a key of the monitor does."""

    do: Literal["step"]
    up: bool


class Threshold(_Said):
    do: Literal["threshold"]
    value: float = Field(ge=THRESHOLD_BOUNDS[0], le=THRESHOLD_BOUNDS[1])


class Hold(_Said):
    """Seconds a finding must hold before its alarm begins."""

    do: Literal["hold"]
    seconds: float = Field(ge=0, le=MAX_HOLD_S)


class Act(_Said):
    """Do what a key of the monitor does as well: these are values of `Action`."""

    do: Literal["snapshot", "mark", "restart_ai"]


class Start(_Said):
    """Show the source of this place in the list."""

    do: Literal["start"]
    source: int = Field(ge=0, lt=MAX_SOURCES)


class Stop(_Said):
    do: Literal["stop"]


Request = Toggle | Step | Threshold | Hold | Act | Start | Stop
said: TypeAdapter[Drawn | Request] = TypeAdapter(
    Annotated[Drawn | Request, Field(discriminator="do")]
)
"""`said.validate_json(text)` raises pydantic's ValidationError for anything else."""

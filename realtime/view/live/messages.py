"""Checks the messages of a browser over the socket of the live video."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from qlumen.realtime.segmentation.segmenter import POSITIONS

MAX_HOLD_S = 10.0
MAX_SOURCES = 1000


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Drawn(_Message):
    """Reports that the image of this number is on the screen."""

    do: Literal["drawn"]
    number: int = Field(ge=0)


class Toggle(_Message):
    """Switches the overlay, its fill (without fill: only the contour), or the recording.

    It has no target state, because a browser's idea of the state may be old.
    """

    do: Literal["toggle"]
    what: Literal["overlay", "fill", "recording"]


class Step(_Message):
    """Moves the dial by one position, up to be more sensitive, like a key of the monitor."""

    do: Literal["step"]
    up: bool


class Sensitivity(_Message):
    do: Literal["sensitivity"]
    position: int = Field(ge=POSITIONS[0], le=POSITIONS[-1])


class Hold(_Message):
    """Sets the seconds that a finding must hold before its alarm begins."""

    do: Literal["hold"]
    seconds: float = Field(ge=0, le=MAX_HOLD_S)


class Act(_Message):
    """Asks for an action that also has a key in the window; values are those of `Action`."""

    do: Literal["snapshot", "mark", "restart_ai"]


class Start(_Message):
    """Shows the source at this place in the list."""

    do: Literal["start"]
    source: int = Field(ge=0, lt=MAX_SOURCES)


class Stop(_Message):
    do: Literal["stop"]


Request = Toggle | Step | Sensitivity | Hold | Act | Start | Stop
message: TypeAdapter[Drawn | Request] = TypeAdapter(
    Annotated[Drawn | Request, Field(discriminator="do")]
)
"""Its `validate_json(text)` raises pydantic's ValidationError for anything else."""

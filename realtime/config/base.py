"""Holds the base class and the value types of all sections of the settings."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Channel = Annotated[int, Field(ge=0, le=255)]
Share = Annotated[float, Field(ge=0, le=1)]
Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow"]


class Section(BaseModel):
    """Refuses unknown keys; `configs/default.yaml` explains each key."""

    model_config = ConfigDict(extra="forbid", frozen=True)

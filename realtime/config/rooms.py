"""Reads the rooms of `qlumen live`: sources with names, weights, outputs and own settings."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, TypeAdapter, ValidationError

from qlumen.errors import ConfigError
from qlumen.realtime.config.base import Section
from qlumen.realtime.config.settings import Settings, check_settings, read_sections
from qlumen.system.locations import show_location, without_secrets

SHARED = ("engine", "metrics", "model", "quantum", "view")
"""Sections of which the process has one for all rooms."""


class RoomSection(Section):
    """Describes a room; `settings` replaces keys of the file's other sections for this room."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")
    source: str = Field(min_length=1)
    weight: float = Field(1.0, ge=0.1, le=10)
    password_file: Path | None = None
    settings: dict[str, dict[str, Any]] = Field({})
    record: Path | None = None
    record_clean: Path | None = None
    events: Path | None = None
    snapshots: Path | None = None
    recordings: Path | None = None
    stream: str | None = None
    send: tuple[str, ...] = ()

    def outputs(self) -> dict[str, Any]:
        """Return the outputs by name, as `LiveOutputs` takes them."""
        inputs = {"name", "source", "weight", "password_file", "settings"}
        return self.model_dump(exclude=inputs)


@dataclass(frozen=True, slots=True)
class Room:
    """Holds a room and its whole settings."""

    section: RoomSection
    settings: Settings


def load_rooms(
    file: Path | None, overrides: Sequence[str], sources: Sequence[str] = ()
) -> list[Room]:
    """Read the list `rooms` of a file, or make `room1`, `room2` and so on of the sources.

    Raises:
        ConfigError: there are both or neither, a value is wrong, or two rooms have one name.
    """
    values = read_sections(file) if file else {}
    given = values.pop("rooms", None)
    check_settings(deepcopy(values), overrides)
    if given is not None and sources:
        raise ConfigError(f"{file} names the rooms; leave {show_location(sources[0])} out")
    if not (given or sources):
        raise ConfigError("no source is named; give SOURCE, or --config FILE with rooms")
    listed = given or [{"name": f"room{n}", "source": each} for n, each in enumerate(sources, 1)]
    try:
        sections = TypeAdapter(list[RoomSection]).validate_python(listed)
    except ValidationError as error:
        raise ConfigError(_explain(error)) from None
    names = [section.name.lower() for section in sections]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"two rooms have the name {twice}; give each its own")
    return [Room(section, _merge(values, section, overrides)) for section in sections]


def _merge(values: dict[str, Any], room: RoomSection, overrides: Sequence[str]) -> Settings:
    merged = deepcopy(values)
    if shared := room.settings.keys() & set(SHARED):
        raise ConfigError(f"room {room.name}: all rooms share {shared.pop()}; set it beside rooms")
    for name, keys in room.settings.items():
        merged[name] = merged.get(name, {}) | keys
    try:
        return check_settings(merged, overrides)
    except ConfigError as error:
        raise ConfigError(f"room {room.name}: {error}") from None


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in ("rooms", *first["loc"]))
    if first["type"] == "extra_forbidden":
        return f"unknown key {key}; known: {', '.join(RoomSection.model_fields)}"
    return f"configuration key {key}: {first['msg']}, got {without_secrets(repr(first['input']))}"

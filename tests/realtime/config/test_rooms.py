"""Tests that rooms are read as strictly as other settings."""

from pathlib import Path

import pytest

from qlumen.errors import ConfigError
from qlumen.realtime.config.rooms import load_rooms
from qlumen.realtime.config.settings import load_settings

TWO = """
overlay: {fill_alpha: 0.3}
rooms:
  - {name: left, source: scene}
  - name: right
    source: rtsp://user:secret@camera/1
    weight: 2
    settings: {overlay: {line_width_px: 3}, temporal: {hold_s: 1}}
"""


def write(folder: Path, text: str) -> Path:
    file = folder / "rooms.yaml"
    file.write_text(text)
    return file


def test_a_room_has_the_files_settings_its_own_and_those_of_the_command_line(
    tmp_path: Path,
) -> None:
    """A room's own key replaces that of the file, and the command line replaces both."""
    left, right = load_rooms(write(tmp_path, TWO), ["temporal.hold_s=0.5"])
    assert (left.section.weight, right.section.weight) == (1, 2)
    assert (
        left.settings.overlay.model_dump()
        == load_settings(None, ["overlay.fill_alpha=0.3"]).overlay.model_dump()
    )
    assert right.settings.overlay.line_width_px == 3
    assert right.settings.overlay.fill_alpha == 0.3
    assert {room.settings.temporal.hold_s for room in (left, right)} == {0.5}


def test_sources_of_the_command_line_are_rooms_with_numbers() -> None:
    """Each is a room of equal weight, also when one source stands twice."""
    rooms = load_rooms(None, [], ["scene", "pattern", "scene"])
    assert [room.section.name for room in rooms] == ["room1", "room2", "room3"]
    assert [room.section.source for room in rooms] == ["scene", "pattern", "scene"]
    assert {room.section.weight for room in rooms} == {1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rooms: []", "no source is named"),
        ("rooms: 3", "rooms: Input should be a valid list"),
        ("rooms: [{source: scene}]", "rooms.0.name: Field required"),
        ("rooms: [{name: a/b, source: scene}]", "rooms.0.name"),
        ("rooms: [{name: a, source: scene, wait: 2}]", "unknown key rooms.0.wait; known: name, "),
        ("rooms: [{name: a, source: scene, weight: 0}]", "rooms.0.weight"),
        ("rooms: [{name: a, source: x}, {name: A, source: y}]", "two rooms have the name a"),
        ("rooms: [{name: a, source: x, settings: {engine: {threads: 1}}}]", "all rooms share eng"),
        ("rooms: [{name: a, source: x, settings: {overlay: {fil: 1}}}]", "room a: unknown conf"),
        ("overlay: 3\nrooms: [{name: a, source: x, settings: {overlay: {fill_alpha: 1}}}]",
         "overlay"),
        ("overlay: {fill_alpha: 0.3}", "no source is named"),
    ],
)  # fmt: skip
def test_bad_rooms_are_explained(tmp_path: Path, text: str, message: str) -> None:
    """The message is one line that names the key."""
    with pytest.raises(ConfigError) as error:
        load_rooms(write(tmp_path, text), [])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_rooms_in_the_file_and_a_source_are_too_much(tmp_path: Path) -> None:
    """Neither is left out silently, and commands for one source name what the file is for."""
    file = write(tmp_path, TWO)
    with pytest.raises(ConfigError, match="leave rtsp://x out"):
        load_rooms(file, [], ["rtsp://x", "scene"])
    with pytest.raises(ConfigError, match="the file names rooms"):
        load_settings(file, [])


def test_no_message_shows_a_password(tmp_path: Path) -> None:
    """A wrong value that holds a location is shown without its secrets."""
    text = "rooms: [{name: a, source: {url: 'rtsp://user:secret@camera/1'}}]"
    with pytest.raises(ConfigError) as error:
        load_rooms(write(tmp_path, text), [])
    assert "secret" not in str(error.value)

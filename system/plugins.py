"""Finds what other packages add to qlumen through entry points."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from qlumen.errors import MissingExtraError, UsageError

SINKS, SOURCES, ENGINES, ANALYSIS = GROUPS = (
    "qlumen.sinks", "qlumen.sources", "qlumen.engines", "qlumen.analysis",
)  # fmt: skip
"""Groups of entry points. The name of a sink or source is the scheme of the locations it opens."""


def find_plugins(group: str) -> Mapping[str, EntryPoint]:
    """Return the entry points of a group of `GROUPS` by name; none is imported."""
    return {point.name: point for point in entry_points(group=group)}


def find_plugin(group: str, location: str) -> EntryPoint | None:
    """Return the entry point for the scheme of a location, such as `mqtt://host`; or None."""
    scheme, found, _ = location.partition(":")
    return find_plugins(group).get(scheme.lower()) if found else None


def load_plugin(point: EntryPoint) -> Any:
    """Import what an entry point names.

    Raises:
        MissingExtraError: a library that it needs is not installed.
        UsageError: it cannot be imported for another reason.
    """
    try:
        return point.load()
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{describe(point)} needs {error.name}; install it") from error
    except Exception as error:
        raise UsageError(
            f"{describe(point)} cannot be loaded: {type(error).__name__}: {error}; "
            "repair or remove its package"
        ) from error


def describe(point: EntryPoint) -> str:
    """Name an entry point with its package and version."""
    package = f" of {point.dist.name} {point.dist.version}" if point.dist else ""
    return f"the plugin {point.name!r}{package} ({point.group})"

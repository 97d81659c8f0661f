"""Finds polyps in images, recordings and live video.

    import qlumen

    model = qlumen.load()
    result = model(image, colour="rgb")
    for frame in qlumen.replay("exam.mp4", model):
        print(frame.time_s, [track.number for track in frame.tracks])

These names stay as they are from release to release: `load`, `Model`, `Result`, `replay`, `live`,
`LiveVideo`, `draw`, `Finding`, `Track`, `Condition`, `QlumenError`. Everything else in the
package may change.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qlumen.errors import QlumenError
    from qlumen.model import Model, load
    from qlumen.realtime.frames import Condition, Finding, Track
    from qlumen.result import Result, draw
    from qlumen.video import LiveVideo, live, replay

_HOMES = {
    "load": "qlumen.model",
    "Model": "qlumen.model",
    "Result": "qlumen.result",
    "draw": "qlumen.result",
    "replay": "qlumen.video",
    "live": "qlumen.video",
    "LiveVideo": "qlumen.video",
    "Finding": "qlumen.realtime.frames",
    "Track": "qlumen.realtime.frames",
    "Condition": "qlumen.realtime.frames",
    "QlumenError": "qlumen.errors",
}
"""Module of each name. A module is imported when its name is first used."""

__all__ = [
    "Condition",
    "Finding",
    "LiveVideo",
    "Model",
    "QlumenError",
    "Result",
    "Track",
    "draw",
    "live",
    "load",
    "replay",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'qlumen' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

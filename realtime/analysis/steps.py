"""Runs analysis steps of other packages between the findings and all that shows or keeps them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import replace

from qlumen.errors import ConfigError, EngineError, describe
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.frames import Finding, Judgement, Track
from qlumen.realtime.tracking.findings import segment_findings
from qlumen.system.plugins import ANALYSIS, find_plugins, load_plugin

Change = Callable[[Finding, Track | None], Finding | None]
"""Returns a finding, changed or not; None drops it. The track is None in single images."""


class AnalysisStep(ABC):
    """Labels or drops findings. It is made with the settings, once for each video.

    Frames come in order, in one thread. On live video some are left out, and a slow step makes
    findings late, but not the picture.
    """

    @abstractmethod
    def __call__(self, judgement: Judgement) -> Judgement:
        """Return the judgement of a frame, changed or not; `change_findings` helps."""


def change_findings(judgement: Judgement, change: Change) -> Judgement:
    """Change or drop the findings of a frame, in what is shown and in the tracks alike.

    A track whose finding is dropped is left out. A finding that is replaced may have another
    label or score; its box, contour and area must fit each other.
    """
    given, size = judgement.segmentation, judgement.seen.size
    tracks = []
    for track in judgement.tracks:
        changed = change(track.finding, track)
        if changed is not None:
            tracks.append(replace(track, finding=changed))
    if judgement.tracks:
        shown = [track.finding for track in tracks if track.alarm]
    else:
        shown = [one for one in (change(each, None) for each in given.findings) if one is not None]
    return replace(
        judgement,
        segmentation=segment_findings(shown, size, given.probability),
        tracks=tuple(tracks),
    )


def open_steps(settings: Settings) -> Sequence[AnalysisStep]:
    """Make the steps that `analysis.steps` names, in this order.

    Raises:
        ConfigError: there is no plugin of this name.
        UsageError: a plugin cannot be loaded.
    """
    points = find_plugins(ANALYSIS) if settings.analysis.steps else {}
    for name in settings.analysis.steps:
        if name not in points:
            here = ", ".join(sorted(points)) or "none"
            raise ConfigError(f"analysis.steps={name}: there is no such plugin; here: {here}")
    return [load_plugin(points[name])(settings) for name in settings.analysis.steps]


def take_steps(steps: Sequence[AnalysisStep], judgement: Judgement) -> Judgement:
    """Return the judgement after all steps.

    Raises:
        EngineError: a step fails.
    """
    for step in steps:
        try:
            judgement = step(judgement)
        except Exception as error:
            name = type(step).__name__
            raise EngineError(f"the analysis step {name} failed: {describe(error)}") from error
    return judgement

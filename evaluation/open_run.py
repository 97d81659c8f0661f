"""Opens the network of the settings for a run over images or frames."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from qlumen.networks.bundle import read_bundle
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.engines.choose import bundle_folder
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.system.progress import progress_bar


@dataclass(frozen=True, slots=True)
class Run:
    """Holds an open network, a progress function, and facts about the run."""

    analysis: FrameAnalysis
    show: Callable[[int], None]
    about: dict[str, Any]


@contextmanager
def open_run(
    settings: Settings, total: int | None, unit: str, *, related: bool = False
) -> Iterator[Run]:
    """Open the network, and close it in the end.

    Args:
        total: number of units for the progress bar
        related: whether the frames follow each other in time

    Raises:
        BundleError, EngineError: the bundle cannot be read or run
    """
    bundle = read_bundle(bundle_folder(settings))
    segmenter = Segmenter.open(bundle, settings)
    try:
        with progress_bar("evaluate", total, unit, Console(stderr=True)) as show:
            about = {
                "engine": segmenter.engine.describe(),
                "bundle": {"name": bundle.manifest.name, "sha256": bundle.sha256},
                "config_sha256": settings.sha256(),
            }
            yield Run(FrameAnalysis(segmenter, settings, related=related), show, about)
    finally:
        segmenter.close()

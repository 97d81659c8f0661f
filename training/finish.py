"""Writes the bundle of a trained network, with thresholds, figures and a card."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from qlumen.calibration.threshold import choose_thresholds
from qlumen.datasets.splits import NEGATIVES_TRAIN, VALIDATION, lesion_free_files, split_pairs
from qlumen.evaluation.measure import measure
from qlumen.evaluation.model_card import splits_to_measure, write_records
from qlumen.networks.bundle import Bundle, Thresholds, check_replaceable, read_bundle
from qlumen.networks.export import write_bundle
from qlumen.networks.unet import UNet
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.segmentation.postprocess import Postprocessor
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.system.files import replacing

VERSION = "1"
MIN_AREA_FRACTION = 0.0005
"""About 1,000 pixels of a 1080p frame. A smaller area is noise more often than a polyp."""


def finish_bundle(
    folder: Path,
    network: UNet,
    *,
    name: str,
    size: int,
    data: Path,
    provenance: Mapping[str, Any],
    thresholds: Thresholds | None = None,
) -> Bundle:
    """Export `network`, choose its thresholds on validation, and measure it.

    It measures all splits in `data` except those of the training. A bundle that exists in `folder`
    stays until the new one is complete.

    Args:
        size: side of the engine's input in pixels, a multiple of 32
        provenance: record of the training for the bundle's manifest
        thresholds: thresholds to use; None chooses them
    """
    check_replaceable(folder)
    start = Thresholds(low=0.5, high=0.5, min_area_fraction=MIN_AREA_FRACTION)
    splits = splits_to_measure(data, provenance)
    with replacing(folder) as part:
        bundle = write_bundle(
            part,
            network,
            name=name,
            version=VERSION,
            size=size,
            thresholds=start,
            provenance=provenance,
        )
        with closing(Segmenter.open(bundle, Settings())) as segmenter:
            if thresholds is None:
                pairs = split_pairs(data, VALIDATION)
                free = lesion_free_files(data, NEGATIVES_TRAIN)
                choice = choose_thresholds(pairs, segmenter, MIN_AREA_FRACTION, free)
                thresholds = choice.thresholds
            chosen = replace(segmenter, postprocess=Postprocessor(**thresholds.model_dump()))
            metrics = measure(chosen, data, splits)
        changed = {"thresholds": thresholds, "metrics": metrics}
        write_records(part, bundle.manifest.model_copy(update=changed))
    return read_bundle(folder)

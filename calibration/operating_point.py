"""Fits and writes a temperature and an operating point for `qlumen calibrate threshold`."""

import shutil
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from qlumen.calibration.temperature import fit_temperature, temper, write_temperature
from qlumen.calibration.threshold import (
    MOST_FINDINGS,
    Choice,
    Sample,
    choose_best,
    collect,
    describe_rule,
    operating_points,
)
from qlumen.datasets.splits import (
    NEGATIVES_TRAIN,
    VALIDATION,
    lesion_free_files,
    split_pairs,
    splits_to_score,
)
from qlumen.errors import DatasetError
from qlumen.evaluation.measure import measure
from qlumen.evaluation.model_card import splits_to_measure, write_records
from qlumen.evaluation.reliability import Reliability, reliability, truth_at
from qlumen.networks.bundle import Bundle, read_bundle, write_manifest
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.endoscope.field import crop
from qlumen.realtime.engines.base import Probability
from qlumen.realtime.pixels.arrays import Mask
from qlumen.realtime.segmentation.geometry import Fit, Geometry
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.system.files import replacing


@dataclass(frozen=True, slots=True, eq=False)
class OperatingPoint:
    """Holds the fitted temperature and the chosen thresholds with their figures.

    Attributes:
        temperature: divisor of the head; 1 if the fit does not lower the calibration error
        fitted_on: list that temperature and thresholds were fitted on
        rule: how the thresholds were chosen
        before: reliability of each split
        after: the same with the temperature
        points: every pair of thresholds at that temperature
    """

    temperature: float
    fitted_on: str
    rule: str
    before: dict[str, Reliability]
    after: dict[str, Reliability]
    points: list[Choice]
    choice: Choice

    def summary(self) -> dict[str, Any]:
        """Return the entry for the manifest."""
        ece = {
            split: {"before": self.before[split].error, "after": self.after[split].error}
            for split in self.before
        }
        return {
            "temperature": self.temperature,
            "ece": ece,
            "fitted_on": self.fitted_on,
            "rule": self.rule,
            "chosen": asdict(self.choice) | {"thresholds": self.choice.thresholds.model_dump()},
        }

    def report(self) -> dict[str, Any]:
        """Return the content of `--json`: the summary, all points and the diagrams."""
        points = [asdict(p) | {"thresholds": p.thresholds.model_dump()} for p in self.points]
        diagrams = {
            split: {"before": self.before[split].record(), "after": self.after[split].record()}
            for split in self.before
        }
        return {**self.summary(), "points": points, "reliability": diagrams}


def fit(
    bundle: Bundle,
    data: Path,
    *,
    split: str = VALIDATION,
    negatives: str = NEGATIVES_TRAIN,
    most_findings: float = MOST_FINDINGS,
) -> OperatingPoint:
    """Fit on a list of pairs and one of lesion-free images; only report the other splits.

    Args:
        most_findings: share of the lesion-free images that may have a finding

    Raises:
        DatasetError: a list or a file is missing or unreadable
    """
    pairs = {split: split_pairs(data, split)}
    for other in splits_to_score(data):
        pairs.setdefault(other, split_pairs(data, other))
    files = lesion_free_files(data, negatives)
    if not files and negatives != NEGATIVES_TRAIN:
        raise DatasetError(f"no list {negatives} of images without a lesion in {data}")
    with closing(Segmenter.open(bundle, Settings())) as segmenter:
        samples = {name: collect(part, [], segmenter) for name, part in pairs.items()}
        free = collect([], files, segmenter)
    fit_ = segmenter.preprocess.fit
    maps = {split: [_resize_truth(s, fit_) for s in rows] for split, rows in samples.items()}
    before = {name: reliability(rows) for name, rows in maps.items()}
    temperature = fit_temperature(maps[split])
    after = {
        name: reliability((temper(p, temperature), truth) for p, truth in rows)
        for name, rows in maps.items()
    }
    if after[split].error >= before[split].error:
        temperature, after = 1.0, before
    rows = [
        replace(sample, probability=temper(sample.probability, temperature))
        for sample in (*samples[split], *free)
    ]
    points = operating_points(rows, fit_, bundle.manifest.thresholds.min_area_fraction)
    rule = describe_rule(split, negatives, most_findings)
    choice = choose_best(points, most_findings)
    return OperatingPoint(temperature, split, rule, before, after, points, choice)


def write_point(bundle: Bundle, result: OperatingPoint, data: Path) -> Bundle:
    """Write temperature and thresholds to a copy of the bundle, measure it and replace the old."""
    folder = bundle.folder
    with replacing(folder) as part:
        shutil.copytree(folder, part)
        if result.temperature != 1:
            write_temperature(replace(bundle, folder=part), result.temperature)
        earlier = bundle.manifest.calibration.get("temperature", 1.0)
        calibration = result.summary() | {"temperature": earlier * result.temperature}
        manifest = bundle.manifest.model_copy(
            update={"thresholds": result.choice.thresholds, "calibration": calibration}
        )
        with closing(Segmenter.open(write_manifest(part, manifest), Settings())) as segmenter:
            metrics = measure(segmenter, data, splits_to_measure(data, manifest.provenance))
        write_records(part, manifest.model_copy(update={"metrics": metrics}))
    return read_bundle(folder)


def _resize_truth(sample: Sample, fit_: Fit) -> tuple[Probability, Mask]:
    assert sample.truth is not None
    size = (sample.probability.shape[1], sample.probability.shape[0])
    x0, y0, x1, y1 = box = sample.seen.field.box
    geometry = Geometry.of((x1 - x0, y1 - y0), size, fit_)
    return sample.probability, truth_at(size, crop(sample.truth, box), geometry)

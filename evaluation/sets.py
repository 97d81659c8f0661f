"""Scores the sets of a data folder, or compares two bundles on them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from qlumen.datasets.groups import Origin, known_clusters, read_origins
from qlumen.datasets.pairs import Pair
from qlumen.datasets.splits import (
    is_lesion_free,
    negatives_to_score,
    split_pairs,
    splits_to_score,
)
from qlumen.errors import UsageError
from qlumen.evaluation import negatives
from qlumen.evaluation.comparison import (
    Condition,
    Outcome,
    add_q,
    compare_outcomes,
    conditions,
    outcome,
)
from qlumen.evaluation.comparison_tables import print_comparison
from qlumen.evaluation.curves import MapFigures
from qlumen.evaluation.drawing import draw
from qlumen.evaluation.negatives import NegativeScores, evaluate_negatives
from qlumen.evaluation.open_run import Run, open_run
from qlumen.evaluation.options import Options
from qlumen.evaluation.printing import print_robustness, print_sets
from qlumen.evaluation.robustness import ROUNDS, count_on, robustness
from qlumen.evaluation.run import ImageScores, evaluate, report
from qlumen.networks.bundle import read_bundle
from qlumen.realtime.config.network import ModelSettings
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.engines.choose import bundle_folder


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Names the images that are scored together.

    Attributes:
        pairs: images and masks; a lesion-free set has no masks
        origins: one for each pair, or none at all
    """

    name: str
    pairs: list[Pair]
    origins: Sequence[Origin] = ()
    lesion_free: bool = False


def score_data(data: Path, given: Options, settings: Settings, console: Console) -> dict[str, Any]:
    """Score the splits of a data folder, print tables, and return the content of `--json`.

    Raises:
        DatasetError: a split, an index or an image cannot be read
    """
    sets = _read_sets(data, given.split)
    if given.compare:
        return _compare(sets, given.compare, given.robustness, settings, console)
    with_lesions = [one for one in sets if not one.lesion_free]
    if given.robustness:
        where = " ".join(one.name for one in with_lesions)
        return score_degraded(with_lesions, where, settings, console)
    return _score(sets, given, settings, console)


def score_degraded(
    sets: Sequence[ImageSet], where: str, settings: Settings, console: Console
) -> dict[str, Any]:
    """Score sets on degraded images; `where` names their lists and folders."""
    content: dict[str, Any] = {}
    done = 0
    with open_run(settings, ROUNDS * _count(sets), "images") as run:
        for one in sets:
            show, clusters = count_on(run.show, done), known_clusters(one.origins)
            content[one.name] = robustness(one.pairs, run.analysis, show, clusters)
            done += ROUNDS * len(one.pairs)
    content = {**run.about, "sets": content}
    print_robustness(content, where, console)
    return content


def report_pairs(
    one: ImageSet,
    run: Run,
    about: dict[str, Any],
    show: Callable[[int], None],
    save_masks: Path | None = None,
) -> dict[str, Any]:
    """Score a set of images with masks, and return its report."""
    figures = MapFigures()
    rows = evaluate(one.pairs, run.analysis, save_masks=save_masks, figures=figures, on_image=show)
    return report(rows, about, figures, one.origins)


def _read_sets(data: Path, splits: Sequence[str]) -> list[ImageSet]:
    sets = []
    chosen = dict.fromkeys(splits) or (*splits_to_score(data), *negatives_to_score(data))
    for name in chosen:
        pairs = split_pairs(data, name)
        origins = read_origins(data, [pair.name for pair in pairs])
        sets.append(ImageSet(name, pairs, origins, is_lesion_free(name)))
    return sets


def _score(
    sets: Sequence[ImageSet], given: Options, settings: Settings, console: Console
) -> dict[str, Any]:
    reports: dict[str, Any] = {}
    free: list[NegativeScores] = []
    origins: list[Origin] = []
    done = 0
    with open_run(settings, _count(sets), "images") as run:
        for one in sets:
            show = count_on(run.show, done)
            done += len(one.pairs)
            if one.lesion_free:
                files = [pair.image for pair in one.pairs]
                free += evaluate_negatives(files, run.analysis, show)
                origins += one.origins
            else:
                reports[one.name] = report_pairs(one, run, {}, show)
        content = {**run.about, "sets": reports}
        if free:
            content["negatives"] = negatives.report(free, {}, origins)
        pairs = {one.name: one.pairs for one in sets}
        content["worst"] = draw(given.plots, given.worst, reports, pairs, run.analysis)
    print_sets(content, console)
    return content


def _compare(
    sets: Sequence[ImageSet], bundle: Path, degraded: bool, settings: Settings, console: Console
) -> dict[str, Any]:
    """Compare the bundle of the settings, A, with another one, B."""
    if settings.engine.model:
        raise UsageError("--compare runs two bundles; leave out engine.model, a file of one")
    other = settings.model_copy(update={"model": ModelSettings(bundle=bundle)})
    read_bundle(bundle_folder(other))
    cases = [(one, condition) for one in sets for condition in conditions(degraded)]
    run_a, found_a = _judge_cases(cases, settings)
    run_b, found_b = _judge_cases(cases, other)
    rows = []
    for (one, condition), a, b in zip(cases, found_a, found_b, strict=True):
        compared = compare_outcomes(a, b, known_clusters(one.origins))
        rows.append({"set": one.name, **asdict(condition), **compared})
    add_q(rows)
    content = {"a": run_a, "b": run_b, "rows": rows}
    print_comparison(content, console)
    return content


def _judge_cases(
    cases: Sequence[tuple[ImageSet, Condition]], settings: Settings
) -> tuple[dict[str, Any], list[list[Outcome]]]:
    """Return facts about the run, and the outcomes of each set under its condition."""
    found: list[list[Outcome]] = []
    done = 0
    with open_run(settings, _count(one for one, _ in cases), "images") as run:
        for one, condition in cases:
            show = count_on(run.show, done)
            done += len(one.pairs)
            rows: Sequence[ImageScores | NegativeScores]
            if one.lesion_free:
                files = [pair.image for pair in one.pairs]
                rows = evaluate_negatives(files, run.analysis, show, condition.change)
            else:
                change = condition.change
                rows = evaluate(one.pairs, run.analysis, change=change, on_image=show)
            found.append([outcome(row) for row in rows])
    return run.about, found


def _count(sets: Iterable[ImageSet]) -> int:
    return sum(len(one.pairs) for one in sets)

"""Runs `qlumen evaluate`, which scores a network on images or on a clip."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from qlumen.datasets.pairs import Pair, find_pairs
from qlumen.datasets.splits import (
    find_images,
    lesion_free_files,
    negatives_to_score,
    split_pairs,
    splits_to_score,
)
from qlumen.errors import UsageError
from qlumen.evaluation.clip import clip_report, evaluate_clip, read_boxes
from qlumen.evaluation.curves import MapFigures
from qlumen.evaluation.drawing import check_matplotlib, draw
from qlumen.evaluation.negatives import NegativeScores, evaluate_negatives, summary
from qlumen.evaluation.printing import (
    print_clip,
    print_images,
    print_negatives,
    print_robustness,
    print_sets,
)
from qlumen.evaluation.robustness import ROUNDS, count_on, robustness
from qlumen.evaluation.run import evaluate, report
from qlumen.networks.bundle import read_bundle
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.config.settings import Settings, load_settings
from qlumen.realtime.engines.choose import bundle_folder
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.realtime.sources.choose import open_source
from qlumen.system.files import write_json
from qlumen.system.output_paths import PATH, check_paths
from qlumen.system.progress import progress_bar


@click.command("evaluate")
@click.option("--images", type=PATH, help="Folder of images.")
@click.option("--masks", type=PATH, help="Folder of masks with the same stems.")
@click.option("--list", "listing", type=PATH, help="Text file with the stems to use, one per line.")
@click.option("--data", type=PATH, help="Folder with splits/ and images: all sets in one table.")
@click.option("--split", multiple=True, metavar="NAME",
              help="Split of --data; default: all that are not for training.")  # fmt: skip
@click.option("--negatives", is_flag=True, help="The images, also in subfolders, show no lesion.")
@click.option("--robustness", is_flag=True, help="Dice on degraded images, by kind.")
@click.option("--clip", type=PATH, help="Video file, with --boxes.")
@click.option("--boxes", type=PATH, help='JSON: {"boxes": {"FRAME": [[x0, y0, x1, y1], ...]}}.')
@click.option("--json", "json_file", type=PATH, help="File for means and scores of each image.")
@click.option("--save-masks", type=PATH, help="Folder for the masks, PNG, 0 and 255.")
@click.option("--plots", type=PATH, help="Folder for plots: precision-recall, thresholds, ECE.")
@click.option("--worst", type=PATH, help="PNG of the 16 images with the lowest Dice.")
@click.option("--config", type=PATH, help="YAML file with settings.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One setting.")
def command(
    json_file: Path | None, config: Path | None, overrides: tuple[str, ...], **options: Any
) -> None:
    """Score the network on images with masks, or on other material.

    --data scores all sets of a data folder, --negatives images without lesions, and --clip with
    --boxes a clip with true boxes of some frames. --robustness scores images with masks unchanged
    and in nine kinds and three severities of degradation. Masks are compared at their own size.

    Each image is judged as in replay. The frames of a clip are judged together.
    """
    given = Options(**options)
    check_options(given)
    settings = load_settings(config, overrides)
    inputs = [*given.paths(), *([config] if config else [])]
    check_outputs(inputs, given, json_file)
    content = _score(given, settings, Console())
    if json_file:
        write_json(json_file, content)


@dataclass(frozen=True, slots=True)
class Run:
    """Holds an open network, a progress function, and facts about the run."""

    analysis: FrameAnalysis
    show: Callable[[int], None]
    about: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Options:
    """Holds the options for inputs and drawings; four combinations of them are valid."""

    images: Path | None
    masks: Path | None
    listing: Path | None
    data: Path | None
    split: tuple[str, ...]
    negatives: bool
    robustness: bool
    clip: Path | None
    boxes: Path | None
    save_masks: Path | None
    plots: Path | None
    worst: Path | None

    def paths(self) -> list[Path]:
        named = (self.images, self.masks, self.listing, self.data, self.clip, self.boxes)
        return [path for path in named if path]


def check_options(given: Options) -> None:
    """Raise UsageError for options that do not fit together."""
    if (given.listing or given.save_masks) and not given.masks:
        raise UsageError("--list and --save-masks need --images with --masks")
    if (given.plots or given.worst) and not (given.masks or given.data):
        raise UsageError("--plots and --worst need --images with --masks, or --data")
    if given.split and not given.data:
        raise UsageError("--split needs --data")
    if given.robustness and not (given.masks or given.data):
        raise UsageError("--robustness needs --images with --masks, or --data")
    if given.robustness and (given.save_masks or given.plots or given.worst):
        raise UsageError("--robustness draws nothing; leave out --save-masks, --plots and --worst")
    if given.worst and given.worst.suffix.lower() != ".png":
        raise UsageError(f"--worst {given.worst} must end in .png")
    if given.plots:
        check_matplotlib("--plots")


def check_outputs(inputs: Sequence[Path], given: Options, json_file: Path | None) -> None:
    """Raise UsageError for an output that is not writable or would replace an input."""
    files = (("--json", json_file), ("--worst", given.worst))
    folders = (("--save-masks", given.save_masks), ("--plots", given.plots))
    check_paths(
        inputs,
        [(name, path) for name, path in files if path],
        [(name, path) for name, path in folders if path],
    )


@contextmanager
def _run(
    settings: Settings, total: int | None, unit: str, *, related: bool = False
) -> Iterator[Run]:
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


def _score(given: Options, settings: Settings, console: Console) -> dict[str, Any]:
    match given:
        case Options(data=Path() as data, images=None, negatives=False, clip=None):
            return _score_data(data, given, settings, console)
        case Options(data=None, images=Path() as images, masks=Path() as masks, negatives=False,
                     clip=None):  # fmt: skip
            return _score_images(images, masks, given, settings, console)
        case Options(data=None, images=Path() as images, masks=None, negatives=True, clip=None):
            return _score_negatives(images, settings, console)
        case Options(data=None, images=None, clip=Path() as clip, boxes=Path() as boxes):
            return _score_clip(clip, boxes, settings, console)
    raise UsageError(
        "give --images with --masks, --data, --images with --negatives, or --clip with --boxes"
    )


def _score_data(data: Path, given: Options, settings: Settings, console: Console) -> dict[str, Any]:
    pairs = {name: split_pairs(data, name) for name in given.split or splits_to_score(data)}
    if given.robustness:
        return _robustness(pairs, " ".join(pairs), settings, console)
    lists = [] if given.split else negatives_to_score(data)
    free = [file for name in lists for file in lesion_free_files(data, name)]
    sets: dict[str, Any] = {}
    with _run(settings, sum(map(len, pairs.values())) + len(free), "images") as run:
        for name, files in pairs.items():
            sets[name] = _report(files, run, {}, count_on(run.show, _count(sets)))
        content = {**run.about, "sets": sets}
        if free:
            rows = evaluate_negatives(free, run.analysis)
            content["negatives"] = _negatives_report(rows, {})
        content["worst"] = draw(given.plots, given.worst, sets, pairs, run.analysis)
    print_sets(content, console)
    return content


def _score_images(
    images: Path, masks: Path, given: Options, settings: Settings, console: Console
) -> dict[str, Any]:
    pairs = find_pairs(images, masks, given.listing)
    name = given.listing.stem if given.listing else images.absolute().name
    where = f"{given.listing.name if given.listing else ''} {images.absolute().as_posix()}"
    if given.robustness:
        return _robustness({name: pairs}, where, settings, console)
    with _run(settings, len(pairs), "images") as run:
        content = _report(pairs, run, run.about, run.show, given.save_masks)
        content["worst"] = draw(
            given.plots, given.worst, {name: content}, {name: pairs}, run.analysis
        )
    print_images(content, where, console)
    return content


def _robustness(
    pairs: Mapping[str, Sequence[Pair]], where: str, settings: Settings, console: Console
) -> dict[str, Any]:
    sets: dict[str, Any] = {}
    with _run(settings, ROUNDS * sum(map(len, pairs.values())), "images") as run:
        for name, files in pairs.items():
            sets[name] = robustness(files, run.analysis, count_on(run.show, ROUNDS * _count(sets)))
    content = {**run.about, "sets": sets}
    print_robustness(content, where, console)
    return content


def _count(sets: Mapping[str, Mapping[str, Any]]) -> int:
    return sum(row["count"] for row in sets.values())


def _report(
    pairs: Sequence[Pair],
    run: Run,
    about: dict[str, Any],
    show: Callable[[int], None],
    save_masks: Path | None = None,
) -> dict[str, Any]:
    figures = MapFigures()
    rows = evaluate(pairs, run.analysis, save_masks=save_masks, figures=figures, on_image=show)
    return report(rows, about, figures)


def _score_negatives(images: Path, settings: Settings, console: Console) -> dict[str, Any]:
    files = find_images(images)
    with _run(settings, len(files), "images") as run:
        rows = evaluate_negatives(files, run.analysis, run.show)
    content = _negatives_report(rows, run.about)
    print_negatives(content, console)
    return content


def _negatives_report(rows: Sequence[NegativeScores], about: dict[str, Any]) -> dict[str, Any]:
    each = [asdict(row) for row in rows]
    return {**about, "count": len(rows), **summary(rows), "images": each}


def _score_clip(clip: Path, boxes: Path, settings: Settings, console: Console) -> dict[str, Any]:
    true = read_boxes(boxes)
    with open_source(str(clip), settings) as source:
        total = source.info.frame_count
        with _run(settings, total, "frames", related=source.info.sequence) as run:
            scores = evaluate_clip(source, run.analysis, true, run.show)
    content = {**run.about, **clip_report(scores)}
    print_clip(content, console)
    return content

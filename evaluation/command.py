"""Runs `qlumen evaluate`, which scores a network on images or on a clip."""

from pathlib import Path
from typing import Any

import click
from rich.console import Console

from qlumen.datasets.pairs import find_pairs
from qlumen.datasets.splits import find_images
from qlumen.errors import UsageError
from qlumen.evaluation.clip import clip_report, evaluate_clip, read_boxes
from qlumen.evaluation.drawing import draw
from qlumen.evaluation.negatives import evaluate_negatives, report
from qlumen.evaluation.open_run import open_run
from qlumen.evaluation.options import Options, check_options, check_outputs
from qlumen.evaluation.printing import print_clip, print_images, print_negatives
from qlumen.evaluation.sets import ImageSet, report_pairs, score_data, score_degraded
from qlumen.evaluation.video.run import score_alarms
from qlumen.realtime.config.settings import Settings, load_settings
from qlumen.realtime.sources.choose import open_source
from qlumen.system.files import write_json
from qlumen.system.output_paths import PATH


@click.command("evaluate")
@click.option("--images", type=PATH, help="Folder of images.")
@click.option("--masks", type=PATH, help="Folder of masks with the same stems.")
@click.option("--list", "listing", type=PATH, help="Text file with the stems to use, one per line.")
@click.option("--data", type=PATH, help="Folder with splits/ and images: all sets in one table.")
@click.option("--split", multiple=True, metavar="NAME",
              help="Split of --data; default: all that are not for training.")  # fmt: skip
@click.option("--negatives", is_flag=True, help="The images, also in subfolders, show no lesion.")
@click.option("--robustness", is_flag=True, help="Dice on degraded images, by kind.")
@click.option("--compare", type=PATH, metavar="BUNDLE",
              help="With --data: differences of a second bundle from the first.")  # fmt: skip
@click.option(
    "--video",
    is_flag=True,
    help="Alarms on rendered video and, with --data, on moved images without a lesion.",
)
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True),
              help="With --video: longest length of each row.")  # fmt: skip
@click.option("--clip", type=PATH, help="Video file: its alarms and, with --boxes, hits.")
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

    --data scores all sets of a data folder, --negatives images without lesions, and --clip a
    video file, with --boxes against true boxes of some frames. --robustness scores images with
    masks unchanged and in twelve kinds and three severities of degradation. --compare scores two
    bundles on the same images of --data, and tests their differences. Masks are compared at their
    own size.
    --video plays an hour of video as live and counts its alarms at five thresholds.

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


def _score(given: Options, settings: Settings, console: Console) -> dict[str, Any]:
    match given:
        case Options(video=True, images=None, negatives=False, clip=None):
            return score_alarms(given.data, given.minutes, settings, console)
        case Options(data=Path() as data, images=None, negatives=False, clip=None):
            return score_data(data, given, settings, console)
        case Options(data=None, images=Path() as images, masks=Path() as masks, negatives=False,
                     clip=None):  # fmt: skip
            return _score_images(images, masks, given, settings, console)
        case Options(data=None, images=Path() as images, masks=None, negatives=True, clip=None):
            return _score_negatives(images, settings, console)
        case Options(data=None, images=None, clip=Path() as clip):
            return _score_clip(clip, given.boxes, settings, console)
    raise UsageError(
        "give --images with --masks, --data, --images with --negatives, --clip or --video"
    )


def _score_images(
    images: Path, masks: Path, given: Options, settings: Settings, console: Console
) -> dict[str, Any]:
    name = given.listing.stem if given.listing else images.absolute().name
    one = ImageSet(name, find_pairs(images, masks, given.listing))
    where = f"{given.listing.name if given.listing else ''} {images.absolute().as_posix()}"
    if given.robustness:
        return score_degraded([one], where, settings, console)
    with open_run(settings, len(one.pairs), "images") as run:
        content = report_pairs(one, run, run.about, run.show, given.save_masks)
        content["worst"] = draw(
            given.plots, given.worst, {name: content}, {name: one.pairs}, run.analysis
        )
    print_images(content, where, console)
    return content


def _score_negatives(images: Path, settings: Settings, console: Console) -> dict[str, Any]:
    files = find_images(images)
    with open_run(settings, len(files), "images") as run:
        rows = evaluate_negatives(files, run.analysis, run.show)
    content = report(rows, run.about)
    print_negatives(content, console)
    return content


def _score_clip(
    clip: Path, boxes: Path | None, settings: Settings, console: Console
) -> dict[str, Any]:
    true = read_boxes(boxes) if boxes else {}
    with open_source(str(clip), settings) as source:
        total = source.info.frame_count
        with open_run(settings, total, "frames", related=source.info.sequence) as run:
            scores = evaluate_clip(source, run.analysis, true, run.show)
    content = {**run.about, **clip_report(scores)}
    print_clip(content, console)
    return content

"""`qlumen evaluate`: the network's scores on images with masks, without lesions, or on a clip."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from qlumen.evaluation.clip import clip_report, evaluate_clip, read_boxes
from qlumen.evaluation.negatives import evaluate_negatives, find_negatives, summary
from qlumen.evaluation.pairs import find_pairs
from qlumen.evaluation.printing import print_clip, print_images, print_negatives
from qlumen.evaluation.run import evaluate, report
from qlumen.networks.bundle import read_bundle, shipped_bundle
from qlumen.realtime.config import Settings, load_settings
from qlumen.realtime.errors import UsageError
from qlumen.realtime.jsonfile import write_json
from qlumen.realtime.outputs import Outputs, check_outputs
from qlumen.realtime.progress import progress_bar
from qlumen.realtime.segmenter import Segmenter
from qlumen.realtime.sources.choose import open_source

PATH = click.Path(path_type=Path)


@dataclass(frozen=True, slots=True)
class Given:
    """The options that say what is scored; three sets of them make sense."""

    images: Path | None
    masks: Path | None
    listing: Path | None
    negatives: bool
    held_out: bool
    clip: Path | None
    boxes: Path | None
    save_masks: Path | None

    def paths(self) -> list[Path]:
        named = (self.images, self.masks, self.listing, self.clip, self.boxes)
        return [path for path in named if path]


@click.command("evaluate")
@click.option("--images", type=PATH, help="Folder of images.")
@click.option("--masks", type=PATH, help="Folder of masks with the same stems.")
@click.option("--list", "listing", type=PATH, help="Text file: the stems to take, one a line.")
@click.option("--negatives", is_flag=True, help="The images, in subfolders too, show no lesion.")
@click.option("--held-out", is_flag=True, help="Without those that `qlumen train` may train on.")
@click.option("--clip", type=PATH, help="A video, with --boxes.")
@click.option("--boxes", type=PATH, help='JSON: {"boxes": {"FRAME": [[x0, y0, x1, y1], ...]}}.')
@click.option("--json", "json_file", type=PATH, help="Means and per-image scores.")
@click.option("--save-masks", type=PATH, help="Folder for the masks found, PNG, 0 and 255.")
@click.option("--config", type=PATH, help="YAML file with settings.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One setting.")
def command(
    json_file: Path | None, config: Path | None, overrides: tuple[str, ...], **options: Any
) -> None:
    """Score the network on images with masks, at the masks' own size; or on images without
    lesions (--negatives); or on a clip with true boxes of some frames (--clip, --boxes).

    Engine and post-processing are those of replay.
    """
    given = Given(**options)
    _check(given)
    settings = load_settings(config, overrides)
    inputs = [*given.paths(), *([config] if config else [])]
    check_outputs(inputs, Outputs(masks=given.save_masks, json=json_file))
    content = _scored(given, settings, Console())
    if json_file:
        write_json(json_file, content)


def _check(given: Given) -> None:
    if (given.listing or given.save_masks) and not given.masks:
        raise UsageError("--list and --save-masks need --images with --masks")
    if given.held_out and not given.negatives:
        raise UsageError("--held-out needs --negatives")


@dataclass(frozen=True, slots=True)
class Run:
    """An opened network: `show` takes the count so far, `about` says what is run."""

    segmenter: Segmenter
    show: Callable[[int], None]
    about: dict[str, Any]


@contextmanager
def _run(settings: Settings, total: int | None, unit: str) -> Iterator[Run]:
    bundle = read_bundle(settings.model.bundle or shipped_bundle())
    segmenter = Segmenter.open(bundle, settings)
    try:
        with progress_bar("evaluate", total, unit, Console(stderr=True)) as show:
            about = {
                "engine": segmenter.engine.describe(),
                "bundle": {"name": bundle.manifest.name, "sha256": bundle.sha256},
                "config_sha256": settings.sha256(),
            }
            yield Run(segmenter, show, about)
    finally:
        segmenter.close()


def _scored(given: Given, settings: Settings, console: Console) -> dict[str, Any]:
    match given:
        case Given(images=Path() as images, masks=Path() as masks, negatives=False, clip=None):
            return _images(images, masks, given, settings, console)
        case Given(images=Path() as images, masks=None, negatives=True, clip=None):
            return _negatives(images, given.held_out, settings, console)
        case Given(images=None, clip=Path() as clip, boxes=Path() as boxes):
            return _clip(clip, boxes, settings, console)
    raise UsageError(
        "give --images with --masks, --images with --negatives, or --clip with --boxes"
    )


def _images(
    images: Path, masks: Path, given: Given, settings: Settings, console: Console
) -> dict[str, Any]:
    pairs = find_pairs(images, masks, given.listing)
    with _run(settings, len(pairs), "images") as run:
        rows = evaluate(pairs, run.segmenter, save_masks=given.save_masks, on_image=run.show)
    content = report(rows, run.about)
    listing = given.listing.name if given.listing else ""
    where = f"{listing} {images.absolute().as_posix()}".lower()
    print_images(content, "clinicdb" in where, console)
    return content


def _negatives(
    images: Path, held_out: bool, settings: Settings, console: Console
) -> dict[str, Any]:
    files = find_negatives(images, held_out=held_out)
    with _run(settings, len(files), "images") as run:
        rows = evaluate_negatives(files, run.segmenter, run.show)
    each = [asdict(row) for row in rows]
    content = {**run.about, "count": len(rows), **summary(rows), "images": each}
    print_negatives(content, console)
    return content


def _clip(clip: Path, boxes: Path, settings: Settings, console: Console) -> dict[str, Any]:
    true = read_boxes(boxes)
    with open_source(str(clip), settings) as source:
        total = source.info.frame_count
        with _run(settings, total, "frames") as run:
            scores = evaluate_clip(source, run.segmenter, true, run.show)
    content = {**run.about, **clip_report(scores)}
    print_clip(content, console)
    return content

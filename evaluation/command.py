"""`qlumen evaluate`: the network's scores on images with masks."""

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from qlumen.evaluation.pairs import find_pairs
from qlumen.evaluation.run import evaluate, means, report
from qlumen.networks.bundle import read_bundle, shipped_bundle
from qlumen.realtime.config import load_settings
from qlumen.realtime.jsonfile import write_json
from qlumen.realtime.outputs import Outputs, check_outputs
from qlumen.realtime.progress import progress_bar
from qlumen.realtime.segmenter import Segmenter

PATH = click.Path(path_type=Path)
OPTIMISTIC = (
    "The ClinicDB test frames of the PraNet split share sequences with its training frames, "
    "so their scores are optimistic."
)


@click.command("evaluate")
@click.option("--images", type=PATH, required=True, help="Folder of images.")
@click.option("--masks", type=PATH, required=True, help="Folder of masks with the same stems.")
@click.option("--list", "listing", type=PATH, help="Text file: the stems to take, one a line.")
@click.option("--json", "json_file", type=PATH, help="Means and per-image scores.")
@click.option("--save-masks", type=PATH, help="Folder for the masks found, PNG, 0 and 255.")
@click.option("--config", type=PATH, help="YAML file with settings.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One setting.")
def command(
    images: Path,
    masks: Path,
    listing: Path | None,
    json_file: Path | None,
    save_masks: Path | None,
    config: Path | None,
    overrides: tuple[str, ...],
) -> None:
    """Score the network on images with masks, at the masks' own size.

    Engine and post-processing are those of replay.
    """
    settings = load_settings(config, overrides)
    inputs = [path for path in (images, masks, listing, config) if path]
    check_outputs(inputs, Outputs(masks=save_masks, json=json_file))
    pairs = find_pairs(images, masks, listing)
    bundle = read_bundle(settings.model.bundle or shipped_bundle())
    segmenter = Segmenter.open(bundle, settings)
    try:
        with progress_bar("evaluate", len(pairs), "images", Console(stderr=True)) as show:
            rows = evaluate(pairs, segmenter, save_masks=save_masks, on_image=show)
        about = {
            "engine": segmenter.engine.describe(),
            "bundle": {"name": bundle.manifest.name, "sha256": bundle.sha256},
            "config_sha256": settings.sha256(),
        }
    finally:
        segmenter.close()
    where = f"{listing.name if listing else ''} {images.absolute().as_posix()}".lower()
    _print(means(rows), len(rows), optimistic="clinicdb" in where)
    if json_file:
        write_json(json_file, report(rows, about))


def _print(mean: dict[str, float | None], count: int, optimistic: bool) -> None:
    table = Table(title=f"mean over {count} images")
    for name in mean:
        table.add_column(name, justify="right")
    table.add_row(*("-" if value is None else f"{value:.4f}" for value in mean.values()))
    console = Console()
    console.print(table)
    if optimistic:
        console.print(OPTIMISTIC, highlight=False)

"""Runs `qlumen label`, which makes masks of frames from a few outlined images."""

import shutil
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from qlumen.datasets.formats.files import write_png
from qlumen.datasets.pairs import read_bgr
from qlumen.networks.bundle import find_bundle, read_bundle
from qlumen.realtime.annotation.export import (
    IMAGES,
    MASKS,
    Row,
    Source,
    check_name,
    write_index,
    write_lists,
)
from qlumen.realtime.endoscope.field import find_field
from qlumen.system.files import replacing
from qlumen.system.output_paths import PATH, check_paths
from qlumen.training.adaptation.frames import Frames, check_clips, collect_frames
from qlumen.training.adaptation.prototypes import Floats, mean_entropy
from qlumen.training.adaptation.students import run_cross, run_rounds, student_settings
from qlumen.training.data import load_split
from qlumen.training.settings import read_overrides

DEFAULTS = {"epochs": 12, "ema_decay": 0.99}
SHOWN = 3
"""Frames that are named as the first to check."""


@click.command("label")
@click.argument("clips", nargs=-1, required=True, metavar="CLIP...")
@click.option("--data", type=PATH, required=True, help="Data folder of the list, and to add to.")
@click.option("--seed", required=True, metavar="LIST", help="List of the outlined images.")
@click.option("--run", "run_folder", type=PATH, required=True, help="Folder for checkpoints.")
@click.option("--name", default="label", show_default=True, help="Name for the frames in DATA.")
@click.option("--bundle", type=PATH, help="Bundle that describes images; without it the shipped.")
@click.option("--every", type=click.IntRange(min=1), default=1, show_default=True,
              help="Take each Nth frame of a clip.")  # fmt: skip
@click.option("--rounds", type=click.IntRange(min=0), default=3, show_default=True,
              help="Trainings; 0 labels by likeness alone.")  # fmt: skip
@click.option("--cross", is_flag=True,
              help="Then let two unlike networks label, which learn from each other.")  # fmt: skip
@click.option("--prototypes", type=(click.IntRange(min=1), click.IntRange(min=1)), default=(4, 8),
              show_default=True, metavar="LESION BACKGROUND",
              help="Centres of the features of each kind.")  # fmt: skip
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE",
              help="One setting of the trainings.")  # fmt: skip
def command(
    clips: tuple[str, ...],
    data: Path,
    seed: str,
    run_folder: Path,
    name: str,
    bundle: Path | None,
    every: int,
    rounds: int,
    cross: bool,
    prototypes: tuple[int, int],
    overrides: tuple[str, ...],
) -> None:
    """Make masks of all frames of CLIPs, videos or folders, from a few outlined images.

    Adds NAME/ and its lists to DATA, which `qlumen train` reads, and names the least certain
    frames: check these first. Call it again after an interruption: it goes on after the last epoch.
    """
    origin = read_bundle(bundle or find_bundle())
    settings = student_settings(origin, seed, DEFAULTS, read_overrides(overrides))
    check_clips(clips)
    check_paths([*map(Path, clips)], [], [("--run", run_folder)])
    check_name(data, name)
    outlines, console = load_split(data, seed), Console()
    frames = collect_frames(clips, run_folder / "frames", every)
    _, maps = run_rounds(
        origin,
        outlines,
        frames.images,
        settings,
        run_folder,
        rounds=rounds,
        centres=prototypes,
        on_round=lambda number: console.print(f"round {number}/{rounds}", highlight=False),
    )
    if cross:
        maps = run_cross(outlines, frames.images, settings, run_folder)
    stems = write_labels(data, name, frames, maps)
    console.print(
        f"wrote {len(maps)} masks to {data / name}, {int((maps >= 0.5).any((1, 2)).sum())} with a "
        f"lesion; check first: {', '.join(stems[:SHOWN])}", highlight=False,
    )  # fmt: skip


def write_labels(data: Path, name: str, frames: Frames, maps: Floats) -> list[str]:
    """Write frames with their masks into a data folder, as `write_data` does.

    Args:
        maps: `(N, h, w)` probabilities of the frames, of the endoscope's field alone.

    Returns:
        The stems of the frames, the least certain first; the lists have the same order.

    Raises:
        UsageError: see `check_name`.
    """
    rows = []
    with replacing(data / name) as part:
        for kind in (IMAGES, MASKS):
            (part / kind).mkdir(parents=True)
        for place in np.argsort(-mean_entropy(maps), kind="stable"):
            file = frames.files[place]
            mask = _draw_mask(file, maps[place])
            shutil.copyfile(file, part / IMAGES / file.name)
            write_png(part / MASKS / f"{file.stem}.png", mask * np.uint8(255))
            rows.append(Row(file.stem, frames.clips[place], Source.LABEL, bool(mask.any())))
        write_index(part, rows)
    write_lists(data, name, rows)
    return [row.stem for row in rows]


def _draw_mask(file: Path, probability: Floats) -> NDArray[np.uint8]:
    """Return the mask of a whole frame, whose network saw the endoscope's field only."""
    image = read_bgr(file)
    x0, y0, x1, y1 = find_field(image).box
    mask = np.zeros(image.shape[:2], np.uint8)
    mask[y0:y1, x0:x1] = cv2.resize(probability, (x1 - x0, y1 - y0)) >= 0.5
    return mask

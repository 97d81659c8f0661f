"""Runs `qlumen annotate`: outlines of a few frames of a clip become those of all."""

import re
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import combinations
from pathlib import Path

import click
from rich.console import Console

from qlumen.realtime.annotation.agreement import compare, join
from qlumen.realtime.annotation.clip import check_keys, read_clip, read_keys, read_map
from qlumen.realtime.annotation.export import Outline, Source, check_name, write_data
from qlumen.realtime.annotation.propagate import propagate
from qlumen.realtime.commands.open_review import open_review
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.pixels.arrays import Mask
from qlumen.system.output_paths import PATH, check_paths
from qlumen.system.progress import progress_bar

ASKED = 3
"""Frames that are named as the next to outline."""


@click.command("annotate")
@click.argument("clip")
@click.option("--keys", type=PATH, required=True, multiple=True, metavar="FOLDER",
              help="Outlines of key frames: FRAME.png, from 0; one of each person.")  # fmt: skip
@click.option("--output", type=PATH, required=True, help="Data folder to add the frames to.")
@click.option("--name", help="Name of the clip in the data folder; its file's name without this.")
@click.option("--every", type=click.IntRange(min=1), default=1, show_default=True,
              help="Write each Nth of the frames between keys.")  # fmt: skip
@click.option("--no-network", is_flag=True, help="Let motion alone move the outlines.")
@click.option("--config", type=PATH, help="YAML file with settings.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One setting.")
@click.option("--sequence", is_flag=True, help="The folder's images follow each other in time.")
def command(
    clip: str,
    keys: tuple[Path, ...],
    output: Path,
    name: str | None,
    every: int,
    no_network: bool,
    config: Path | None,
    overrides: tuple[str, ...],
    sequence: bool,
) -> None:
    """Outline all frames of a clip from the outlines of a few key frames.

    CLIP is a video, or a folder that `qlumen report --review` made. The masks in FOLDER are grey
    images with 0 where no lesion is, and one level for each lesion. The command writes images and
    masks that `qlumen train` reads, and names the frames to outline next. Of several FOLDERs it
    tells how far people agree, and takes what most of them outlined.
    """
    overrides += ("source.sequence=true",) if sequence else ()
    settings = load_settings(config, overrides)
    name = name or re.sub(r"[^A-Za-z0-9_.-]", "_", Path(clip).stem).lstrip("_.-")
    people = {folder: read_keys(folder) for folder in keys}
    check_paths([Path(clip), *keys], [], [("--output", output)])
    check_name(output, name)
    console = Console(stderr=True)
    doubts: dict[int, float] = {}
    with open_review(clip, settings, console) as review:
        with progress_bar("read", len(review.frames), "frames", console) as show:
            content = read_clip(review, show)
        for outlines in people.values():
            check_keys(outlines, content)
        given = _join(people)
        maps = (lambda index: None) if no_network else partial(read_map, review)
        output.mkdir(exist_ok=True)
        with progress_bar("propagate", len(review.frames), "frames", console) as show:

            def outline() -> Iterator[Outline]:
                for index, mask in given.items():
                    yield Outline(index, Source.KEY, mask)
                for index, found in propagate(content.thumbnails, given, maps):
                    show(index + 1)
                    if found.disagreement:
                        doubts[index] = found.disagreement
                    if index % every == 0:
                        yield Outline(index, Source.PROPAGATED, found.lesions)

            written = write_data(output, name, review, outline())
    click.echo(
        f"{name}: {len(given)} key frames, {written - len(given)} propagated, "
        f"{len(content.thumbnails) - written} left out; wrote {output}"
    )
    if doubts:
        worst = sorted(doubts, key=doubts.__getitem__, reverse=True)[:ASKED]
        told = ", ".join(f"{index} ({doubts[index]:.0%})" for index in worst)
        click.echo(f"outline next, by what the two directions disagree on: {told}")


def _join(people: Mapping[Path, Mapping[int, Mask]]) -> dict[int, Mask]:
    """Tell how far people agree; return the majority where two or more outlined a frame."""
    for (one, outlines), (other, others) in combinations(people.items(), 2):
        both = sorted(outlines.keys() & others.keys())
        if found := compare((outlines[index], others[index]) for index in both):
            count, dice, kappa = found
            told = f"mean Dice {dice:.3f}, kappa {kappa:.3f} on {count} frames"
        else:
            told = "no frame that both outlined"
        click.echo(f"{one} and {other}: {told}")
    drawn = sorted({index for outlines in people.values() for index in outlines})
    all_of = {i: [outlines[i] for outlines in people.values() if i in outlines] for i in drawn}
    return {i: found[0] if len(found) == 1 else join(found) for i, found in all_of.items()}

"""Runs `qlumen annotate`: outlines of a few frames of a clip become those of all."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import click
from rich.console import Console

from qlumen.realtime.annotation.clip import check_keys, read_clip, read_keys, read_map
from qlumen.realtime.annotation.export import Outline, Source, check_name, write_data
from qlumen.realtime.annotation.propagate import propagate
from qlumen.realtime.commands.open_review import open_review
from qlumen.realtime.config.settings import load_settings
from qlumen.system.output_paths import PATH, check_paths
from qlumen.system.progress import progress_bar

ASKED = 3
"""Frames that are named as the next to outline."""


@click.command("annotate")
@click.argument("clip")
@click.option("--keys", type=PATH, required=True, metavar="FOLDER",
              help="Outlines of key frames: FRAME.png, from 0.")  # fmt: skip
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
    keys: Path,
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
    masks that `qlumen train` reads, and names the frames to outline next.
    """
    overrides += ("source.sequence=true",) if sequence else ()
    settings = load_settings(config, overrides)
    name = name or re.sub(r"[^A-Za-z0-9_.-]", "_", Path(clip).stem).lstrip("_.-")
    given = read_keys(keys)
    check_paths([Path(clip), keys], [], [("--output", output)])
    check_name(output, name)
    console = Console(stderr=True)
    doubts: dict[int, float] = {}
    with open_review(clip, settings, console) as review:
        with progress_bar("read", len(review.frames), "frames", console) as show:
            content = read_clip(review, show)
        check_keys(given, content)
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

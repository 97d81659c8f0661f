"""Runs `qlumen ablate`, which trains networks that differ only in the bottleneck."""

from pathlib import Path
from typing import Any

import click
from rich.console import Console

from qlumen.ablation.plan import Plan, RunKey, protocol, read_bottlenecks, select_runs
from qlumen.ablation.runs import complete, read_result
from qlumen.ablation.speed import measure
from qlumen.ablation.tables import CSV, JSON, MARKDOWN, markdown, summarise, write_csv
from qlumen.errors import ConfigError, UsageError
from qlumen.networks.bottlenecks import BOTTLENECKS
from qlumen.system.files import write_json
from qlumen.system.output_paths import PATH
from qlumen.system.progress import progress_bar
from qlumen.training.data import training_data
from qlumen.training.log import EpochReport
from qlumen.training.settings import read_overrides


@click.command("ablate")
@click.option("--data", type=PATH, required=True, help="Folder with images, masks and splits/.")
@click.option("--output", type=PATH, required=True, help="Folder for the runs and the tables.")
@click.option("--bottlenecks", default=",".join(BOTTLENECKS), show_default=True,
              help="Bottlenecks to compare in pairs.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True,
              help="Number of trainings of each bottleneck.")  # fmt: skip
@click.option("--only", multiple=True, metavar="RUN", help="Train only this run, such as vqc-0.")
@click.option("--no-train", is_flag=True, help="Make the tables from the complete runs.")
@click.option("--limit", type=click.IntRange(min=1), help="Largest number of images of each kind.")
@click.option("--size", type=click.IntRange(min=32), default=352, show_default=True,
              help="Side of the engine's input for the time of a frame.")  # fmt: skip
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One setting.")
def command(
    data: Path,
    output: Path,
    bottlenecks: str,
    seeds: int,
    only: tuple[str, ...],
    no_train: bool,
    limit: int | None,
    size: int,
    overrides: tuple[str, ...],
) -> None:
    """Train a network with each bottleneck and seed, and compare them in pairs.

    Networks of one seed see the same batches. Writes ablation.md, ablation.json and runs.csv.
    Call it again after an interruption: it keeps complete runs and resumes the others.
    Several processes can share the work: give each its own runs (--only).
    """
    if size % 32:
        raise ConfigError(f"--size {size} is not a multiple of 32; use {round(size / 32) * 32}")
    values = protocol(read_overrides(overrides))
    plan = Plan(output, read_bottlenecks(bottlenecks), seeds, values, limit)
    todo = select_runs(plan, only)
    console = Console()
    for key in plan.runs():
        read_result(plan, key)  # refuses results of other settings before hours of work
    missing = [key for key in todo if not no_train and read_result(plan, key) is None]
    if missing:
        images = training_data(data, plan.settings(missing[0]), limit)
    for key in missing:
        epochs = plan.settings(key).epochs

        def show_epoch(report: EpochReport, key: RunKey = key, epochs: int = epochs) -> None:
            console.print(
                f"{key}: epoch {report.epoch}/{epochs}, loss {report.loss:.4f}, "
                f"{report.seconds:.0f} s",
                highlight=False,
            )

        with progress_bar(str(key), None, "steps", console) as show:
            complete(plan, key, data, images, show, show_epoch)
    done = {key: result for key in plan.runs() if (result := read_result(plan, key))}
    _write_tables(plan, done, size, console)


def _write_tables(
    plan: Plan, done: dict[RunKey, dict[str, Any]], size: int, console: Console
) -> None:
    if not done:
        raise UsageError(f"{plan.output} holds no complete run; leave out --no-train")
    missing = [str(key) for key in plan.runs() if key not in done]
    one_each = {key.bottleneck: key for key in reversed(done)}
    speed = {} if missing else measure(plan, list(one_each.values()), size)
    content = summarise(list(done.values()), speed)
    page = markdown(content)
    write_json(plan.output / JSON, content)
    write_csv(plan.output / CSV, list(done.values()))
    (plan.output / MARKDOWN).write_text(page, encoding="utf-8")
    console.print(page, highlight=False, markup=False, soft_wrap=True)
    if missing:
        console.print(
            f"runs still missing: {', '.join(missing)}; times are measured after all runs",
            highlight=False,
        )

"""`qlumen ablate`: what the bottleneck is worth, by networks that differ in nothing else."""

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
              help="What is compared, pair by pair.")  # fmt: skip
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True,
              help="Trainings of each bottleneck.")  # fmt: skip
@click.option("--only", multiple=True, metavar="RUN", help="Train only this one, such as vqc-0.")
@click.option("--no-train", is_flag=True, help="Make the tables from the runs that are whole.")
@click.option("--limit", type=click.IntRange(min=1), help="Take only so many images of each kind.")
@click.option("--size", type=click.IntRange(min=32), default=352, show_default=True,
              help="Side of the picture on which a frame's time is taken.")  # fmt: skip
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
    """Train a network with each bottleneck for each seed, on the same batches, and compare them
    in pairs: ablation.md, ablation.json, runs.csv.

    Call it again after an interruption: whole runs are kept, others go on from their last epoch.
    Several processes may share the work, each with its own runs (--only).
    """
    if size % 32:
        raise ConfigError(f"--size {size} is not a multiple of 32; use {round(size / 32) * 32}")
    values = protocol(read_overrides(overrides))
    plan = Plan(output, read_bottlenecks(bottlenecks), seeds, values, limit)
    todo = select_runs(plan, only)
    console = Console()
    for key in plan.runs():
        read_result(plan, key)  # of other settings: refused before hours of work
    missing = [key for key in todo if not no_train and read_result(plan, key) is None]
    if missing:
        images = training_data(data, plan.settings(missing[0]), limit)
    for key in missing:
        epochs = plan.settings(key).epochs

        def tell(report: EpochReport, key: RunKey = key, epochs: int = epochs) -> None:
            console.print(
                f"{key}: epoch {report.epoch}/{epochs}, loss {report.loss:.4f}, "
                f"{report.seconds:.0f} s",
                highlight=False,
            )

        with progress_bar(str(key), None, "steps", console) as show:
            complete(plan, key, data, images, show, tell)
    done = {key: result for key in plan.runs() if (result := read_result(plan, key))}
    _write_tables(plan, done, size, console)


def _write_tables(
    plan: Plan, done: dict[RunKey, dict[str, Any]], size: int, console: Console
) -> None:
    if not done:
        raise UsageError(f"no run in {plan.output} is whole; leave out --no-train")
    whole = [key for key in plan.runs() if key in done]
    missing = [str(key) for key in plan.runs() if key not in done]
    one_each = {key.bottleneck: key for key in reversed(whole)}
    speed = {} if missing else measure(plan, list(one_each.values()), size)
    content = summarise([done[key] for key in whole], speed)
    page = markdown(content)
    write_json(plan.output / JSON, content)
    write_csv(plan.output / CSV, [done[key] for key in whole])
    (plan.output / MARKDOWN).write_text(page, encoding="utf-8")
    console.print(page, highlight=False, markup=False, soft_wrap=True)
    if missing:
        console.print(
            f"not yet whole: {', '.join(missing)}; times are measured when all runs are",
            highlight=False,
        )

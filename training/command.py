"""Runs `qlumen train`, which trains a network on the splits and writes a bundle."""

import math
import time
from contextlib import ExitStack
from pathlib import Path

import click
from pydantic import ValidationError
from rich.console import Console

from qlumen.datasets.splits import VALIDATION
from qlumen.errors import ConfigError, UsageError
from qlumen.networks.bottlenecks import BOTTLENECKS, bottleneck_name
from qlumen.networks.bundle import Thresholds, check_replaceable, read_bundle
from qlumen.system.output_paths import PATH, check_paths
from qlumen.system.progress import progress_bar
from qlumen.training.build import bottleneck_config, mix_networks, read_network
from qlumen.training.cross import CrossTrainer
from qlumen.training.data import training_data, unlabelled_data
from qlumen.training.finish import MIN_AREA_FRACTION, finish_bundle
from qlumen.training.log import EpochReport, TensorBoardLog
from qlumen.training.loop import BEST, EPOCHS, Trainer
from qlumen.training.masked import CELL_PX
from qlumen.training.pretrain import Pretrainer
from qlumen.training.settings import TrainSettings, check_settings, read_overrides
from qlumen.training.start_encoder import write_encoder

ENCODER_SUFFIX = ".safetensors"
SHOWN = ("dice", "iou", "with_findings")


@click.command("train")
@click.option("--data", type=PATH, required=True, help="Folder with images, masks and splits/.")
@click.option("--output", type=PATH, required=True, help="Folder for the bundle.")
@click.option("--pretrain", is_flag=True,
              help="Pre-train the encoder without masks; OUTPUT is its weights' file.")  # fmt: skip
@click.option("--run", "run_folder", type=PATH, required=True, help="Folder for checkpoints, log.")
@click.option("--resume", is_flag=True, help="Continue from the run's checkpoint.")
@click.option("--finish", type=click.Choice(EPOCHS),
              help="With --resume: write this epoch and do not train.")  # fmt: skip
@click.option("--mix-with", multiple=True, type=(PATH, click.FloatRange(0, 1)),
              metavar="BUNDLE SHARE", help="Mix in this share of other weights.")  # fmt: skip
@click.option("--bottleneck", type=click.Choice(BOTTLENECKS), default="vqc", show_default=True)
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the training images.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), default=math.inf,
              help="End after the last epoch that fits into this time.")  # fmt: skip
@click.option("--limit", type=click.IntRange(min=1), help="Largest number of images of each kind.")
@click.option("--thresholds", type=(float, float), metavar="LOW HIGH",
              help="Use these; do not choose them on the validation images.")  # fmt: skip
@click.option("--size", type=click.IntRange(min=32), default=352, show_default=True,
              help="Side of the engine's input, a multiple of 32.")  # fmt: skip
@click.option("--tensorboard", is_flag=True, help="Also log to RUN/tensorboard for TensorBoard.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One setting.")
def command(
    data: Path,
    output: Path,
    pretrain: bool,
    run_folder: Path,
    resume: bool,
    finish: str | None,
    mix_with: tuple[tuple[Path, float], ...],
    bottleneck: str,
    epochs: int | None,
    seconds: float,
    limit: int | None,
    thresholds: tuple[float, float] | None,
    size: int,
    tensorboard: bool,
    overrides: tuple[str, ...],
) -> None:
    """Train a network, choose its thresholds, and write its bundle.

    With `--set val_lists=[]` nothing is validated. The last epoch is then kept, with the
    thresholds of `start`, or those that you give.

    `--seconds` counts from the start of the command, without the writing of the bundle, and
    allows one epoch at least. `--resume` goes on after it.
    """
    deadline = time.monotonic() + seconds
    if size % 32:
        raise ConfigError(f"--size {size} is not a multiple of 32; use {round(size / 32) * 32}")
    values = {"bottleneck": bottleneck, **read_overrides(overrides)}
    settings = check_settings(values | ({"epochs": epochs} if epochs else {}))
    if finish and not resume:
        raise UsageError("--finish needs a run that exists; also give --resume")
    if pretrain:
        if finish or mix_with or thresholds or tensorboard:
            raise UsageError(
                "--pretrain writes an encoder only; leave out --finish, --mix-with, --thresholds "
                "and --tensorboard"
            )
        _pretrain(data, output, run_folder, resume, deadline, limit, settings)
        return
    others = [(read_network(folder, settings), share) for folder, share in mix_with]
    fixed = _thresholds(thresholds, settings)
    check_replaceable(output)
    images = training_data(data, settings, limit)
    if settings.unlabelled_lists:
        unlabelled = unlabelled_data(data, settings.unlabelled_lists, limit)
        trainer: Trainer = CrossTrainer(settings, run_folder, *images, unlabelled)
    else:
        trainer = Trainer(settings, run_folder, *images)
    console, steps = _prepare(trainer, resume)
    with ExitStack() as stack:
        show = stack.enter_context(progress_bar("train", steps, "steps", console))
        log = TensorBoardLog(run_folder) if tensorboard else None
        if log:
            stack.callback(log.close)

        def on_epoch(report: EpochReport) -> None:
            _print(report, settings.epochs, console)
            if log:
                log.add(report)

        network = trainer.finish(finish) if finish else trainer.run(show, on_epoch, deadline)
    trainer.devices.close()
    if not trainer.devices.is_main:
        return
    if trainer.out_of_time:
        console.print(
            f"ended after epoch {trainer.epoch} of {settings.epochs}: another one may take longer "
            f"than --seconds {seconds:g}; --resume goes on", highlight=False,
        )  # fmt: skip
    provenance = trainer.provenance()
    provenance["epoch_written"] = finish or BEST
    provenance["thresholds_from"] = "given" if thresholds else "start" if fixed else VALIDATION
    if others:
        network = mix_networks(network, [(other.network, share) for other, share in others])
        provenance["mixed_with"] = [{"share": share, **o.provenance} for o, share in others]
    bundle = finish_bundle(
        output,
        network,
        name=f"{settings.encoder}-{bottleneck_name(bottleneck_config(settings))}",
        size=size,
        data=data,
        provenance=provenance,
        thresholds=fixed,
    )
    for split, scores in bundle.manifest.metrics.items():
        shown = ", ".join(f"{key} {scores[key]:.4f}" for key in SHOWN if key in scores)
        console.print(f"{split}: {shown}", highlight=False)
    console.print(f"wrote {output}", highlight=False)


def _pretrain(
    data: Path,
    output: Path,
    run_folder: Path,
    resume: bool,
    deadline: float,
    limit: int | None,
    settings: TrainSettings,
) -> None:
    """Pre-train an encoder and write its weights to the file `output`."""
    if settings.start:
        raise ConfigError("--pretrain begins with an encoder alone; leave out start")
    if settings.input_size < 2 * CELL_PX or any(side < 2 * CELL_PX for side in settings.sides):
        raise ConfigError(f"--pretrain hides cells of {CELL_PX} px; use sides of {2 * CELL_PX} on")
    if output.suffix != ENCODER_SUFFIX:
        raise UsageError(f"--output {output}: the name of an encoder ends in {ENCODER_SUFFIX}")
    check_paths([], [("--output", output)], [])
    images = unlabelled_data(data, settings.unlabelled_lists or settings.train_lists, limit)
    trainer = Pretrainer(settings, run_folder, images, None)
    console, steps = _prepare(trainer, resume)
    with progress_bar("pre-train", steps, "steps", console) as show:
        trainer.run(show, lambda report: _print(report, settings.epochs, console), deadline)
    trainer.devices.close()
    if trainer.devices.is_main:
        write_encoder(output, trainer.finish(), trainer.provenance())
        console.print(f"wrote {output} after epoch {trainer.epoch}", highlight=False)


def _prepare(trainer: Trainer, resume: bool) -> tuple[Console, int]:
    """Load the checkpoint that is to be resumed; return the console and the steps of the run."""
    if resume:
        trainer.resume()
    elif trainer.has_checkpoint():
        raise UsageError(
            f"{trainer.folder} already holds a run; add --resume, or name another folder"
        )
    steps = trainer.settings.epochs * trainer.steps_per_epoch
    return Console(quiet=not trainer.devices.is_main), steps


def _thresholds(given: tuple[float, float] | None, settings: TrainSettings) -> Thresholds | None:
    """Return the given thresholds or those of `start`; None if validation must choose them."""
    if given:
        low, high = given
        try:
            return Thresholds(low=low, high=high, min_area_fraction=MIN_AREA_FRACTION)
        except ValidationError as error:
            raise ConfigError(f"--thresholds {low} {high}: {error.errors()[0]['msg']}") from None
    if settings.val_lists:
        return None
    if settings.start:
        return read_bundle(settings.start).manifest.thresholds
    raise UsageError(
        "no list is left to choose thresholds on; give --thresholds LOW HIGH, or "
        "--set start=BUNDLE to take the thresholds of that bundle"
    )


def _print(report: EpochReport, epochs: int, console: Console) -> None:
    text = f"epoch {report.epoch}/{epochs}: loss {report.loss:.4f}"
    if report.dice is not None:
        text += f", validation Dice {report.dice:.4f} (best {report.best:.4f})"
    console.print(f"{text}, {report.seconds:.0f} s", highlight=False)

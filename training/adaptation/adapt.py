"""Runs `qlumen adapt`, which fits a bundle to a hospital from a few outlined images."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click
from rich.console import Console

from qlumen.datasets.pairs import Pair
from qlumen.datasets.splits import pair_of, split_names, split_pairs
from qlumen.errors import TrainingError, UsageError
from qlumen.evaluation.model_card import write_records
from qlumen.evaluation.negatives import evaluate_negatives
from qlumen.evaluation.run import evaluate, means
from qlumen.networks.bundle import Bundle, check_replaceable, find_bundle, read_bundle
from qlumen.networks.export import write_bundle
from qlumen.networks.unet import UNet
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.system.files import replacing
from qlumen.system.output_paths import PATH, check_paths
from qlumen.training.adaptation.frames import check_clips, collect_frames
from qlumen.training.adaptation.students import Student, open_network, run_rounds, student_settings
from qlumen.training.data import Dataset, load_split
from qlumen.training.settings import TrainSettings, read_overrides

FINETUNE, ROUNDS = METHODS = ("finetune", "rounds")
DEFAULTS = {"epochs": 1, "batch_size": 4, "encoder_rate": 1e-5, "rate": 2e-5, "ema_decay": 0.95}
"""Chosen on half of one hospital: each larger rate, and more epochs, lost more there."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Holds what a bundle does on the images of a hospital.

    Attributes:
        dice: mean over the outlined images.
        found: number of lesion-free images with a finding.
    """

    dice: float
    outlines: int
    found: int
    lesion_free: int

    def __str__(self) -> str:
        text = f"Dice {self.dice:.4f} on {self.outlines} outlined images"
        if self.lesion_free:
            text += f", findings on {self.found} of {self.lesion_free} lesion-free images"
        return text


@click.command("adapt")
@click.option("--bundle", type=PATH, help="Bundle to fit; the shipped one in FP32 without this.")
@click.option("--data", type=PATH, required=True, help="Data folder of the lists.")
@click.option("--outlines", required=True, metavar="LIST", help="List of the outlined images.")
@click.option("--lesion-free", metavar="LIST",
              help="List of images without a lesion, for the check only.")  # fmt: skip
@click.option("--frames", "clips", multiple=True, metavar="CLIP",
              help="Video or folder of frames without outlines, for rounds.")  # fmt: skip
@click.option("--every", type=click.IntRange(min=1), default=1, show_default=True,
              help="Take each Nth frame of a clip.")  # fmt: skip
@click.option("--method", type=click.Choice(METHODS), default=FINETUNE, show_default=True)
@click.option("--output", type=PATH, required=True, help="Folder for the new bundle.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE",
              help="One setting of the training.")  # fmt: skip
def command(
    bundle: Path | None,
    data: Path,
    outlines: str,
    lesion_free: str | None,
    clips: tuple[str, ...],
    every: int,
    method: str,
    output: Path,
    overrides: tuple[str, ...],
) -> None:
    """Fit a bundle to a hospital from a few outlined images, without other training data.

    The new bundle is refused if it has a lower Dice on the outlined images, or findings on more of
    the lesion-free images. It keeps the thresholds. Make its INT8 form with `qlumen calibrate`.
    """
    if bool(clips) != (method == ROUNDS):
        raise UsageError("--method rounds needs --frames, and --method finetune takes none")
    folder = bundle or find_bundle()
    check_replaceable(output)
    check_paths([folder, data], [], [("--output", output)])
    check_clips(clips)
    base, console = read_bundle(folder), Console()
    source = ", ".join([method, *(Path(clip).name for clip in clips)])
    settings = student_settings(base, outlines, DEFAULTS, {"start": folder},
                                read_overrides(overrides))  # fmt: skip
    open_network(base)
    names = split_names(data, lesion_free) if lesion_free else []
    free = [pair_of(data, name).image for name in names]
    pairs, images = split_pairs(data, outlines), load_split(data, outlines)
    with TemporaryDirectory() as work:
        frames = collect_frames(clips, Path(work) / "frames", every).images if clips else None
        student, network = train_student(base, images, frames, settings, Path(work) / "run")
        before, after = write_unless_worse(output, network, base, student, source, pairs, free)
    console.print(f"before: {before}\nafter: {after}\nwrote {output}", highlight=False)


def train_student(
    base: Bundle, outlines: Dataset, frames: Dataset | None, settings: TrainSettings, folder: Path
) -> tuple[Student, UNet]:
    """Train from `settings.start` on outlines, and in rounds on frames too if there are any.

    Args:
        base: its encoder describes the frames.
    """
    if frames is None:
        student = Student(settings, folder, outlines)
        return student, student.run()
    last, _ = run_rounds(base, outlines, frames, settings, folder)
    assert last is not None
    return last, last.finish()


def judge(bundle: Bundle, pairs: Sequence[Pair], lesion_free: Sequence[Path]) -> Figures:
    """Run a bundle on outlined and on lesion-free images, as `qlumen evaluate` does."""
    with closing(Segmenter.open(bundle, Settings())) as segmenter:
        analysis = FrameAnalysis(segmenter, Settings(), related=False)
        dice = means(evaluate(pairs, analysis))["dice"]
        found = sum(row.findings > 0 for row in evaluate_negatives(lesion_free, analysis))
    return Figures(dice or 0.0, len(pairs), found, len(lesion_free))


def write_unless_worse(
    output: Path,
    network: UNet,
    base: Bundle,
    student: Student,
    method: str,
    pairs: Sequence[Pair],
    lesion_free: Sequence[Path],
) -> tuple[Figures, Figures]:
    """Write the network as a bundle with the thresholds of `base`; return figures of both.

    Raises:
        TrainingError: Dice is lower than that of `base`, or more lesion-free images have a
            finding; nothing is written then.
    """
    before, manifest = judge(base, pairs, lesion_free), base.manifest
    with replacing(output) as part:
        bundle = write_bundle(
            part,
            network,
            name=f"{manifest.name.removesuffix('-adapted')}-adapted",
            version=manifest.version,
            size=manifest.input.width,
            thresholds=manifest.thresholds,
            provenance={**student.provenance(), "thresholds_from": "start"},
        )
        after = judge(bundle, pairs, lesion_free)
        if after.dice < before.dice or after.found > before.found:
            raise TrainingError(
                f"the new network is worse: {after}; before: {before}; nothing was written; "
                "add outlines, or train less with --set epochs"
            )
        record = {"method": method, "before": str(before), "after": str(after)}
        provenance = {**bundle.manifest.provenance, "adapted": record}
        write_records(part, bundle.manifest.model_copy(update={"provenance": provenance}))
    read_bundle(output)
    return before, after

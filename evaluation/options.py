"""Checks the options of `qlumen evaluate`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qlumen.datasets.splits import is_lesion_free
from qlumen.errors import UsageError
from qlumen.evaluation.drawing import check_matplotlib
from qlumen.system.output_paths import check_paths


@dataclass(frozen=True, slots=True)
class Options:
    """Holds the options for inputs and drawings; four combinations of the inputs are valid."""

    images: Path | None
    masks: Path | None
    listing: Path | None
    data: Path | None
    split: tuple[str, ...]
    negatives: bool
    robustness: bool
    compare: Path | None
    video: bool
    minutes: float | None
    clip: Path | None
    boxes: Path | None
    save_masks: Path | None
    plots: Path | None
    worst: Path | None

    def paths(self) -> list[Path]:
        named = (
            self.images, self.masks, self.listing, self.data, self.clip, self.boxes, self.compare,
        )  # fmt: skip
        return [path for path in named if path]


def check_options(given: Options) -> None:
    """Raise UsageError for options that do not fit together."""
    draws = given.save_masks or given.plots or given.worst
    if (given.listing or given.save_masks) and not given.masks:
        raise UsageError("--list and --save-masks need --images with --masks")
    if (given.plots or given.worst) and not (given.masks or given.data):
        raise UsageError("--plots and --worst need --images with --masks, or --data")
    if given.split and not given.data:
        raise UsageError("--split needs --data")
    if given.robustness and not (given.masks or given.data):
        raise UsageError("--robustness needs --images with --masks, or --data")
    if given.boxes and not given.clip:
        raise UsageError("--boxes needs --clip")
    if given.minutes and not given.video:
        raise UsageError("--minutes needs --video")
    if given.video and (given.split or given.robustness or given.compare or draws):
        raise UsageError("--video plays scenes and moved images; give only --data and --minutes")
    if given.compare and not given.data:
        raise UsageError("--compare needs --data")
    for name, wanted in (("--robustness", given.robustness), ("--compare", given.compare)):
        if wanted and draws:
            raise UsageError(f"{name} draws nothing; leave out --save-masks, --plots and --worst")
    free = [name for name in given.split if is_lesion_free(name)]
    if given.robustness and free and not given.compare:
        raise UsageError(f"--robustness measures Dice, but {free[0]} lists images without a lesion")
    if draws and given.split and len(free) == len(given.split):
        raise UsageError(f"--plots and --worst need masks, but {free[0]} lists images without any")
    if given.worst and given.worst.suffix.lower() != ".png":
        raise UsageError(f"--worst {given.worst} must end in .png")
    if given.plots:
        check_matplotlib("--plots")


def check_outputs(inputs: Sequence[Path], given: Options, json_file: Path | None) -> None:
    """Raise UsageError for an output that is not writable or would replace an input."""
    files = (("--json", json_file), ("--worst", given.worst))
    folders = (("--save-masks", given.save_masks), ("--plots", given.plots))
    check_paths(
        inputs,
        [(name, path) for name, path in files if path],
        [(name, path) for name, path in folders if path],
    )

"""The options of `qlumen evaluate`: what goes together, and what would be overwritten."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from qlumen.errors import UsageError
from qlumen.evaluation.pictures import check_plotting
from qlumen.system.output_paths import check_paths


@dataclass(frozen=True, slots=True)
class Given:
    """The options that say what is scored, and what is drawn; four sets of them make sense."""

    images: Path | None
    masks: Path | None
    listing: Path | None
    data: Path | None
    split: tuple[str, ...]
    negatives: bool
    robustness: bool
    held_out: bool
    clip: Path | None
    boxes: Path | None
    save_masks: Path | None
    plots: Path | None
    worst: Path | None

    def paths(self) -> list[Path]:
        named = (self.images, self.masks, self.listing, self.data, self.clip, self.boxes)
        return [path for path in named if path]


def check_options(given: Given) -> None:
    """Raise UsageError for options that do not go together."""
    if (given.listing or given.save_masks) and not given.masks:
        raise UsageError("--list and --save-masks need --images with --masks")
    if (given.plots or given.worst) and not (given.masks or given.data):
        raise UsageError("--plots and --worst need --images with --masks, or --data")
    if given.held_out and not given.negatives:
        raise UsageError("--held-out needs --negatives")
    if given.split and not given.data:
        raise UsageError("--split needs --data")
    if given.robustness and not (given.masks or given.data):
        raise UsageError("--robustness needs --images with --masks, or --data")
    if given.robustness and (given.save_masks or given.plots or given.worst):
        raise UsageError("--robustness draws nothing; leave out --save-masks, --plots and --worst")
    if given.worst and given.worst.suffix.lower() != ".png":
        raise UsageError(f"--worst {given.worst} will be a PNG; give it the ending .png")
    if given.plots:
        check_plotting()


def check_written(inputs: Sequence[Path], given: Given, json_file: Path | None) -> None:
    """Raise UsageError for an output that cannot be written or would destroy an input."""
    files = (("--json", json_file), ("--worst", given.worst))
    folders = (("--save-masks", given.save_masks), ("--plots", given.plots))
    check_paths(
        inputs,
        [(name, path) for name, path in files if path],
        [(name, path) for name, path in folders if path],
    )

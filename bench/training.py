"""Measures how fast a run gets its batches, and how fast it trains, with and without workers.

    python bench/training.py [--json FILE] [--side PX] [--workers N ...] [--augmentation NAME]

The images are rendered frames of the scene with polyps. Batches alone are made and thrown away.
Steps are those of `qlumen train` on the device that it chooses: with the network, the optimiser
and the averaged weights, without validation. 0 workers are the thread that makes one batch ahead.
Contestants alternate and start anew in each round. The first steps fill the queues and do not
count. Ratios compare with the thread.
"""

import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from qlumen.training.augment import RANGES
from qlumen.training.batches import training_batches
from qlumen.training.data import Dataset, render_scene
from qlumen.training.loop import Trainer
from qlumen.training.settings import TrainSettings

from support.common import Row, parser, report

RENDERED_IMAGES = 36


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--side", type=int, default=352, help="side of a crop, px")
    arguments.add_argument("--batch", type=int, default=12, help="images a step")
    arguments.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    arguments.add_argument("--augmentation", choices=sorted(RANGES), default="endoscopic")
    arguments.add_argument("--workers", type=int, nargs="*", default=[1, 2], help="beside 0")
    arguments.add_argument("--threads", type=int, default=0, help="of torch; 0: torch chooses")
    arguments.add_argument("--steps", type=int, default=20, help="steps of a measurement")
    arguments.add_argument("--rounds", type=int, default=3)
    options = arguments.parse_args()
    warm_up = 2 * max(options.workers, default=0) + 2
    data = lesion_images((warm_up + options.steps) * options.batch)
    settings = TrainSettings(
        epochs=1,
        batch_size=options.batch,
        input_size=options.side,
        precision=options.precision,
        augmentation=options.augmentation,
        loss="structure",
        pretrained=False,
        threads=options.threads,
    )
    contestants: dict[str, Callable[[], float]] = {}
    for kind, rate in (("batches", batch_rate), ("steps", step_rate)):
        for workers in (0, *options.workers):
            chosen = settings.model_copy(update={"workers": workers})
            contestants[f"{kind}_{workers}"] = partial(rate, data, chosen, warm_up)
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(options.rounds):
        for name, measure in contestants.items():
            rates[name].append(measure())
    rows: list[Row] = [
        {"name": name, "images_per_s": median(found), "least": min(found), "most": max(found)}
        for name, found in rates.items()
    ]
    ratios = {
        f"{kind}_{workers}_over_thread": median(
            one / thread
            for one, thread in zip(rates[f"{kind}_{workers}"], rates[f"{kind}_0"], strict=True)
        )
        for kind in ("batches", "steps")
        for workers in options.workers
    }
    report(rows, ratios, options.json)


def lesion_images(count: int) -> Dataset:
    """Return rendered images with a polyp, repeated to a number."""
    rendered = render_scene(RENDERED_IMAGES)
    rows = np.resize(np.flatnonzero(rendered.masks.any(axis=(1, 2))), count)
    names = tuple(rendered.names[row] for row in rows)
    return Dataset(names, rendered.images[rows], rendered.masks[rows])


def batch_rate(data: Dataset, settings: TrainSettings, warm_up: int) -> float:
    """Return the images/s of batches that nobody uses."""
    batches = training_batches(
        data,
        range(settings.epochs),
        batch_size=settings.batch_size,
        sizes=(settings.input_size,),
        seed=settings.seed,
        ranges=RANGES[settings.augmentation],
        workers=settings.workers,
    )
    with closing(batches):
        ends = [time.perf_counter() for _ in batches]
    return rate_after(warm_up, ends, settings.batch_size)


def step_rate(data: Dataset, settings: TrainSettings, warm_up: int) -> float:
    """Return the images/s of an epoch's training."""
    ends: list[float] = []
    with TemporaryDirectory() as folder:
        trainer = Trainer(settings, Path(folder), data, None)
        trainer.run(on_step=lambda steps: ends.append(time.perf_counter()))
    return rate_after(warm_up, ends, settings.batch_size)


def rate_after(warm_up: int, ends: list[float], batch_size: int) -> float:
    return batch_size * (len(ends) - warm_up) / (ends[-1] - ends[warm_up - 1])


if __name__ == "__main__":
    main()

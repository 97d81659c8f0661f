"""Makes the batches of a run from seed and epoch only, ahead in a thread or in processes."""

import signal
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from qlumen.errors import TrainingError
from qlumen.training.augment import PLAIN, AugmentRanges, augment
from qlumen.training.data import Dataset
from qlumen.training.mixing import mix

Key = tuple[int, int]
"""Epoch and step of a batch, from 0."""
SIDE = 1
"""Separates the random numbers of a batch's side from those of its images."""
DEAD_WORKER = "DataLoader worker (pid"
"""Start of torch's message about a process that ended without an exception."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Holds the images and masks of a training step, in bytes.

    Attributes:
        images: `(N, 3, S, S) uint8`, RGB, channels last in memory
        masks: `(N, 1, S, S) uint8`, 0 or 1
    """

    names: tuple[str, ...]
    images: Tensor
    masks: Tensor

    def pin_memory(self) -> "Batch":
        """Copy the batch to memory that a GPU reads directly; `DataLoader` calls this."""
        return Batch(self.names, self.images.pin_memory(), self.masks.pin_memory())


def training_batches(
    data: Dataset,
    epochs: Iterable[int],
    *,
    batch_size: int,
    sizes: Sequence[int],
    seed: int,
    ranges: AugmentRanges = PLAIN,
    rank: int = 0,
    processes: int = 1,
    workers: int = 0,
    pin: bool = False,
) -> Generator[Batch, None, None]:
    """Yield the shuffled, augmented batches of epochs, one epoch after another.

    An epoch has `count_steps` batches. They are the same for each number of workers.

    Args:
        sizes: sides in pixels; each batch draws one of them with equal chance
        rank: index of this process, which gets every `processes`-th image of each batch
        workers: processes that make batches ahead; 0 makes one batch ahead in a thread
        pin: put the batches in pinned memory
    """
    count = count_steps(data, batch_size)

    def make(key: Key) -> Batch:
        epoch, step = key
        order = np.random.default_rng((seed, epoch)).permutation(len(data))
        rows = order[step * batch_size : (step + 1) * batch_size]
        side = int(np.random.default_rng((seed, epoch, int(rows[0]), SIDE)).choice(sizes))
        pairs = []
        mine = rows[rank::processes]
        for row in mine:
            rng = np.random.default_rng((seed, epoch, int(row)))
            image, mask = mix(data, int(row), rng, ranges)
            pairs.append(augment(image, mask, side, rng, ranges))
        images, masks = zip(*pairs, strict=True)
        return to_batch(tuple(data.names[row] for row in mine), np.stack(images), np.stack(masks))

    keys = [(epoch, step) for epoch in epochs for step in range(count)]
    if workers:
        yield from _make_in_processes(make, keys, workers, pin)
    else:
        yield from _make_in_thread(make, keys, pin)


@contextmanager
def explain_dead_workers() -> Iterator[None]:
    """Raise TrainingError if a worker is killed; torch reports that in the midst of any call."""
    try:
        yield
    except RuntimeError as error:
        if not str(error).startswith(DEAD_WORKER):
            raise
        raise TrainingError(
            f"{str(error).strip()} If memory ran out, resume with fewer workers"
        ) from error


def count_steps(data: Dataset, batch_size: int) -> int:
    """Return the batches of an epoch: an incomplete last one is dropped if there are others."""
    return max(1, len(data) // batch_size)


def to_batch(names: tuple[str, ...], images: NDArray[np.uint8], masks: NDArray[np.uint8]) -> Batch:
    """Hold `(N, S, S, 3)` BGR images and `(N, S, S)` masks as a batch."""
    rgb = torch.from_numpy(images[..., ::-1].copy()).permute(0, 3, 1, 2)
    return Batch(names, rgb, torch.from_numpy(masks)[:, None])


def _make_in_thread(
    make: Callable[[Key], Batch], keys: Sequence[Key], pin: bool
) -> Iterator[Batch]:
    def prepare(key: Key) -> Batch:
        batch = make(key)
        return batch.pin_memory() if pin else batch

    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = pool.submit(prepare, keys[0])
        for key in keys[1:]:
            ready, coming = coming.result(), pool.submit(prepare, key)
            yield ready
        yield coming.result()


def _make_in_processes(
    make: Callable[[Key], Batch], keys: Sequence[Key], workers: int, pin: bool
) -> Iterator[Batch]:
    """Make batches in forked processes, which share the images with this one.

    A process that starts afresh would need 4 s, 150 MiB and a copy of the images.
    """
    with warnings.catch_warnings():
        # More workers than cores are the caller's choice.
        warnings.filterwarnings("ignore", "This DataLoader will create")
        loader = DataLoader(
            _BatchesByKey(make),
            batch_size=None,
            sampler=keys,
            num_workers=workers,
            pin_memory=pin,
            multiprocessing_context="fork",
            # A forked process lacks OpenCV's threads; any other number than 0 would wait for them.
            worker_init_fn=lambda worker: cv2.setNumThreads(0),
            # Without a generator of its own, it would draw from the one of the training.
            generator=torch.Generator(),
        )
        with _block_interrupts():
            batches = iter(loader)
    try:
        yield from batches
    finally:
        # Else the traceback of an error would keep the workers.
        batches._shutdown_workers()  # type: ignore[attr-defined]


@contextmanager
def _block_interrupts() -> Iterator[None]:
    """Hold Ctrl-C back, from processes that are forked meanwhile for good.

    The terminal sends it to them too; they are told to end by this process.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _BatchesByKey(torch.utils.data.Dataset[Batch]):
    """Gives `make` the form that a DataLoader takes."""

    def __init__(self, make: Callable[[Key], Batch]) -> None:
        self.make = make

    def __getitem__(self, key: Key) -> Batch:
        return self.make(key)

"""Tests batches that forked processes make; `test_batches.py` runs this file by itself."""

import multiprocessing
import os
import signal
import sys
import time
from functools import partial
from itertools import islice
from pathlib import Path

import psutil
import pytest
import torch

from qlumen.errors import TrainingError
from qlumen.training.augment import RANGES
from qlumen.training.batches import Batch, training_batches
from qlumen.training.data import Dataset, load_split
from qlumen.training.loop import Trainer
from qlumen.training.settings import TrainSettings

SMALL = TrainSettings(
    epochs=2, batch_size=4, input_size=32, pretrained=False, threads=1, bottleneck="identity"
)
QLUMEN = Path(sys.executable).with_name("qlumen")
TIMEOUT_SECONDS = 60


@pytest.fixture(scope="module")
def train_set(scene_data: Path) -> Dataset:
    return load_split(scene_data, "train", size=96)


def test_workers_make_the_same_batches(train_set: Dataset) -> None:
    """Any number of workers gives the batches of the thread, in order, to the byte."""
    make = partial(
        training_batches, train_set, range(2, 5), batch_size=2, sizes=(32, 64), seed=5,
        ranges=RANGES["tower"],
    )  # fmt: skip
    expected = [contents(batch) for batch in make()]
    assert len(expected) == 3 * len(train_set) // 2
    for workers in (1, 2, 5):
        assert [contents(batch) for batch in make(workers=workers)] == expected


def test_workers_leave_the_random_numbers_of_the_training_alone(train_set: Dataset) -> None:
    """Weights that are drawn after the start of workers are those of a run without them."""
    make = partial(training_batches, train_set, [0], batch_size=4, sizes=(32,), seed=1)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    list(make(workers=1))
    assert torch.equal(torch.rand(3), expected)


def contents(batch: Batch) -> tuple[object, ...]:
    return batch.names, *(
        (values.shape, values.dtype, values.stride(), values.numpy().tobytes())
        for values in (batch.images, batch.masks)
    )


def test_workers_train_the_same_network(
    tmp_path: Path, scene_data: Path, train_set: Dataset
) -> None:
    """A run with workers, resumed with another number of them, ends with the weights of a run
    without, and no process is left."""
    val = load_split(scene_data, "val", size=96)
    alone = Trainer(SMALL, tmp_path / "alone", train_set, val).run().state_dict()
    stopped = Trainer(with_workers(2), tmp_path / "workers", train_set, val)
    stopped.run(deadline=time.monotonic())
    assert (stopped.epoch, stopped.out_of_time) == (1, True)
    resumed = Trainer(with_workers(1), tmp_path / "workers", train_set, val)
    resumed.resume()
    for name, value in resumed.run().state_dict().items():
        assert torch.equal(value, alone[name]), name
    assert not resumed.out_of_time
    assert not multiprocessing.active_children()


def test_error_in_a_worker_reaches_the_run(tmp_path: Path, train_set: Dataset) -> None:
    """An image that is not there raises the worker's own error, and no process is left."""
    damaged = Dataset(train_set.names, train_set.images[:5], train_set.masks)
    with pytest.raises(IndexError, match=r"index \d is out of bounds for axis 0 with size 5"):
        Trainer(with_workers(2), tmp_path, damaged, None).run()
    assert not multiprocessing.active_children()


def test_killed_worker_ends_the_run(tmp_path: Path, train_set: Dataset) -> None:
    """A worker that is killed, as by a system without memory, raises an error that says so."""
    trainer = Trainer(with_workers(2).model_copy(update={"epochs": 999}), tmp_path, train_set, None)
    with pytest.raises(TrainingError, match=r"worker .*resume with fewer workers"):
        trainer.run(on_step=lambda steps: kill_worker() if steps == 2 else None)
    assert not multiprocessing.active_children()


def kill_worker() -> None:
    worker = multiprocessing.active_children()[0]
    os.kill(worker.pid or 0, signal.SIGKILL)


def test_workers_leave_interrupts_to_the_run(train_set: Dataset) -> None:
    """Ctrl-C reaches the workers too; one that stopped by itself could print a traceback."""
    batches = training_batches(train_set, range(99), batch_size=2, sizes=(32,), seed=5, workers=1)
    next(batches)
    worker = psutil.Process(multiprocessing.active_children()[0].pid)
    worker.send_signal(signal.SIGINT)
    assert len(list(islice(batches, 20))) == 20
    assert worker.is_running()
    batches.close()


def test_batches_that_are_left_end_the_workers(train_set: Dataset) -> None:
    """A caller that stops early leaves no process."""
    batches = training_batches(
        train_set, range(99), batch_size=2, sizes=(32,), seed=5, workers=2
    )  # fmt: skip
    assert len(list(islice(batches, 3))) == 3
    assert len(multiprocessing.active_children()) == 2
    batches.close()
    assert not multiprocessing.active_children()


def with_workers(workers: int) -> TrainSettings:
    return SMALL.model_copy(update={"workers": workers})

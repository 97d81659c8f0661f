import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import torch

from qlumen.training.batches import to_batch
from qlumen.training.devices import Devices
from qlumen.training.log import LOG
from qlumen.training.settings import TrainSettings

SMALL = TrainSettings(
    epochs=2, batch_size=4, input_size=32, pretrained=False, threads=1, bottleneck="identity"
)
QLUMEN = Path(sys.executable).with_name("qlumen")
TIMEOUT_SECONDS = 60


def test_batches_in_processes() -> None:
    """The tests of worker processes pass where no other test has started threads before."""
    file = Path(__file__).with_name("batches_in_processes.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist"]
    done = subprocess.run([*command, str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b7 passed", done.stdout), done.stdout


def test_images_reach_the_network_normalised() -> None:
    """The network gets (value - 127) / 128 of each byte, red first, exactly as numpy computes it
    in single precision."""
    images = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    images = np.concatenate([images, images[:, ::-1]]) + np.array([0, 1, 2], np.uint8)
    seen = Devices(SMALL).forward(
        torch.nn.Identity(), to_batch(("a", "b"), images, images[..., 0] > 9).images
    )
    rgb = images[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
    expected = (rgb - np.float32(127)) / np.float32(128)
    assert seen.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(seen.numpy(), expected)


def test_interrupt_leaves_no_process(tmp_path: Path, scene_data: Path) -> None:
    """Ctrl-C, which the terminal sends to all processes, ends the command with one line."""
    arguments = ["--data", scene_data, "--output", tmp_path / "bundle", "--run", tmp_path / "run"]
    arguments += ["--epochs", 999, "--bottleneck", "identity"]
    for setting in ("workers=2", "batch_size=4", "input_size=32", "pretrained=false", "threads=1"):
        arguments += ["--set", setting]
    process = subprocess.Popen(
        [str(part) for part in (QLUMEN, "train", *arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        await_file(tmp_path / "run" / LOG, process)
        workers = psutil.Process(process.pid).children()
        os.killpg(process.pid, signal.SIGINT)
        _, messages = process.communicate(timeout=TIMEOUT_SECONDS)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert messages.split() == ["qlumen:", "interrupted"]
    assert len(workers) == 2
    gone, alive = psutil.wait_procs(workers, timeout=TIMEOUT_SECONDS)
    assert (len(gone), alive) == (2, [])


def await_file(path: Path, process: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + TIMEOUT_SECONDS
    while not path.exists():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)

import csv
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from qlumen.errors import TrainingError
from qlumen.training import devices
from qlumen.training.batches import training_batches
from qlumen.training.build import build_network
from qlumen.training.data import Dataset, load_split
from qlumen.training.devices import Devices
from qlumen.training.log import LOG
from qlumen.training.loop import Trainer
from qlumen.training.settings import TrainSettings

SMALL = TrainSettings(
    epochs=1, batch_size=4, input_size=64, bottleneck="vqc", pretrained=False, threads=1
)
PROGRAM = Path(__file__).parents[1] / "support" / "two_processes.py"
TIMEOUT_SECONDS = 300


def test_two_processes_end_with_one_network(tmp_path: Path, scene_data: Path) -> None:
    """Each process trains on its half of every batch. Both end with the same changed weights, and
    only one writes the log."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    group = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    group |= {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(PROGRAM), str(scene_data), str(tmp_path)]
    started = [
        subprocess.Popen(command, env=os.environ | group | {"RANK": rank, "LOCAL_RANK": rank})
        for rank in ("0", "1")
    ]
    try:
        assert [process.wait(TIMEOUT_SECONDS) for process in started] == [0, 0]
    finally:
        for process in started:
            process.kill()
            process.wait()
    one, two = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1))
    trained = [name for name in one if name.endswith(("weight", "gate"))]
    for name in trained:
        assert torch.equal(one[name], two[name]), name
    assert float(one["bottleneck.gate"]) != pytest.approx(0.1, abs=1e-7)
    with (tmp_path / "run" / LOG).open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1"]


def test_processes_share_a_batch(scene_data: Path) -> None:
    """Two halves hold each image of the whole batch once, with the same augmentation."""
    data = load_split(scene_data, "train", size=64)

    def batches(**share: int) -> list[tuple[tuple[str, ...], torch.Tensor]]:
        result = training_batches(data, [0], batch_size=4, sizes=(32, 64), seed=1, **share)
        return [(batch.names, batch.images) for batch in result]

    whole = batches()
    halves = [batches(rank=rank, processes=2) for rank in (0, 1)]
    for (names, images), *parts in zip(whole, *halves, strict=True):
        by_name = dict(zip(names, images, strict=True))
        assert sorted(parts[0][0] + parts[1][0]) == sorted(names)
        for part_names, part_images in parts:
            for name, image in zip(part_names, part_images, strict=True):
                assert torch.equal(image, by_name[name])


class ThreeProcesses:
    """Stands for an accelerator among three processes."""

    device, is_main_process = torch.device("cpu"), True
    num_processes, process_index = 3, 0

    def __init__(self, cpu: bool) -> None:
        pass


def test_batch_that_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of 4 images for 3 processes raises an error."""
    monkeypatch.setattr(devices, "Accelerator", ThreeProcesses)
    with pytest.raises(TrainingError, match="use a multiple of 3"):
        Devices(SMALL)


def test_depthwise_layers_run_in_single_precision_on_a_cpu() -> None:
    """In bf16 a depthwise layer's gradients are those of single precision on rounded inputs, and
    its output stays bf16. Other layers and other precisions do not change."""
    rng = np.random.default_rng(0)
    half = Devices(SMALL.model_copy(update={"precision": "bf16", "device": "cpu"}))
    plain = Devices(SMALL.model_copy(update={"device": "cpu"}))
    network, single = half.place(build_network(SMALL)), plain.place(build_network(SMALL))
    layers = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.groups > 1]
    layer = layers[0]
    images = torch.from_numpy(rng.standard_normal((2, layer.in_channels, 9, 9)).astype(np.float32))
    with torch.autocast("cpu", torch.bfloat16):
        output = layer(images.bfloat16())
    assert output.dtype == torch.bfloat16
    output.float().square().sum().backward()
    wanted = nn.functional.conv2d(
        images.bfloat16().float(), layer.weight, None, layer.stride, layer.padding, 1, layer.groups
    )
    (gradient,) = torch.autograd.grad(wanted.bfloat16().float().square().sum(), layer.weight)
    torch.testing.assert_close(layer.weight.grad, gradient, rtol=1e-2, atol=1e-2)
    changed = [m for m in network.modules() if "forward" in vars(m)]
    assert changed == layers
    assert not [m for m in single.modules() if "forward" in vars(m)]


@pytest.mark.gpu
def test_run_on_a_gpu(tmp_path: Path, scene_data: Path) -> None:
    """An epoch in mixed precision with a circuit runs on the GPU and resumes."""
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    data: Dataset = load_split(scene_data, "train", size=64)
    assert np.any(data.masks)
    for bottleneck in ("vqc", "hqconv"):
        settings = SMALL.model_copy(update={"precision": "bf16", "bottleneck": bottleneck})
        trainer = Trainer(settings, tmp_path / bottleneck, data, data)
        trainer.run()
        assert next(trainer.network.parameters()).device.type == "cuda"
        resumed = Trainer(settings, tmp_path / bottleneck, data, data)
        resumed.resume()
        assert resumed.epoch == 1

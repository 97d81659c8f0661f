"""Places a run on the CPU, a GPU, or several processes, through Accelerate.

`torchrun` or `accelerate launch` starts several processes, all with the same command. One
process on the CPU gives the same result as without Accelerate.
"""

from types import MethodType

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from torch import Tensor, nn

from qlumen.errors import TrainingError
from qlumen.networks.encoder import MEAN, STD
from qlumen.networks.unet import UNet
from qlumen.training.settings import TrainSettings


class Devices:
    """Describes this process: its device and its place among the processes of the run.

    Attributes:
        is_main: whether this process writes checkpoints and logs; only one process does
        is_gpu: whether the device is a GPU, which reads pinned memory without a stop
        processes: number of processes
        rank: index of this process, from 0
    """

    def __init__(self, settings: TrainSettings) -> None:
        self._accelerator = Accelerator(cpu=settings.device == "cpu")
        self._half = settings.precision == "bf16"
        self.device: torch.device = self._accelerator.device
        self.is_main: bool = self._accelerator.is_main_process
        self.is_gpu: bool = self.device.type == "cuda"
        self.processes: int = self._accelerator.num_processes
        self.rank: int = self._accelerator.process_index
        if settings.batch_size % self.processes:
            raise TrainingError(
                f"batch_size {settings.batch_size} cannot be shared by {self.processes} processes; "
                f"use a multiple of {self.processes}"
            )

    def place(self, network: UNet) -> UNet:
        """Move a network to the device, with channels last, which convolutions read faster."""
        for weight in (*network.parameters(), *network.buffers()):
            layout = torch.channels_last if weight.dim() == 4 else torch.preserve_format
            weight.data = weight.data.to(self.device, memory_format=layout)
        if self._half and self.device.type == "cpu":
            for layer in network.modules():
                if isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1:
                    layer.forward = MethodType(_convolve_in_single, layer)  # type: ignore
        return network

    def wrap(self, network: nn.Module) -> nn.Module:
        """Prepare the network for training passes; gradients are means over processes."""
        wrapped: nn.Module = self._accelerator.prepare_model(network)
        return wrapped

    def forward(self, network: nn.Module, images: Tensor, *others: Tensor) -> Tensor:
        """Normalise images on the device and compute the network's output.

        Args:
            images: `(N, 3, S, S) uint8`, RGB
            others: what else the network takes

        Returns:
            the output in single precision, computed in the precision of the settings
        """
        pixels = self.move(images).to(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self._half):
            output: Tensor = network((pixels - MEAN) / STD, *others).float()
        return output

    def move(self, values: Tensor) -> Tensor:
        """Copy bytes to the device and return them in single precision."""
        return values.to(self.device, non_blocking=True).float()

    def agree(self, value: float | None) -> float | None:
        """Return the main process's value in all processes, because all must decide the same."""
        box = [value]
        if self.processes > 1:
            broadcast_object_list(box)
        return box[0]

    def wait(self) -> None:
        """Wait until all processes have reached this point."""
        self._accelerator.wait_for_everyone()

    def close(self) -> None:
        """Leave the group of processes, if there are several."""
        if self.processes > 1:
            self._accelerator.end_training()


def _convolve_in_single(layer: nn.Conv2d, images: Tensor) -> Tensor:
    """Run a depthwise convolution in single precision.

    On a CPU its backward pass is three to five times as slow in bf16.
    """
    with torch.autocast("cpu", enabled=False):
        wide: Tensor = nn.Conv2d.forward(layer, images.float())
    return wide.to(images.dtype)

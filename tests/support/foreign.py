"""Makes small networks in the forms that `qlumen import` reads."""

from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from qlumen.networks.foreign.description import Facts

HEIGHT, WIDTH = 48, 64
ANSWERS = Facts(
    channels="rgb", normalise="imagenet", fit="stretch", activation="sigmoid", licence="MIT"
)


class Small(nn.Module):
    """Computes logits `(N, classes, H/2, W/2)` of an image."""

    def __init__(self, classes: int = 1, channels: int = 3, channels_last: bool = False) -> None:
        super().__init__()
        self.channels_last = channels_last
        self.first = nn.Conv2d(channels, 8, 3, 2, 1)
        self.norm = nn.BatchNorm2d(8)
        self.last = nn.Conv2d(8, classes, 3, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        if self.channels_last:
            x = x.permute(0, 3, 1, 2)
        y = self.last(torch.relu(self.norm(self.first(x))))
        return y.permute(0, 2, 3, 1) if self.channels_last else y


def make_small(classes: int = 1, channels: int = 3, channels_last: bool = False) -> Small:
    torch.manual_seed(3)
    network = Small(classes, channels, channels_last).eval()
    with torch.no_grad():
        network.last.weight.mul_(4)
        network.first.weight.mul_(4)
    return network


def write_onnx(network: nn.Module, path: Path, *shape: int) -> Path:
    torch.onnx.export(
        network, (torch.zeros(shape),), path, dynamo=False, input_names=["x"], output_names=["y"]
    )
    return path


def add_activation(path: Path, operator: str, **attributes: Any) -> Path:
    """Append an operator to the output of an ONNX file."""
    model = onnx.load(path)
    output = model.graph.output[0]
    model.graph.node.append(helper.make_node(operator, [output.name], ["z"], **attributes))
    type_ = TensorProto.INT64 if operator == "ArgMax" else TensorProto.FLOAT
    sides = [dim.dim_value for dim in output.type.tensor_type.shape.dim]
    sides[1] = 1 if operator == "ArgMax" else sides[1]
    model.graph.output.remove(output)
    model.graph.output.append(helper.make_tensor_value_info("z", type_, sides))
    onnx.save(model, path)
    return path

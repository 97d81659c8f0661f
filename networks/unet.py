"""Builds the segmentation network: encoder, quantum bottleneck, decoder, head."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qlumen.networks.bottlenecks import BottleneckConfig, make_bottleneck
from qlumen.networks.encoder import Encoder, conv_bn

OUTPUT_STRIDE = 2
"""Input pixels per pixel of the logit map, in each direction."""


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """Describes a network, so that it can be built again.

    Attributes:
        decoder_channels: widths at strides 16, 8, 4 and 2.
        bottleneck: part at stride 32.
        encoder: one of `ENCODERS`.
    """

    decoder_channels: tuple[int, int, int, int] = (80, 56, 40, 24)
    bottleneck: BottleneckConfig = field(default_factory=BottleneckConfig)
    encoder: str = "lite0"


class UNet(nn.Module):
    """Maps `(N, 3, H, W)` normalised RGB to logits `(N, 1, H/2, W/2)`.

    The channels with the encoder Lite0:

        stride      2     4     8    16    32
        encoder    16 -> 24 -> 40 -> 112 -> 320
                    |     |     |     |     bottleneck
        decoder    24 <- 40 <- 56 <- 80 <---'
        head        1

    The map stays at stride 2. The post-processing interpolates it to the frame's own size
    anyway, and a decoder stage at stride 1 would cost as much as all others.
    """

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        config = config or NetworkConfig()
        self.config = config
        self.encoder = Encoder(config.encoder)
        *skips, deepest = self.encoder.channels
        self.bottleneck = make_bottleneck(config.bottleneck, deepest)
        stages = []
        below = deepest
        for skip, width in zip(reversed(skips), config.decoder_channels, strict=True):
            stages.append(UpStage(below, skip, width))
            below = width
        self.decoder = nn.ModuleList(stages)
        self.head = nn.Conv2d(below, 1, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        check_input_size(x.shape[-2], x.shape[-1])
        *skips, deepest = self.encoder(x)
        x = self.bottleneck(deepest)
        for stage, skip in zip(self.decoder, reversed(skips), strict=True):
            x = stage(x, skip)
        return self.head(x)


class UpStage(nn.Module):
    """Upsamples by 2 to nearest values, joins the skip, and applies two full 3x3 convolutions."""

    def __init__(self, below: int, skip: int, width: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            conv_bn(below + skip, width, kernel=3), conv_bn(width, width, kernel=3)
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        x = F.interpolate(x, scale_factor=2.0, mode="nearest")
        return self.convs(torch.cat([x, skip], dim=1))


def check_input_size(height: int, width: int) -> None:
    """Raise ValueError unless both sizes are multiples of the encoder's stride."""
    if height % Encoder.stride or width % Encoder.stride:
        good = [max(1, round(size / Encoder.stride)) * Encoder.stride for size in (height, width)]
        raise ValueError(
            f"input {height}x{width} is not a multiple of {Encoder.stride}; use {good[0]}x{good[1]}"
        )

"""Defines the common U-Net, 64 to 1024 channels, for comparison."""

import torch
from torch import Tensor, nn

WIDTHS = (64, 128, 256, 512, 1024)


class ClassicUNet(nn.Module):
    """Builds the U-Net of Ronneberger et al. 2015, padded, with batch norm; 31 million weights."""

    def __init__(self) -> None:
        super().__init__()
        inputs = (3, *WIDTHS[:-1])
        self.down = nn.ModuleList(_block(i, o) for i, o in zip(inputs, WIDTHS, strict=True))
        pairs = list(zip(WIDTHS[::-1], WIDTHS[-2::-1], strict=False))
        self.up = nn.ModuleList(nn.ConvTranspose2d(i, o, 2, stride=2) for i, o in pairs)
        self.merge = nn.ModuleList(_block(i, o) for i, o in pairs)
        self.head = nn.Conv2d(WIDTHS[0], 1, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        skips = []
        for level, block in enumerate(self.down):
            x = block(nn.functional.max_pool2d(x, 2) if level else x)
            skips.append(x)
        skips.pop()
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat([skips.pop(), up(x)], dim=1))
        return torch.sigmoid(self.head(x))


def _block(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [
            nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)

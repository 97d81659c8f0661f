"""Prepares the input of a network, and reads one map from its outputs, as torch modules.

They run with the original in its own runtime, and are parts of the graph of the bundle.
"""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from qlumen.networks.foreign.description import Facts, Foreign, parse_normalisation

LUMA = (0.114, 0.587, 0.299)
"""Weights of B, G and R in grey (ITU-R BT.601)."""
PROBABILITY_STEP = 1e-7
SMALLEST_STD = 1e-8
SURE = 16.0
"""Log-odds of a label, and below zero of what lies outside of all boxes."""
SCORE = 0.25
"""Least score of a box, as Ultralytics predicts by default."""
BOXES = 100
"""Most boxes whose masks are computed."""
Shapes = Sequence[Sequence[int]]


class Prepare(nn.Module):
    """Makes the network's input `(1, C, H, W)` of `(1, H, W, 3) uint8` BGR."""

    mean: Tensor
    std: Tensor
    luma: Tensor

    def __init__(self, foreign: Foreign, facts: Facts, dtype: torch.dtype) -> None:
        super().__init__()
        self.facts, self.channels_last, self.dtype = facts, foreign.channels_last, dtype
        self.fixed = parse_normalisation(facts)
        mean, std = (torch.tensor(part).view(1, -1, 1, 1) for part in self.fixed or ((0,), (1,)))
        self.register_buffer("mean", mean.float())
        self.register_buffer("std", std.float())
        self.register_buffer("luma", torch.tensor(LUMA).view(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        x = image.float().permute(0, 3, 1, 2)
        if self.facts.channels == "rgb":
            x = x.flip(1)
        elif self.facts.channels == "grey":
            x = (x * self.luma).sum(1, keepdim=True)
        if self.fixed is None:
            x = x - x.mean((2, 3), keepdim=True)
            x = x / (x * x).mean((2, 3), keepdim=True).sqrt().clamp(min=SMALLEST_STD)
        else:
            x = (x - self.mean) / self.std
        x = x.transpose(2, 3) if self.facts.axes == "xy" else x
        return (x.permute(0, 2, 3, 1) if self.channels_last else x).to(self.dtype)


class ReadAll(nn.Module):
    """Makes probabilities `(1, 1 + k, h, w)` of the drawn class and k others, by a reader each."""

    def __init__(self, readers: Iterable[nn.Module]) -> None:
        super().__init__()
        self.readers = nn.ModuleList(readers)

    def forward(self, *outputs: Tensor) -> Tensor:
        return torch.sigmoid(torch.cat([read(*outputs) for read in self.readers], 1))


class ReadMap(nn.Module):
    """Makes logits `(1, 1, h, w)` of one class.

    The output is `(1, C, h, w)`, `(1, h, w, C)` or `(1, h, w)`, of floats or labels. There are
    fewer classes than rows.
    """

    def __init__(self, facts: Facts, shapes: Shapes = ()) -> None:
        super().__init__()
        assert facts.target
        self.facts, self.number = facts, facts.target[1]

    def forward(self, values: Tensor) -> Tensor:
        if values.dim() == 3:
            values = values[:, None]
        elif values.shape[3] < values.shape[1]:
            values = values.permute(0, 3, 1, 2)
        if not values.is_floating_point():
            logits = torch.where(values == self.number, SURE, -SURE)
        else:
            logits = self._logits(values.float())
        return logits.transpose(2, 3) if self.facts.axes == "xy" else logits

    def _logits(self, values: Tensor) -> Tensor:
        chosen = values[:, self.number : self.number + 1]
        if self.facts.activation == "none":
            inside = chosen.clamp(PROBABILITY_STEP, 1 - PROBABILITY_STEP)
            return torch.log(inside) - torch.log(1 - inside)
        if self.facts.activation == "sigmoid":
            return chosen
        others = torch.cat([values[:, : self.number], values[:, self.number + 1 :]], 1)
        greatest = others.amax(1, keepdim=True)
        return chosen - greatest - (others - greatest).exp().sum(1, keepdim=True).log()


class ReadBoxes(nn.Module):
    """Makes logits `(1, 1, h, w)` of boxes and prototypes, the layout of `-seg` exports.

        boxes         (1, 4 + classes + P, N)  x, y, width, height; probabilities; coefficients
        boxes, chosen (1, N, 6 + P)            x0, y0, x1, y1; score; class; coefficients
        prototypes    (1, P, h, w)

    The logits of a mask are its coefficients times the prototypes, inside of its box. A pixel of
    the map is above one half where a box with a score of `SCORE` or more has a mask above one
    half: the map is the greatest, over the boxes, of the lesser of both log-odds. Boxes of one
    lesion are not suppressed, since their masks join. See docs.ultralytics.com/tasks/segment.
    """

    scale: Tensor
    x: Tensor
    y: Tensor

    def __init__(self, facts: Facts, shapes: Shapes, chosen: bool) -> None:
        super().__init__()
        assert facts.size
        assert facts.target
        _, self.count, rows, columns = shapes[1]
        self.number, self.chosen = facts.target[1], chosen
        scale = (columns / facts.size[0], rows / facts.size[1])
        self.register_buffer("scale", torch.tensor(scale * 2))
        self.register_buffer("x", torch.arange(columns).view(1, 1, -1).float())
        self.register_buffer("y", torch.arange(rows).view(1, -1, 1).float())

    def forward(self, boxes: Tensor, prototypes: Tensor) -> Tensor:
        found = boxes[0].float()
        if self.chosen:
            scores = torch.where(found[:, 5] == self.number, found[:, 4], 0.0)
            edges = found[:, :4]
        else:
            found = found.transpose(0, 1)
            scores = found[:, 4 + self.number]
            centre, half = found[:, :2], found[:, 2:4] / 2
            edges = torch.cat([centre - half, centre + half], 1)
        score, index = scores.topk(min(BOXES, scores.shape[0]))
        coefficients = found[:, -self.count :][index]
        x0, y0, x1, y1 = (edges[index] * self.scale)[:, :, None, None].unbind(1)
        masks = torch.matmul(coefficients, prototypes[0].float().flatten(1))
        masks = masks.view(-1, self.y.shape[1], self.x.shape[2])
        score = score.clamp(1e-6, 1 - 1e-6)[:, None, None]
        odds = torch.log(score / (1 - score)) - math.log(SCORE / (1 - SCORE))
        inside = (self.x >= x0) & (self.x < x1) & (self.y >= y0) & (self.y < y1)
        values = torch.where(inside, torch.minimum(masks, odds), -SURE)
        return values.amax(0)[None, None]

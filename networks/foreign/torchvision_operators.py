"""Lets torchvision be imported where its compiled operators do not load.

Its wheels are built for CUDA's torch. With a CPU build of torch, the Python part, which timm and
segmentation_models.pytorch import, only needs the declaration of two operators. Nothing here
calls them.
"""

from contextlib import suppress

import torch

LIBRARY = torch.library.Library("torchvision", "FRAGMENT")


def declare() -> None:
    """Declare the operators. Call this before torchvision is imported."""
    for operator in ("nms", "qnms"):
        with suppress(RuntimeError):  # the compiled ones are there
            LIBRARY.define(f"{operator}(Tensor dets, Tensor scores, float threshold) -> Tensor")

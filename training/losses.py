"""Losses on logits, and the score that validation watches."""

from torch import Tensor
from torch.nn import functional as F

SMOOTHING_PX = 1.0
"""Added to both sides of the Dice ratio, so that an empty mask has a gradient."""


def bce_dice(logits: Tensor, masks: Tensor) -> Tensor:
    """Binary cross-entropy plus soft Dice loss, each averaged over the batch.

    Images without a lesion have no Dice term: it would punish one faint pixel as much as a
    whole false finding.

    Args:
        logits: `(N, 1, h, w)`, interpolated to the masks' size first.
        masks: `(N, 1, H, W)` float, 0 or 1.
    """
    logits = F.interpolate(logits, size=masks.shape[-2:], mode="bilinear", align_corners=False)
    lesions = masks.flatten(1).any(1)
    dice = soft_dice_loss(logits[lesions], masks[lesions]) if lesions.any() else 0.0
    return F.binary_cross_entropy_with_logits(logits, masks) + dice


def soft_dice_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """1 - Dice of the probabilities, per image, averaged (Milletari et al. 2016, unsquared)."""
    probability = logits.sigmoid().flatten(1)
    target = masks.flatten(1)
    overlap = (probability * target).sum(1)
    total = probability.sum(1) + target.sum(1)
    return (1 - (2 * overlap + SMOOTHING_PX) / (total + SMOOTHING_PX)).mean()


def dice_per_image(logits: Tensor, masks: Tensor) -> Tensor:
    """`(N,)` Dice of {probability >= 0.5}; two empty masks score 1."""
    logits = F.interpolate(logits, size=masks.shape[-2:], mode="bilinear", align_corners=False)
    found = (logits >= 0).flatten(1).float()
    target = masks.flatten(1)
    total = found.sum(1) + target.sum(1)
    overlap = (2 * (found * target).sum(1)).where(total > 0, total.new_ones(()))
    return overlap / total.clamp(min=1)

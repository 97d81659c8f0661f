"""Losses on logits, and the scores that validation watches."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional as F

SMOOTHING_PX = 1.0
"""Added to both sides of the Dice ratio, so that an empty mask has a gradient."""
BORDER_WINDOW_PX = 31
BORDER_WEIGHT = 5.0
MISSED_WEIGHT = 0.7
"""Of a missed pixel in the Tversky ratio; a falsely found one weighs the rest to 1."""
MIN_FOUND_SHARE = 0.0005
"""Of the picture: less is noise more often than a polyp."""


def bce_dice(logits: Tensor, masks: Tensor) -> Tensor:
    """Binary cross-entropy plus soft Dice loss, each averaged over the batch.

    Images without a lesion have no Dice term: it would punish one faint pixel as much as a
    whole false finding. The same holds for the other losses.

    Args:
        logits: `(N, 1, h, w)`, interpolated to the masks' size first.
        masks: `(N, 1, H, W)` float, 0 or 1.
    """
    logits = _at_size_of(masks, logits)
    return F.binary_cross_entropy_with_logits(logits, masks) + _on_lesions(
        soft_dice_loss, logits, masks
    )


def structure(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy weighted towards the lesions' borders, plus soft Dice loss.

    The weight of a pixel is 1 + 5 |mean of the mask in 31x31 around it - mask| (Wei et al.
    2020, F3Net); an image's cross-entropy is the weighted mean of its pixels. Shapes as in
    `bce_dice`.
    """
    logits = _at_size_of(masks, logits)
    weights = border_weights(masks)
    entropy = F.binary_cross_entropy_with_logits(logits, masks, reduction="none")
    weighted = (entropy * weights).sum((1, 2, 3)) / weights.sum((1, 2, 3))
    return weighted.mean() + _on_lesions(soft_dice_loss, logits, masks)


def tversky(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy plus the Tversky loss, which weighs missed pixels 0.7 and false ones 0.3
    (Salehi et al. 2017). Shapes as in `bce_dice`.
    """
    logits = _at_size_of(masks, logits)
    return F.binary_cross_entropy_with_logits(logits, masks) + _on_lesions(
        tversky_loss, logits, masks
    )


LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {"bce_dice": bce_dice, "structure": structure, "tversky": tversky}
)


def soft_dice_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """1 - Dice of the probabilities, per image, averaged (Milletari et al. 2016, unsquared)."""
    probability = logits.sigmoid().flatten(1)
    target = masks.flatten(1)
    overlap = (probability * target).sum(1)
    total = probability.sum(1) + target.sum(1)
    return (1 - (2 * overlap + SMOOTHING_PX) / (total + SMOOTHING_PX)).mean()


def tversky_loss(logits: Tensor, masks: Tensor, missed_weight: float = MISSED_WEIGHT) -> Tensor:
    """1 - Tversky index of the probabilities, per image, averaged; at a weight of 0.5 one of
    twice the smoothing is `soft_dice_loss`.
    """
    probability = logits.sigmoid().flatten(1)
    target = masks.flatten(1)
    overlap = (probability * target).sum(1)
    missed = ((1 - probability) * target).sum(1)
    false = (probability * (1 - target)).sum(1)
    whole = overlap + missed_weight * missed + (1 - missed_weight) * false
    return (1 - (overlap + SMOOTHING_PX) / (whole + SMOOTHING_PX)).mean()


def border_weights(masks: Tensor) -> Tensor:
    """The weights of `structure`, 1 to 6; outside the picture there is no lesion."""
    near = F.avg_pool2d(masks, BORDER_WINDOW_PX, stride=1, padding=BORDER_WINDOW_PX // 2)
    return 1 + BORDER_WEIGHT * (near - masks).abs()


def dice_per_image(logits: Tensor, masks: Tensor) -> Tensor:
    """`(N,)` Dice of {probability >= 0.5}; two empty masks score 1."""
    found = (_at_size_of(masks, logits) >= 0).flatten(1).float()
    target = masks.flatten(1)
    total = found.sum(1) + target.sum(1)
    overlap = (2 * (found * target).sum(1)).where(total > 0, total.new_ones(()))
    return overlap / total.clamp(min=1)


def finds_something(logits: Tensor) -> Tensor:
    """`(N,)` bool: whether {probability >= 0.5} covers 0.05% of the picture or more."""
    return (logits >= 0).flatten(1).float().mean(1) >= MIN_FOUND_SHARE


def _at_size_of(masks: Tensor, logits: Tensor) -> Tensor:
    return F.interpolate(logits, size=masks.shape[-2:], mode="bilinear", align_corners=False)


def _on_lesions(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, masks: Tensor) -> Tensor:
    lesions = masks.flatten(1).any(1)
    return loss(logits[lesions], masks[lesions]) if lesions.any() else torch.zeros(())

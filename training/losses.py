"""Computes losses on logits, and the scores for validation."""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn import functional as F

SMOOTHING_PX = 1.0
"""Added to both sides of the Dice ratio, so that an empty mask has a gradient."""
BORDER_WINDOW_PX = 31
"""Side of the window in which a pixel counts as near a lesion's border."""
STRONGEST_SHARE = 0.001
"""Share of the image's pixels that decide whether something is found."""
BORDER_WEIGHT = 5.0
MISSED_WEIGHT = 0.7
"""Weight of a missed pixel in the Tversky ratio; a false pixel weighs 1 minus this."""
MIN_FOUND_SHARE = 0.0005
"""Share of the image. A smaller area is noise more often than a polyp."""


def bce_dice(logits: Tensor, masks: Tensor) -> Tensor:
    """Add binary cross-entropy and soft Dice loss, each averaged over the batch.

    Images without a lesion have no Dice term: it would punish one faint pixel as much as a
    whole false finding. The same holds for the other losses.

    Args:
        logits: `(N, 1, h, w)`, interpolated to the masks' size first
        masks: `(N, 1, H, W)` float, 0 or 1
    """
    logits = _resize(logits, masks)
    return F.binary_cross_entropy_with_logits(logits, masks) + _on_lesions(
        soft_dice_loss, logits, masks
    )


def structure(logits: Tensor, masks: Tensor) -> Tensor:
    """Add cross-entropy with more weight near lesions' borders, and soft Dice loss.

    The weight of a pixel is 1 + 5 |mean of the mask in 31x31 around it - mask| (Wei et al.
    2020, F3Net). The cross-entropy of an image is the weighted mean of its pixels. Shapes are
    those of `bce_dice`.
    """
    logits = _resize(logits, masks)
    weights = border_weights(masks)
    entropy = F.binary_cross_entropy_with_logits(logits, masks, reduction="none")
    weighted = (entropy * weights).sum((1, 2, 3)) / weights.sum((1, 2, 3))
    return weighted.mean() + _on_lesions(soft_dice_loss, logits, masks)


def tversky(logits: Tensor, masks: Tensor) -> Tensor:
    """Add cross-entropy and the Tversky loss (Salehi et al. 2017).

    Missed pixels weigh 0.7 and false pixels 0.3. Shapes are those of `bce_dice`.
    """
    logits = _resize(logits, masks)
    return F.binary_cross_entropy_with_logits(logits, masks) + _on_lesions(
        tversky_loss, logits, masks
    )


LOSSES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {"bce_dice": bce_dice, "structure": structure, "tversky": tversky}
)


def soft_dice_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the mean over images of 1 - Dice (Milletari et al. 2016, unsquared)."""
    probability = logits.sigmoid().flatten(1)
    target = masks.flatten(1)
    overlap = (probability * target).sum(1)
    total = probability.sum(1) + target.sum(1)
    return (1 - (2 * overlap + SMOOTHING_PX) / (total + SMOOTHING_PX)).mean()


def tversky_loss(logits: Tensor, masks: Tensor, missed_weight: float = MISSED_WEIGHT) -> Tensor:
    """Return the mean over images of 1 - Tversky index of the probabilities.

    At a weight of 0.5 it is `soft_dice_loss` with twice the smoothing.
    """
    probability = logits.sigmoid().flatten(1)
    target = masks.flatten(1)
    overlap = (probability * target).sum(1)
    missed = ((1 - probability) * target).sum(1)
    false = (probability * (1 - target)).sum(1)
    whole = overlap + missed_weight * missed + (1 - missed_weight) * false
    return (1 - (overlap + SMOOTHING_PX) / (whole + SMOOTHING_PX)).mean()


def presence_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the cross-entropy of the strongest pixels of the background and of the lesions.

    A finding begins where the strongest pixel passes a threshold. The other losses average over
    all pixels, so a small false finding costs them nearly nothing. Here the 0.1% of the image with
    the largest logits stand for each of the two (hard examples, as in Shrivastava
    et al. 2016). Background
    is what lies 15 px and more from a lesion. Shapes are those of `bce_dice`.
    """
    logits = _resize(logits, masks)
    near = _along_both(F.max_pool2d, masks)
    return _strongest(logits, near == 0, 0.0) + _strongest(logits, masks > 0, 1.0)


def _strongest(logits: Tensor, where: Tensor, truth: float) -> Tensor:
    """Return the cross-entropy of the largest logits in the region, averaged over its images."""
    count = max(1, round(STRONGEST_SHARE * logits[0].numel()))
    inside, places = where.flatten(1).any(1), logits.masked_fill(~where, -math.inf).flatten(1)
    if not inside.any():
        return torch.zeros(())
    strongest = places[inside].topk(count, dim=1).values
    held = strongest.isfinite()
    values = strongest.masked_fill(~held, 0)
    entropy = F.binary_cross_entropy_with_logits(
        values, torch.full_like(values, truth), reduction="none"
    )
    return ((entropy * held).sum(1) / held.sum(1)).mean()


def border_weights(masks: Tensor) -> Tensor:
    """Return the weights of `structure`, 1 to 6; pixels outside the image are no lesion."""
    near = _along_both(F.avg_pool2d, masks)
    return 1 + BORDER_WEIGHT * (near - masks).abs()


def dice_per_image(logits: Tensor, masks: Tensor) -> Tensor:
    """Return the `(N,)` Dice of {probability >= 0.5}; two empty masks score 1."""
    found = (_resize(logits, masks) >= 0).flatten(1).float()
    target = masks.flatten(1)
    total = found.sum(1) + target.sum(1)
    overlap = (2 * (found * target).sum(1)).where(total > 0, total.new_ones(()))
    return overlap / total.clamp(min=1)


def finds_something(logits: Tensor) -> Tensor:
    """Return `(N,)` bool: True where {probability >= 0.5} covers at least 0.05% of the image."""
    return (logits >= 0).flatten(1).float().mean(1) >= MIN_FOUND_SHARE


def _along_both(pool: Callable[..., Tensor], masks: Tensor) -> Tensor:
    """Pool over the border window, rows first and then columns: 31 + 31 reads, not 31 x 31."""
    side, edge = BORDER_WINDOW_PX, BORDER_WINDOW_PX // 2
    rows = pool(masks, (1, side), stride=1, padding=(0, edge))
    return pool(rows, (side, 1), stride=1, padding=(edge, 0))


def _resize(logits: Tensor, masks: Tensor) -> Tensor:
    return F.interpolate(logits, size=masks.shape[-2:], mode="bilinear", align_corners=False)


def _on_lesions(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, masks: Tensor) -> Tensor:
    lesions = masks.flatten(1).any(1)
    return loss(logits[lesions], masks[lesions]) if lesions.any() else torch.zeros(())

"""Mixes training images: exchanges colours between them, and pastes pieces."""

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.training.augment import AugmentRanges
from qlumen.training.data import Dataset

Bytes = NDArray[np.uint8]
DARK_L = 20.0
"""LAB lightness, 0 to 100. A darker pixel is surround or lumen and keeps its colour."""
PIECE_SCALE = (0.3, 1.1)
FEATHER_PX = 4.0
PLACING_TRIES = 8
MIN_PIECE_PX = 60
LIT = 40
"""Brightness, 0 to 255, that nine of ten pixels of a piece reach."""
AMPLITUDE_BAND = (0.002, 0.008)


def mix(
    data: Dataset, row: int, rng: np.random.Generator, ranges: AugmentRanges
) -> tuple[Bytes, Bytes]:
    """Return image and mask of `row` with, by chance, a piece and the colours of other images.

    A piece is a lesion, or mucosa of a lesion-free image in a lesion's shape. So a seam alone
    does not show a lesion.
    """
    image, mask = data.images[row], data.masks[row]
    if ranges.erase_share and mask.any() and rng.random() < ranges.erase_share:
        image, mask = _erase_lesions(image, mask, rng)
    if ranges.paste_share and rng.random() < ranges.paste_share:
        image, mask = _paste_piece(data, image, mask, rng)
    if ranges.colour_exchange_share and rng.random() < ranges.colour_exchange_share:
        image = exchange_colours(image, data.images[rng.integers(len(data))])
    if ranges.amplitude_exchange_share and rng.random() < ranges.amplitude_exchange_share:
        other = data.images[rng.integers(len(data))]
        image = exchange_amplitudes(image, other, rng.uniform(*AMPLITUDE_BAND))
    return image, mask


def exchange_colours(image: Bytes, other: Bytes) -> Bytes:
    """Give an image the LAB means and deviations of another (Wei et al. 2021, SANet).

    Dark pixels do not count and do not change, so that surrounds stay black.
    """
    lab, light = _lab(image)
    other_lab, other_light = _lab(other)
    here, there = lab[light], other_lab[other_light]
    if not len(here) or not len(there):
        return image
    scale = (there.std(0) + 1) / (here.std(0) + 1)
    moved = (lab - here.mean(0)) * scale + there.mean(0)
    weight = np.clip(lab[..., :1] / DARK_L - 1, 0, 1)
    bgr = cv2.cvtColor((lab + weight * (moved - lab)).astype(np.float32), cv2.COLOR_LAB2BGR)
    return np.clip(np.rint(bgr * 255), 0, 255).astype(np.uint8)


def exchange_amplitudes(image: Bytes, other: Bytes, band: float) -> Bytes:
    """Give an image the low-frequency amplitudes of another, and keep its phases.

    This is Fourier domain adaptation (Yang and Soatto 2020, FDA).

    Args:
        other: image of the same size
        band: half side of the exchanged square of frequencies, as a share of the side
    """
    size = image.shape[1::-1]
    own = np.fft.rfft2(image, axes=(0, 1))
    foreign = np.fft.rfft2(other, axes=(0, 1))
    reach = max(1, round(band * min(size)))
    amplitude = np.abs(own)
    for rows in (slice(0, reach), slice(-reach + 1 or len(own), None)):
        amplitude[rows, :reach] = np.abs(foreign[rows, :reach])
    mixed = np.fft.irfft2(amplitude * np.exp(1j * np.angle(own)), size[::-1], axes=(0, 1))
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)


def paste(
    image: Bytes, piece: Bytes, shape: Bytes, matrix: NDArray[np.float64], match: float
) -> tuple[Bytes, Bytes]:
    """Paste the part of `piece` inside `shape` on `image`, moved by `matrix`, with soft edges.

    Args:
        shape: `(S, S)` mask of the piece, 0 or 1
        matrix: 2x3, from the piece's to the image's pixels
        match: share of the way from the piece's mean colour to that of the covered pixels

    Returns:
        the image and the `(S, S)` mask of the pasted pixels
    """
    size = image.shape[1::-1]
    moved = cv2.warpAffine(piece, matrix, size, borderMode=cv2.BORDER_REFLECT_101)
    pasted = cv2.warpAffine(shape, matrix, size, flags=cv2.INTER_NEAREST)
    inside = pasted.astype(bool)
    if not inside.any():
        return image, np.asarray(pasted, dtype=np.uint8)
    alpha = cv2.GaussianBlur(pasted.astype(np.float32), (0, 0), FEATHER_PX)[..., None]
    shift = match * (image[inside].mean(0) - moved[inside].mean(0))
    mixed = image + alpha * (np.clip(moved + shift, 0, 255) - image)
    return np.rint(mixed).astype(np.uint8), np.asarray(pasted, dtype=np.uint8)


def _paste_piece(
    data: Dataset, image: Bytes, mask: Bytes, rng: np.random.Generator
) -> tuple[Bytes, Bytes]:
    lesions = np.flatnonzero(data.has_lesion)
    if not lesions.size:
        return image, mask
    donor = int(rng.choice(lesions))
    free = np.flatnonzero(~data.has_lesion)
    is_lesion = not free.size or rng.random() < 0.5
    piece = data.images[donor if is_lesion else int(rng.choice(free))]
    for _ in range(PLACING_TRIES):
        matrix = _placement(data.masks[donor], rng)
        place = cv2.warpAffine(data.masks[donor], matrix, mask.shape, flags=cv2.INTER_NEAREST)
        if _fits(image, mask, place.astype(bool)):
            mixed, pasted = paste(image, piece, data.masks[donor], matrix, rng.uniform(0, 1))
            return mixed, mask | pasted if is_lesion else mask
    return image, mask


def _erase_lesions(image: Bytes, mask: Bytes, rng: np.random.Generator) -> tuple[Bytes, Bytes]:
    """Cover all lesions with mucosa from elsewhere in the image; unchanged if none fits.

    The result is a whole frame without a lesion, with the same folds and light.
    """
    side = mask.shape[0]
    reach = 2 * max(2, round(0.025 * side)) + 1
    shape = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach)))
    rows, columns = np.nonzero(shape)
    centre = np.array([columns.mean(), rows.mean()])
    for _ in range(PLACING_TRIES):
        angle = rng.uniform(-np.pi, np.pi)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        source = rng.uniform(0.1, 0.9, 2) * side
        matrix = np.column_stack([turn, centre - turn @ source])
        back = cv2.invertAffineTransform(matrix)
        piece = cv2.warpAffine(shape, back, mask.shape, flags=cv2.INTER_NEAREST).astype(np.uint8)
        taken = piece.astype(bool)
        whole = taken.sum() > 0.95 * shape.sum()
        if whole and not shape[taken].any() and np.percentile(image[taken].max(1), 10) > LIT:
            return paste(image, image, piece, matrix, 0.8)[0], np.zeros_like(mask)
    return image, mask


def _fits(image: Bytes, mask: Bytes, place: NDArray[np.bool_]) -> bool:
    """Check whether a place is lit, free of lesions and large enough."""
    if place.sum() < MIN_PIECE_PX or mask[place].any():
        return False
    return bool(np.percentile(image[place].max(axis=1), 10) > LIT)


def _placement(shape: Bytes, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a matrix that turns and scales a piece about its centre, and moves it anywhere."""
    rows, columns = np.nonzero(shape)
    centre = np.array([columns.mean(), rows.mean()])
    zoom = np.exp(rng.uniform(*np.log(PIECE_SCALE)))
    angle = rng.uniform(-np.pi, np.pi)
    linear = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    target = rng.uniform(0.12, 0.88, 2) * shape.shape[0]
    return np.column_stack([linear, target - linear @ centre])


def _lab(image: Bytes) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)
    return np.asarray(lab, dtype=np.float32), lab[..., 0] > DARK_L

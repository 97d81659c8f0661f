"""Applies an endoscope's sensor and processor to an image: grain and visible field."""

import numpy as np

from qlumen.kernels.jit import fast_kernel


@fast_kernel
def finish(image, spans, grain, top, left):
    """Add a repeated tile of noise inside the spans, and blacken the outside.

    Args:
        image, spans: `(h, w, 3) uint8`, changed in place, and `(h, 2) int32`.
        grain, top, left: `(n, n, 3) int8`, and the start in this tile, from 0 to n - 1.
    """
    height, width = image.shape[0], image.shape[1]
    size = grain.shape[0]
    pixels, noise = image.reshape(height, 3 * width), grain.reshape(size, 3 * size)
    for row in range(height):
        line, tile = pixels[row], noise[(row + top) % size]
        first, last = 3 * spans[row, 0], 3 * spans[row, 1]
        line[:first] = 0
        line[last:] = 0
        start = first
        while start < last:
            skip = (start + 3 * left) % (3 * size)
            stop = min(last, start + 3 * size - skip)
            _add(line[start:stop], tile[skip : skip + stop - start])
            start = stop


@fast_kernel
def _add(values, noise):
    for k in range(len(values)):
        value = np.int16(np.int16(values[k]) + np.int16(noise[k]))
        values[k] = np.uint8(min(max(value, np.int16(0)), np.int16(255)))


@fast_kernel
def cut_out(cover, spans, left, top, truth):
    """Write the mask: 1 where `cover` is at least half and the field shows it.

    Args:
        cover: `(h, w) uint8`, 255 where a polyp fills the pixel.
        spans, left, top: `(H, 2) int32` of the whole image, and the start of `cover` in it.
        truth: `(H, W) uint8` of zeros, changed in place.
    """
    for row in range(cover.shape[0]):
        first, last = spans[row + top, 0], spans[row + top, 1]
        for column in range(max(0, first - left), min(cover.shape[1], last - left)):
            truth[row + top, column + left] = cover[row, column] > 127

"""Replaces an image by coarse blocks."""

from qlumen.kernels.jit import kernel


@kernel
def pixelate(image, side, blocks):
    """Give every pixel the mean of its block, rounded half up.

    Args:
        image: `(H, W, 3) uint8`.
        side: side of a block, pixels; blocks at the right and lower edge may be smaller.
        blocks: out, `(H, W, 3) uint8`.
    """
    height, width = image.shape[:2]
    for top in range(0, height, side):
        bottom = min(top + side, height)
        for left in range(0, width, side):
            right = min(left + side, width)
            _fill(image, top, bottom, left, right, blocks)


@kernel
def _fill(image, top, bottom, left, right, blocks):
    pixels = (bottom - top) * (right - left)
    blue, green, red = 0, 0, 0
    for y in range(top, bottom):
        for x in range(left, right):
            blue += image[y, x, 0]
            green += image[y, x, 1]
            red += image[y, x, 2]
    blue = (2 * blue + pixels) // (2 * pixels)
    green = (2 * green + pixels) // (2 * pixels)
    red = (2 * red + pixels) // (2 * pixels)
    for y in range(top, bottom):
        for x in range(left, right):
            blocks[y, x, 0], blocks[y, x, 1], blocks[y, x, 2] = blue, green, red

"""Blends flat colours into an image in fixed point.

The formula is `out = (value * keep + add) >> 8`. Keep 256 with add 0 leaves a value unchanged. A
colour c of weight a / 256 is keep 256 - a with add c * a + 128, which rounds half up.
"""

from qlumen.kernels.jit import kernel

FRACTION_BITS = 8


@kernel
def blend_parts(image, left, top, parts, keep, add, x0, y0, x1, y1):
    """Blend, in place, the pixels of a box whose part is not 0, and set their part to 0.

    A later box then does not blend them again.

    Args:
        image: in and out, `(h, w, 3) uint8`, the whole image or a patch that holds the box.
        left, top: start of `image` in the whole image, pixels.
        parts: in and out, `(H, W) uint8`, indices into the two tables.
        keep: `(P,) int32`, weight of the image for each part, of 256.
        add: `(P, 3) int32`, value to add to each channel.
        x0, y0, x1, y1: half-open box inside the whole image.
    """
    for y in range(y0, y1):
        row, line = image[y - top, x0 - left : x1 - left], parts[y, x0:x1]
        for x in range(line.size):
            part = line[x]
            if part:
                kept = keep[part]
                for channel in range(3):
                    mixed = row[x, channel] * kept + add[part, channel]
                    row[x, channel] = mixed >> FRACTION_BITS
                line[x] = 0

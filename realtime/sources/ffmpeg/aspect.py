"""Reads the shape of a stream's pixels, which are not square in recordings of PAL and NTSC."""

from fractions import Fraction

import av

SQUARE = Fraction(1)
MOST = 10
"""Ratios beyond this, in either direction, are errors of the recorder."""


def pixel_aspect(stream: av.video.stream.VideoStream, size: tuple[int, int]) -> Fraction:
    """Return width over height of a pixel of upright frames; 1 where the stream does not say.

    Args:
        size: width and height of an upright frame; turned by a quarter it has the decoder's
            height and width.
    """
    context = stream.codec_context
    ratio = Fraction(stream.sample_aspect_ratio or context.sample_aspect_ratio or SQUARE)
    if not Fraction(1, MOST) <= ratio <= MOST:
        return SQUARE
    stored = context.width, context.height
    return 1 / ratio if size != stored and size == stored[::-1] else ratio

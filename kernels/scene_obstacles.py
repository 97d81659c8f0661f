"""Draws things in the way of the synthetic colon's camera: lit matter, and bubbles.

Light and lengths are those of `scene_light`.
"""

import math

import numpy as np

from qlumen.kernels.jit import fast_kernel
from qlumen.kernels.scene_light import (
    BOUNCE_REACH_MM,
    BOUNCED_PER_MM,
    TILE_MM,
    encode_light,
    facing_at,
    glint_at,
    lamps_at,
    sample_tile,
    tile_field,
    tile_level,
)

MATTER_FIELDS = 10
"""Fields of a matter: linear red, green, blue of its first colour, of its second colour, strength
of its reflections, power of the cosine that dims what is seen edge-on, share of the light that is
left edge-on, strength of the mottled texture."""
RIM_OPACITY = 0.75
GLINT_AT = 0.16
"""Distance of a bubble's two reflections of the lamps from its middle, over its radius."""
GLINT_SIZE = 0.13
SMALLEST_PX = 0.6
"""Smaller bubbles are left out."""


@fast_kernel
def shade_matter(surface, rays, spans, tiles, gain, focal, matters, image):
    """Colour the pixels of matter: those whose last field is below 0.

    Args:
        surface, rays, spans, tiles, gain, focal: same as in `scene_light.shade`. The last field
            of a pixel is -k for the matter in row k - 1. Redness mixes its two colours.
        matters: `(n, MATTER_FIELDS) float32`.
        image: `(h, w, 3) uint8`, changed in place.
    """
    texels = tiles.shape[1] / (focal * TILE_MM)
    for row in range(surface.shape[0]):
        for column in range(spans[row, 0], spans[row, 1]):
            if surface[row, column, 9] > -0.5:
                continue
            matter = matters[int(0.5 - surface[row, column, 9]) - 1]
            far, facing = surface[row, column, 0], facing_at(surface, rays, row, column)
            level = tile_level(far * texels / math.sqrt(max(facing, 0.15)))
            even, odd = sample_tile(tiles, level, surface[row, column, 4], surface[row, column, 5])
            left = matter[8] + (1 - matter[8]) * facing ** matter[7]
            lamps = gain * rays[row, column, 3] * left * lamps_at(far)
            bounced = gain * BOUNCED_PER_MM / (far + BOUNCE_REACH_MM)
            glint = matter[6] * glint_at(surface, rays, row, column, even, odd) * min(lamps, 1.1)
            mottle = matter[9] * (tile_field(odd, 0) + 0.2 * tile_field(even, 1) - 0.59)
            mix = min(max(surface[row, column, 6] - mottle, 0.0), 1.0)
            light = surface[row, column, 7] * (1 + 0.6 * mottle)
            for channel in range(3):
                albedo = matter[channel] + mix * (matter[3 + channel] - matter[channel])
                albedo *= light
                value = albedo * (lamps + bounced * albedo) + glint
                image[row, column, 2 - channel] = encode_light(value)


@fast_kernel
def draw_bubbles(bubbles, pose, gain, focal, middle, surface, image, seen):
    """Draw bubbles that stand on the wall, where nothing nearer hides them.

    Args:
        bubbles: `(n, 5) float64`: place in mm (3), radius in mm, opacity of the film.
        pose, focal, middle: same as in `scene.project`.
        gain: gain of `scene_light.exposure`.
        surface: `(h, w, SURFACE_FIELDS) float32`.
        image: `(h, w, 3) uint8`, changed in place.
        seen: `(h, w) uint8`, share of what is behind that is still visible, of 255; changed in
            place.
    """
    for k in range(len(bubbles)):
        x = bubbles[k, 0] - pose[0, 0]
        y = bubbles[k, 1] - pose[0, 1]
        z = bubbles[k, 2] - pose[0, 2]
        ahead = x * pose[3, 0] + y * pose[3, 1] + z * pose[3, 2]
        far = math.sqrt(x * x + y * y + z * z)
        if far < 2 * bubbles[k, 3] or ahead < 0:
            continue
        scale = 2 * focal / (far + ahead)
        across = middle[0] + scale * (x * pose[1, 0] + y * pose[1, 1] + z * pose[1, 2])
        down = middle[1] + scale * (x * pose[2, 0] + y * pose[2, 1] + z * pose[2, 2])
        light = encode_light(gain * lamps_at(far) * (0.5 + 0.5 * ahead / far))
        nearest = far - bubbles[k, 3] - 0.5
        draw_bubble(
            across, down, scale * bubbles[k, 3], bubbles[k, 4], light, nearest, surface, image, seen
        )


@fast_kernel
def draw_bubble(x, y, radius, film, light, nearest, surface, image, seen):
    """Draw a bubble: a thin film, a bright rim, and the two lamps in it.

    Args:
        x, y, radius: middle and radius in pixels.
        film: opacity of the film, 0 to 1.
        light: level of a lit white surface there, 0 to 255.
        nearest: distance in mm; pixels whose surface is nearer are not drawn on.
        surface, image, seen: same as in `draw_bubbles`.
    """
    if radius < SMALLEST_PX:
        return
    reach = radius + 0.5
    first, last = max(0, math.ceil(y - reach)), min(image.shape[0] - 1, math.floor(y + reach))
    left, right = max(0, math.ceil(x - reach)), min(image.shape[1] - 1, math.floor(x + reach))
    for row in range(first, last + 1):
        for column in range(left, right + 1):
            across, down = (column - x) / radius, (row - y) / radius
            square = across * across + down * down
            edge = min(1.0, (1 - math.sqrt(square)) * radius + 0.5)
            if edge <= 0 or surface[row, column, 0] < nearest:
                continue
            rim = min(square, 1.0) ** 4
            hidden = edge * (film + (1 - film) * RIM_OPACITY * rim)
            side = (abs(across) - GLINT_AT) ** 2 + (down + GLINT_AT) ** 2
            glint = edge * max(0.0, 1 - side / (GLINT_SIZE * GLINT_SIZE))
            shade = light * (0.62 + 0.38 * rim - 0.25 * down)
            seen[row, column] = np.uint8(seen[row, column] * (1 - hidden))
            for channel in range(3):
                tint = 0.88 + 0.06 * channel
                value = image[row, column, channel] * (1 - hidden) + tint * shade * hidden
                value += glint * light
                image[row, column, channel] = np.uint8(min(max(value, 0.0), 255.0))

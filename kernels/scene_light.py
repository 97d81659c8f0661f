"""Lights the synthetic colon: exposure, mucosa and wet highlights.

Light is linear; about 1 saturates the sensor. Distances are millimetres.
"""

import math

import numpy as np

from qlumen.kernels.jit import fast_kernel
from qlumen.kernels.scene import FAR_MM

TILE_FIELDS = 8
"""Bytes of a texel, the lowest first: vessel, mottle, pits, relief (3), film of bubbles,
glints of bubbles."""
BYTES = np.uint64(0x00FF00FF00FF00FF)
SIXTEEN_BITS = np.uint64(0xFFFF)
UNIT = np.float32(1 / (255 * 256))
TILE_LEVELS = 5
TILE_MM = 157.0
"""Length of wall that the texture covers: once around the colon."""
TARGET = 0.70
USUAL = 1 / 1000
EXPOSURE_POWER = 0.85
"""Below 1, so that the exposure follows the light of the scene, but not fully."""
EXPOSURE_STEP_PX = 4
NEAR_MM = 7.0
"""The lamps are not points: below this distance the light does not grow."""
LAMP_MM = 2.2
"""Sideways distance from the lens to each of the two lamps."""
HAZE_PER_MM = 0.02
BOUNCED_PER_MM = 0.0003
"""Light from other walls, against the 1 / mm^2 of the lamps."""
BOUNCE_REACH_MM = 12.0
WRAP = 0.24
"""Share of the light that a surface seen edge-on keeps, because mucosa scatters it."""
ROUGHNESS = 0.36
SHINE = 3.0
BUBBLE_SHINE = 1.6
FILM = 0.35
TOE, FLARE = 0.045, 0.009
"""The sensor's curve at the dark end, and the light scattered in the lens."""


@fast_kernel
def exposure(surface, rays, spans):
    """Return the gain that suits an image, from every fourth pixel of every fourth row.

    Args:
        surface: `(h, w, SURFACE_FIELDS) float32`.
        rays: table of `scene.ray_table`.
        spans: `(h, 2) int32`, half-open columns to use in each row.
    """
    total, count = 0.0, 0
    for row in range(0, surface.shape[0], EXPOSURE_STEP_PX):
        for column in range(spans[row, 0], spans[row, 1], EXPOSURE_STEP_PX):
            count += 1
            if surface[row, column, 0] < FAR_MM:
                facing = facing_at(surface, rays, row, column)
                total += math.sqrt(min(lamps_on(surface, rays, row, column, facing), 1 / 121))
    mean = total / max(count, 1)
    return TARGET / USUAL * (USUAL / max(mean * mean, 1e-5)) ** EXPOSURE_POWER


@fast_kernel
def facing_at(surface, rays, row, column):
    """Return the cosine of the surface's normal and the way back to the lens, at least 0."""
    x, y, z = surface[row, column, 1], surface[row, column, 2], surface[row, column, 3]
    along = x * rays[row, column, 0] + y * rays[row, column, 1] + z * rays[row, column, 2]
    return max(-along / math.sqrt(x * x + y * y + z * z + 1e-12), 0.0)


@fast_kernel
def lamps_on(surface, rays, row, column, facing):
    share = rays[row, column, 3] * (WRAP + (1 - WRAP) * facing)
    return share * lamps_at(surface[row, column, 0])


@fast_kernel
def lamps_at(far):
    """Return the lamps' light straight ahead, per unit of gain; it falls off with the square of
    the distance, and a little faster."""
    return 1 / (far * far * (1 + far * HAZE_PER_MM) + NEAR_MM * NEAR_MM)


@fast_kernel
def shade(surface, rays, spans, tiles, gain, focal, palette, image, cover):
    """Turn surfaces into colours.

    Args:
        surface, rays, spans: same as in `exposure`.
        tiles: `(TILE_LEVELS, n, n) uint64` of `TILE_FIELDS` bytes, n a power of two; each
            level is half as fine, in the upper left of its plane.
        gain, focal: gain of `exposure`, and focal length in pixels.
        palette: `(5, 3) float32`, linear red, green, blue: mucosa, inflamed mucosa, share
            left over a vessel, share left in a pit, film of bubbles.
        image: out, `(h, w, 3) uint8`, blue, green, red, filled inside the spans but for matter,
            see `scene_obstacles.shade_matter`.
        cover: out, `(h, w) uint8`, 255 on polyps, filled inside the spans.
    """
    texels = tiles.shape[1] / (focal * TILE_MM)
    for row in range(surface.shape[0]):
        for column in range(spans[row, 0], spans[row, 1]):
            cover[row, column] = 255 if surface[row, column, 9] > 0.5 else 0
            if surface[row, column, 9] < -0.5:
                continue
            far = surface[row, column, 0]
            if far >= FAR_MM:
                for channel in range(3):
                    image[row, column, channel] = encode_light(0.0)
                continue
            facing = facing_at(surface, rays, row, column)
            level = tile_level(far * texels / math.sqrt(max(facing, 0.15)))
            even, odd = sample_tile(tiles, level, surface[row, column, 4], surface[row, column, 5])
            lamps = gain * lamps_on(surface, rays, row, column, facing)
            bounced = gain * BOUNCED_PER_MM / (far + BOUNCE_REACH_MM)
            glint = glint_at(surface, rays, row, column, even, odd) + BUBBLE_SHINE * tile_field(
                odd, 3
            )
            glint *= min(lamps, 1.1)
            red, light, detail = (
                surface[row, column, 6], surface[row, column, 7], surface[row, column, 8]
            )  # fmt: skip
            vessel, pit = (
                max(detail, 0.0) * tile_field(even, 0),
                max(-detail, 0.0) * tile_field(even, 1),
            )
            mottle = (0.72 + 0.56 * tile_field(odd, 0)) * light
            for channel in range(3):
                albedo = palette[0, channel] + red * (palette[1, channel] - palette[0, channel])
                albedo *= 1 - vessel * (1 - palette[2, channel])
                albedo *= (1 - pit * (1 - palette[3, channel])) * mottle
                albedo += FILM * tile_field(even, 3) * (palette[4, channel] * light - albedo)
                value = albedo * (lamps + bounced * albedo) + glint
                image[row, column, 2 - channel] = encode_light(value)


@fast_kernel
def encode_light(value):
    """Apply the sensor's toe and shoulder, then gamma 2.0 (close enough to 2.2, and fast)."""
    value *= value / (value + TOE)
    shown = FLARE + value * (1 + 0.16 * value) / (1 + 0.55 * value)
    return np.uint8(255.0 * math.sqrt(min(shown, 1.0)))


@fast_kernel
def tile_level(texels):
    """Return the level at which a pixel covers about one texel; `texels` counts the finest."""
    level = 0
    while texels > 1.4 and level < TILE_LEVELS - 1:
        texels *= 0.5
        level += 1
    return level


@fast_kernel
def sample_tile(tiles, level, u, v):
    """Sample a level of a repeating texture bilinearly: fields 0, 2, 4, 6 and fields 1, 3, 5, 7,
    each group in a word of 16 bits per field for `tile_field`."""
    size = tiles.shape[1] >> level
    x, y = (u - math.floor(u)) * size, (v - math.floor(v)) * size
    j, i = int(x), int(y)
    right, down = int(256 * (x - j)), int(256 * (y - i))
    j, i = j & (size - 1), i & (size - 1)
    k, m = (j + 1) & (size - 1), (i + 1) & (size - 1)
    d = (right * down) >> 8
    b, c = right - d, down - d
    even, odd = _weigh(tiles[level, i, j], 256 - b - c - d)
    even_b, odd_b = _weigh(tiles[level, i, k], b)
    even_c, odd_c = _weigh(tiles[level, m, j], c)
    even_d, odd_d = _weigh(tiles[level, m, k], d)
    return even + even_b + even_c + even_d, odd + odd_b + odd_c + odd_d


@fast_kernel
def _weigh(texel, weight):
    times = np.uint64(weight)
    return (texel & BYTES) * times, ((texel >> np.uint64(8)) & BYTES) * times


@fast_kernel
def tile_field(word, place):
    """Return one of the four values in a word, 0 to 1."""
    return np.float32(np.int32((word >> np.uint64(16 * place)) & SIXTEEN_BITS)) * UNIT


@fast_kernel
def glint_at(surface, rays, row, column, even, odd):
    """Mirror the two lamps in the wet, uneven surface: cosine to the 512th power."""
    x = surface[row, column, 1] + 2 * ROUGHNESS * (tile_field(odd, 1) - 0.5)
    y = surface[row, column, 2] + 2 * ROUGHNESS * (tile_field(even, 2) - 0.5)
    z = surface[row, column, 3] + 2 * ROUGHNESS * (tile_field(odd, 2) - 0.5)
    square = x * x + y * y + z * z
    offset = LAMP_MM / (2 * surface[row, column, 0])
    rest = -y * rays[row, column, 1] - z * rays[row, column, 2]
    across = rays[row, column, 0]
    total = 0.0
    for side in range(2):
        halfway = (offset if side else -offset) - across
        along = x * halfway + rest
        if along > 0:
            power = along * along / (square * (halfway * halfway + 1 - across * across))
            for _ in range(8):
                power *= power
            total += power
    return SHINE * total

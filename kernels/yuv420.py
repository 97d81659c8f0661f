"""Converts between BGR and planar 8-bit 4:2:0 in one pass, in fixed point, rounded once, half up.

A mapping is `(3, 4) int32`, rows `[a b c d]` of `a x + b y + c z + d` in units of 1 / `ONE`.
`qlumen.realtime.pixels.colour` makes the mappings of the standards. Sums stay within 32 bits, and
rows of single channels lie between two loops, so that the compiler vectorises the loops.
"""

import numpy as np

from qlumen.kernels.jit import kernel

FRACTION_BITS = 20
ONE = 1 << FRACTION_BITS
HALF = np.int32(ONE >> 1)
WORD = np.int32


@kernel
def yuv420_to_bgr(luma, blue, red, x0, y0, mapping, bgr):
    """Convert the box of `bgr`'s size that begins at (x0, y0); 2x2 pixels share a chroma sample.

    Args:
        luma: `(rows, line) uint8`, C-contiguous, as the other arrays are.
        blue, red: Cb and Cr, `(rows, line) uint8` each.
        x0, y0: even start of the box, pixels.
        mapping: mapping from Y, Cb, Cr to B, G, R.
        bgr: out, `(h, w, 3) uint8`.
    """
    height, width = bgr.shape[0], bgr.shape[1]
    b = np.empty(width, np.uint8)
    g = np.empty(width, np.uint8)
    r = np.empty(width, np.uint8)
    for i in range(height):
        light = luma[y0 + i, x0 : x0 + width]
        chroma = (y0 + i) // 2
        u, v = blue[chroma, x0 // 2 :], red[chroma, x0 // 2 :]
        _row(light, u, v, mapping, b, g, r)
        row = bgr[i].reshape(-1)
        for j in range(width):
            row[3 * j] = b[j]
            row[3 * j + 1] = g[j]
            row[3 * j + 2] = r[j]


@kernel
def sample_yuv420(luma, blue, red, rows, columns, mapping, bgr):
    """Convert the pixels where these rows and columns cross, as `yuv420_to_bgr` does.

    Args:
        luma: `(rows, line) uint8`, C-contiguous, as the other arrays are.
        blue, red: Cb and Cr, `(rows, line) uint8` each.
        rows, columns: `(h,)` and `(w,) intp`, from 0.
        mapping: mapping from Y, Cb, Cr to B, G, R.
        bgr: out, `(h, w, 3) uint8`.
    """
    of_light, u_in_b, u_in_g = mapping[0, 0], mapping[0, 1], mapping[1, 1]
    v_in_g, v_in_r = mapping[1, 2], mapping[2, 2]
    offset_b = WORD(mapping[0, 3] + HALF)
    offset_g = WORD(mapping[1, 3] + HALF)
    offset_r = WORD(mapping[2, 3] + HALF)
    count = columns.size
    whole, half = np.empty(count, np.uint32), np.empty(count, np.uint32)
    for j in range(count):
        whole[j], half[j] = columns[j], columns[j] // 2
    y, cb, cr = np.empty(count, np.uint8), np.empty(count, np.uint8), np.empty(count, np.uint8)
    b, g, r = np.empty(count, np.uint8), np.empty(count, np.uint8), np.empty(count, np.uint8)
    for i in range(rows.size):
        light, u, v = luma[rows[i]], blue[rows[i] // 2], red[rows[i] // 2]
        # Gather first, so that the compiler vectorises the next loop.
        for j in range(count):
            y[j], cb[j], cr[j] = light[whole[j]], u[half[j]], v[half[j]]
        for j in range(count):
            of_y = WORD(y[j] * of_light)
            b[j] = _byte(WORD(of_y + WORD(WORD(cb[j] * u_in_b) + offset_b)))
            of_v = WORD(WORD(cr[j] * v_in_g) + offset_g)
            g[j] = _byte(WORD(of_y + WORD(WORD(cb[j] * u_in_g) + of_v)))
            r[j] = _byte(WORD(of_y + WORD(WORD(cr[j] * v_in_r) + offset_r)))
        row = bgr[i].reshape(-1)
        for j in range(count):
            row[3 * j], row[3 * j + 1], row[3 * j + 2] = b[j], g[j], r[j]


@kernel
def bgr_to_yuv420(bgr, mapping, luma, blue, red):
    """Convert an image of even sides; a chroma sample is that of the mean of its 2x2 pixels.

    Args:
        bgr: `(H, W, 3) uint8`, C-contiguous, as the other arrays are.
        mapping: mapping from B, G, R to Y, Cb, Cr.
        luma: out, `(rows, line) uint8`, from its first sample on.
        blue, red: out, Cb and Cr, `(rows, line) uint8` each.
    """
    height, width = bgr.shape[0], bgr.shape[1]
    b = np.empty((2, width), np.uint8)
    g = np.empty((2, width), np.uint8)
    r = np.empty((2, width), np.uint8)
    for chroma in range(height // 2):
        for k in range(2):
            row = bgr[2 * chroma + k].reshape(-1)
            bk, gk, rk = b[k], g[k], r[k]
            for j in range(width):
                bk[j] = row[3 * j]
                gk[j] = row[3 * j + 1]
                rk[j] = row[3 * j + 2]
            _luma(bk, gk, rk, mapping[0], luma[2 * chroma + k])
        _chroma(b, g, r, mapping[1], blue[chroma, : width // 2])
        _chroma(b, g, r, mapping[2], red[chroma, : width // 2])


@kernel
def _row(light, u, v, mapping, b, g, r):
    """Convert a row to B, G and R. Luma counts alike in all; B needs no `v`, and R no `u`."""
    of_light, u_in_b, u_in_g = mapping[0, 0], mapping[0, 1], mapping[1, 1]
    v_in_g, v_in_r = mapping[1, 2], mapping[2, 2]
    offset_b = WORD(mapping[0, 3] + HALF)
    offset_g = WORD(mapping[1, 3] + HALF)
    offset_r = WORD(mapping[2, 3] + HALF)
    for j in range(light.size // 2):
        blue = WORD(WORD(u[j] * u_in_b) + offset_b)
        green = WORD(WORD(u[j] * u_in_g) + WORD(WORD(v[j] * v_in_g) + offset_g))
        red = WORD(WORD(v[j] * v_in_r) + offset_r)
        left, right = WORD(light[2 * j] * of_light), WORD(light[2 * j + 1] * of_light)
        b[2 * j], b[2 * j + 1] = _byte(WORD(left + blue)), _byte(WORD(right + blue))
        g[2 * j], g[2 * j + 1] = _byte(WORD(left + green)), _byte(WORD(right + green))
        r[2 * j], r[2 * j + 1] = _byte(WORD(left + red)), _byte(WORD(right + red))
    if light.size % 2:
        j = light.size // 2
        last = WORD(light[2 * j] * of_light)
        b[2 * j] = _byte(WORD(last + WORD(WORD(u[j] * u_in_b) + offset_b)))
        g[2 * j] = _byte(WORD(last + WORD(u[j] * u_in_g + v[j] * v_in_g + offset_g)))
        r[2 * j] = _byte(WORD(last + WORD(WORD(v[j] * v_in_r) + offset_r)))


@kernel
def _luma(b, g, r, weights, out):
    of_b, of_g, of_r = weights[0], weights[1], weights[2]
    offset = WORD(weights[3] + HALF)
    for j in range(b.size):
        of_blue_green = WORD(WORD(b[j] * of_b) + WORD(g[j] * of_g))
        out[j] = _byte(WORD(of_blue_green + WORD(WORD(r[j] * of_r) + offset)))


@kernel
def _chroma(b, g, r, weights, out):
    """Compute a chroma row from two rows of each channel."""
    of_b, of_g, of_r = weights[0], weights[1], weights[2]
    offset = WORD(4 * (weights[3] + HALF))
    b0, b1, g0, g1, r0, r1 = b[0], b[1], g[0], g[1], r[0], r[1]
    for j in range(out.size):
        blue = WORD(WORD(b0[2 * j] + b0[2 * j + 1]) + WORD(b1[2 * j] + b1[2 * j + 1]))
        green = WORD(WORD(g0[2 * j] + g0[2 * j + 1]) + WORD(g1[2 * j] + g1[2 * j + 1]))
        red = WORD(WORD(r0[2 * j] + r0[2 * j + 1]) + WORD(r1[2 * j] + r1[2 * j + 1]))
        of_blue_green = WORD(WORD(blue * of_b) + WORD(green * of_g))
        out[j] = _byte(WORD(of_blue_green + WORD(WORD(red * of_r) + offset)) >> 2)


@kernel
def _byte(value):
    return min(255, max(0, value >> FRACTION_BITS))

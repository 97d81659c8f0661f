"""Rendering the synthetic colon: rays against a tube with a rough wall and against spheres.

Lengths are millimetres, angles radians, colours linear 0 to 1. The tube winds around a
centreline x(z), y(z); its wall is a table of radii over z (periodic) and the angle theta
around the centreline. `frame` arrays hold the camera: origin (3), right (3), down (3),
forward (3), the last three scaled so that a ray is forward + u right + v down with u and v
from -1 to 1 over the picture's height.
"""

import math

import numpy as np

from qlumen.kernels.jit import fast_kernel

FAR_MM = 170.0
STEP_SHARE = 0.4
"""Of the distance to the wall that a ray dares to go; folds are steep, so not all of it."""
CONE_SHARE = 0.3
BLOCK = 8
"""Rays a side of those that share their first way."""
MIN_STEP_MM = 0.3
STEP_GROWTH = 0.008
BISECTIONS = 4
SPHERE_FIELDS = 8
"""Of a sphere's row: centre (3), radius, albedo (3), seed of its surface."""
LIT_MM = 75.0
"""Farther polyps are too dark to be seen, and count as none."""
SHADOW_REACH = 1.5
SHADOW_KEPT = 0.5
WRAP = 0.3
"""Share of the light that reaches a surface seen edge-on: mucosa scatters it."""
WALL_SHADE_MM = 6.0
"""Softening of the light's inverse square law: it comes from lamps beside the lens."""


@fast_kernel
def march(radius, centre, z_step, frame, spans, out):
    """Find where rays through a grid of pixels meet the wall.

    Blocks of rays share the first part of their way: as far as a cone around all of them
    stays clear of the wall.

    Args:
        radius: `(nz, nt) float32`, mm. centre: `(nz, 2) float32`, x and y in mm.
        z_step: mm per row of both. frame: `(4, 3) float64`, the camera.
        spans: `(h, 2) int32`, the columns to visit in each row, half open.
        out: `(h, w, 4) float32`, filled there with z, x and y from the centreline, and
            distance, in mm.
    """
    h, w = out.shape[0], out.shape[1]
    spread = 1.5 * BLOCK / h
    for top in range(0, h, BLOCK):
        bottom = min(top + BLOCK, h)
        for left in range(0, w, BLOCK):
            right = min(left + BLOCK, w)
            if not _visited(spans, top, bottom, left, right):
                continue
            dx, dy, dz = ray(frame, 0.5 * (top + bottom - 1), 0.5 * (left + right - 1), h, w)
            start = _clear_way(radius, centre, z_step, frame[0], dx, dy, dz, spread)
            for row in range(top, bottom):
                for column in range(max(left, spans[row, 0]), min(right, spans[row, 1])):
                    dx, dy, dz = ray(frame, row, column, h, w)
                    t = _first_hit(radius, centre, z_step, frame[0], dx, dy, dz, start)
                    z = frame[0, 2] + t * dz
                    cx, cy = _centre_at(centre, z / z_step)
                    out[row, column, 0] = z
                    out[row, column, 1] = frame[0, 0] + t * dx - cx
                    out[row, column, 2] = frame[0, 1] + t * dy - cy
                    out[row, column, 3] = t


@fast_kernel
def _visited(spans, top, bottom, left, right):
    for row in range(top, bottom):
        if spans[row, 0] < right and spans[row, 1] > left:
            return True
    return False


@fast_kernel
def _clear_way(radius, centre, z_step, origin, dx, dy, dz, spread):
    """The distance up to which a cone of half width `spread` per mm meets no wall."""
    t = 0.0
    while t < FAR_MM:
        gap = _gap(radius, centre, z_step, origin, dx, dy, dz, t)
        ahead = CONE_SHARE * gap - spread * t
        if ahead < MIN_STEP_MM:
            break
        t += ahead
    return t


@fast_kernel
def ray(frame, row, column, h, w):
    """The unit direction of the ray through a pixel's centre."""
    u = (2 * column + 1 - w) / h
    v = (2 * row + 1 - h) / h
    dx = frame[3, 0] + u * frame[1, 0] + v * frame[2, 0]
    dy = frame[3, 1] + u * frame[1, 1] + v * frame[2, 1]
    dz = frame[3, 2] + u * frame[1, 2] + v * frame[2, 2]
    scale = 1 / math.sqrt(dx * dx + dy * dy + dz * dz)
    return dx * scale, dy * scale, dz * scale


@fast_kernel
def _first_hit(radius, centre, z_step, origin, dx, dy, dz, start):
    t, before = start, start
    while t < FAR_MM:
        gap = _gap(radius, centre, z_step, origin, dx, dy, dz, t)
        if gap < 0:
            break
        before = t
        t += STEP_SHARE * gap + MIN_STEP_MM + STEP_GROWTH * t
    low, high = before, min(t, FAR_MM)
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        if _gap(radius, centre, z_step, origin, dx, dy, dz, middle) < 0:
            high = middle
        else:
            low = middle
    return high


@fast_kernel
def _gap(radius, centre, z_step, origin, dx, dy, dz, t):
    """Distance to the wall along the radius, negative behind it."""
    row = (origin[2] + t * dz) / z_step
    cx, cy = _centre_at(centre, row)
    x, y = origin[0] + t * dx - cx, origin[1] + t * dy - cy
    nz, nt = radius.shape
    i = math.floor(row)
    f = row - i
    i0, i1 = i % nz, (i + 1) % nz
    angle = fast_angle(y, x) * nt
    j = int(angle)
    g = angle - j
    j0, j1 = j % nt, (j + 1) % nt
    upper = radius[i0, j0] + g * (radius[i0, j1] - radius[i0, j0])
    lower = radius[i1, j0] + g * (radius[i1, j1] - radius[i1, j0])
    return upper + f * (lower - upper) - math.sqrt(x * x + y * y)


@fast_kernel
def _centre_at(centre, row):
    nz = centre.shape[0]
    i = math.floor(row)
    f = row - i
    i0, i1 = i % nz, (i + 1) % nz
    return (
        centre[i0, 0] + f * (centre[i1, 0] - centre[i0, 0]),
        centre[i0, 1] + f * (centre[i1, 1] - centre[i0, 1]),
    )


@fast_kernel
def fast_angle(y, x):
    """The angle of (x, y) as a share of a turn, 0 to 1; to within 1e-4 (a polynomial)."""
    ax, ay = abs(x), abs(y)
    big, small = max(ax, ay) + 1e-12, min(ax, ay)
    a = small / big
    s = a * a
    share = ((-0.0464964749 * s + 0.15931422) * s - 0.327622764) * s * a + a
    share *= 0.15915494309
    if ay > ax:
        share = 0.25 - share
    if x < 0:
        share = 0.5 - share
    return 1 - share if y < 0 else share


@fast_kernel
def shade(hits, wall, z_step, frame, spheres, light, spans, colour, cover):
    """Colour the pixels of a picture from a coarser grid of wall hits.

    Args:
        hits: `(h', w', 4) float32` from `march`, coarser or equal.
        wall: `(nz, nt, 7) float32`: albedo red, green, blue, slope along z, slope around,
            wetness, share of a flat polyp.
        spheres: `(n, SPHERE_FIELDS) float64`, polyps' parts in world coordinates.
        light: brightness of the lamps. spans: `(h, 2) int32`, as in `march`.
        colour: `(h, w, 3) float32`, filled with blue, green, red, 0 to 1.
        cover: `(h, w) float32`, filled with the share of a polyp, 0 to 1.
    """
    h, w = cover.shape
    down, across = hits.shape[0] / h, hits.shape[1] / w
    near = np.zeros((h, w), np.uint8)
    for k in range(len(spheres)):
        _mark_near(spheres[k], frame, near)
    for row in range(h):
        y = min(max((row + 0.5) * down - 0.5, 0.0), hits.shape[0] - 1.0)
        i0 = int(y)
        i1 = min(i0 + 1, hits.shape[0] - 1)
        f = y - i0
        for column in range(spans[row, 0], spans[row, 1]):
            x = min(max((column + 0.5) * across - 0.5, 0.0), hits.shape[1] - 1.0)
            j0 = int(x)
            j1 = min(j0 + 1, hits.shape[1] - 1)
            g = x - j0
            t = _lerp2(hits, i0, i1, j0, j1, f, g, 3)
            dx, dy, dz = ray(frame, row, column, h, w)
            best, part, kept = t, -1, 1.0
            if near[row, column]:
                for k in range(len(spheres)):
                    hit = _sphere_hit(spheres[k], frame[0], dx, dy, dz)
                    if 0 < hit < best:
                        best, part = hit, k
                kept = _shadow(spheres, frame[0], dx, dy, dz, t)
            if part >= 0:
                cover[row, column] = 1.0
                _shade_sphere(
                    spheres[part], wall, frame[0], dx, dy, dz, best, light, colour[row, column]
                )
            else:
                flat = _shade_wall(
                    wall,
                    _lerp2(hits, i0, i1, j0, j1, f, g, 0) / z_step,
                    _lerp2(hits, i0, i1, j0, j1, f, g, 1),
                    _lerp2(hits, i0, i1, j0, j1, f, g, 2),
                    dx, dy, dz, t, light * kept, colour[row, column],
                )  # fmt: skip
                cover[row, column] = flat if t < LIT_MM else 0.0


@fast_kernel
def _mark_near(sphere, frame, near):
    """Set to 1 a rectangle of pixels that holds a sphere and the shadow around it."""
    h, w = near.shape
    reach = SHADOW_REACH * sphere[3]
    x, y, z = sphere[0] - frame[0, 0], sphere[1] - frame[0, 1], sphere[2] - frame[0, 2]
    depth = x * frame[3, 0] + y * frame[3, 1] + z * frame[3, 2]
    if depth < -reach:
        return
    u0, u1, v0, v1 = -w / h, w / h, -1.0, 1.0
    if depth > 1.5 * reach:
        u = (x * frame[1, 0] + y * frame[1, 1] + z * frame[1, 2]) / depth
        v = (x * frame[2, 0] + y * frame[2, 1] + z * frame[2, 2]) / depth
        size = reach / (depth - reach) * (1 + abs(u) + abs(v))
        u0, u1, v0, v1 = u - size, u + size, v - size, v + size
    for row in range(max(0, int((v0 * h + h) / 2)), min(h, int((v1 * h + h) / 2) + 2)):
        for column in range(max(0, int((u0 * h + w) / 2)), min(w, int((u1 * h + w) / 2) + 2)):
            near[row, column] = 1


@fast_kernel
def _lerp2(a, i0, i1, j0, j1, f, g, channel):
    upper = a[i0, j0, channel] + g * (a[i0, j1, channel] - a[i0, j0, channel])
    lower = a[i1, j0, channel] + g * (a[i1, j1, channel] - a[i1, j0, channel])
    return upper + f * (lower - upper)


@fast_kernel
def _sphere_hit(sphere, origin, dx, dy, dz):
    """Distance to the first point of a sphere on a ray from outside; -1 if it misses."""
    x, y, z = sphere[0] - origin[0], sphere[1] - origin[1], sphere[2] - origin[2]
    along = x * dx + y * dy + z * dz
    rest = sphere[3] * sphere[3] - (x * x + y * y + z * z - along * along)
    return along - math.sqrt(rest) if rest > 0 else -1.0


@fast_kernel
def _shadow(spheres, origin, dx, dy, dz, t):
    """How much of the light the wall keeps beside polyps: `SHADOW_KEPT` to 1."""
    kept = 1.0
    for k in range(len(spheres)):
        x = origin[0] + t * dx - spheres[k, 0]
        y = origin[1] + t * dy - spheres[k, 1]
        z = origin[2] + t * dz - spheres[k, 2]
        reach = math.sqrt(x * x + y * y + z * z) / spheres[k, 3]
        if reach < SHADOW_REACH:
            share = max(0.0, (reach - 1) / (SHADOW_REACH - 1))
            kept = min(kept, SHADOW_KEPT + (1 - SHADOW_KEPT) * share)
    return kept


@fast_kernel
def _shade_wall(wall, row, lx, ly, dx, dy, dz, t, light, colour):
    nz, nt = wall.shape[0], wall.shape[1]
    i = math.floor(row)
    f = row - i
    i0, i1 = i % nz, (i + 1) % nz
    angle = fast_angle(ly, lx) * nt
    j = int(angle)
    g = angle - j
    j0, j1 = j % nt, (j + 1) % nt
    slope_z = _lerp2(wall, i0, i1, j0, j1, f, g, 3)
    slope_t = _lerp2(wall, i0, i1, j0, j1, f, g, 4)
    distance = 1 / math.sqrt(lx * lx + ly * ly + 1e-9)
    rx, ry = lx * distance, ly * distance
    nx, ny, nz_ = -rx - slope_t * ry, -ry + slope_t * rx, slope_z
    scale = 1 / math.sqrt(nx * nx + ny * ny + nz_ * nz_)
    facing = -(nx * dx + ny * dy + nz_ * dz) * scale
    wet = _lerp2(wall, i0, i1, j0, j1, f, g, 5)
    _lit(
        _lerp2(wall, i0, i1, j0, j1, f, g, 0),
        _lerp2(wall, i0, i1, j0, j1, f, g, 1),
        _lerp2(wall, i0, i1, j0, j1, f, g, 2),
        facing, wet, t, light, colour,
    )  # fmt: skip
    return _lerp2(wall, i0, i1, j0, j1, f, g, 6)


@fast_kernel
def _shade_sphere(sphere, wall, origin, dx, dy, dz, t, light, colour):
    """A polyp's surface; its unevenness is the wall's, taken from a place of its own."""
    nx = (origin[0] + t * dx - sphere[0]) / sphere[3]
    ny = (origin[1] + t * dy - sphere[1]) / sphere[3]
    nz = (origin[2] + t * dz - sphere[2]) / sphere[3]
    rows, columns = wall.shape[0], wall.shape[1]
    size = sphere[3]
    i = int(sphere[7] + 90 + 6 * size * nz + 2 * size * nx) % rows
    j = int(2 * sphere[7] + 90 + 6 * size * ny + 2 * size * nx) % columns
    bump_a, bump_b = 0.8 * wall[i, j, 3], 0.8 * wall[i, j, 4]
    bump_a = min(max(bump_a, -0.35), 0.35)
    bump_b = min(max(bump_b, -0.35), 0.35)
    mx, my, mz = nx + bump_a * nz + bump_b * ny, ny - bump_b * nx, nz - bump_a * nx
    scale = 1 / math.sqrt(mx * mx + my * my + mz * mz)
    facing = -(mx * dx + my * dy + mz * dz) * scale
    wet = wall[i, j, 5]
    mottled = 0.8 + 0.2 * wet + 0.9 * (wall[i, j, 1] - 0.4)
    _lit(
        sphere[4] * mottled, sphere[5] * mottled, sphere[6] * mottled,
        facing, max(wet, 0.5), t, light, colour,
    )  # fmt: skip


@fast_kernel
def _lit(red, green, blue, facing, wet, t, light, colour):
    """Light from beside the lens: diffuse, falling off with distance, and a wet highlight."""
    lamp = light / (t * t + WALL_SHADE_MM * WALL_SHADE_MM)
    facing = max(facing, 0.0)
    diffuse = lamp * (WRAP + (1 - WRAP) * facing)
    glint = max(0.0, (facing - 0.965) / 0.035)
    glint = glint * glint * glint * wet * min(6.0 * lamp, 5.0)
    colour[2] = 1 - math.exp(-(diffuse * red + glint))
    colour[1] = 1 - math.exp(-(diffuse * green + glint))
    colour[0] = 1 - math.exp(-(diffuse * blue + 0.95 * glint))

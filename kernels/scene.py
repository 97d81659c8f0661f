"""Draws grids of triangles into a depth buffer, as an endoscope's wide lens sees them.

Lengths are millimetres; camera axes are x right, y down, z forward. The lens is
stereographic: a direction at angle a from the axis is drawn 2 f tan(a / 2) from the centre.
This bends straight lines as endoscopes do, and keeps the shape of small things.
"""

import math

import numpy as np

from qlumen.kernels.jit import fast_kernel

VERTEX_FIELDS = 11
"""Fields of a vertex: position (3), normal (3), u, v, redness, light, detail.

u and v count widths of the texture. Redness is 0 for plain and 1 for inflamed mucosa. Light
multiplies the light on the place. Detail is the strength of vessels (up to 1) or, when
negative, of the pits of a polyp."""
SURFACE_FIELDS = 10
"""Fields of a pixel: distance, normal in camera axes (3), u, v, redness, light, detail, owner.

The owner is the number of a polyp from 1, 0 for the colon, and -k for matter of kind k, see
`scene_obstacles.shade_matter`."""
FAR_MM = 1e9
"""Distance of a pixel on which nothing was drawn."""
EDGE = 1e-3
"""Pixels by which triangles are drawn too large, so that no pixel between two is missed."""
BACKWARDS = -0.6
"""Cosine of the angle from the axis beyond which vertices are not projected."""


@fast_kernel
def clear(surface):
    """Empty a surface buffer, `(h, w, SURFACE_FIELDS) float32`."""
    for row in range(surface.shape[0]):
        for column in range(surface.shape[1]):
            surface[row, column, 0] = FAR_MM
            surface[row, column, 9] = 0.0


@fast_kernel
def project(vertices, first, last, pose, focal, middle, screen):
    """Project rows `first` to `last` of a grid to the screen.

    Args:
        vertices: `(rows, columns, VERTEX_FIELDS) float32`, in the world's axes.
        pose: `(4, 3) float64`, position of the camera, then its right, down and forward axes.
        focal: focal length in pixels.
        middle: `(2,)`, x and y of the optical axis in pixels.
        screen: out, like `vertices`, with x and y in pixels (whole numbers at pixel centres),
            distance (-1 behind the camera), normal in camera axes, and the other fields.
    """
    for row in range(first, last):
        for column in range(vertices.shape[1]):
            x = vertices[row, column, 0] - pose[0, 0]
            y = vertices[row, column, 1] - pose[0, 1]
            z = vertices[row, column, 2] - pose[0, 2]
            ahead = x * pose[3, 0] + y * pose[3, 1] + z * pose[3, 2]
            far = math.sqrt(x * x + y * y + z * z)
            if far < 1e-3 or ahead < BACKWARDS * far:
                screen[row, column, 2] = -1.0
                continue
            scale = 2 * focal / (far + ahead)
            right = x * pose[1, 0] + y * pose[1, 1] + z * pose[1, 2]
            down = x * pose[2, 0] + y * pose[2, 1] + z * pose[2, 2]
            screen[row, column, 0] = middle[0] + scale * right
            screen[row, column, 1] = middle[1] + scale * down
            screen[row, column, 2] = far
            _turn(vertices[row, column], pose, screen[row, column])
            for field in range(6, VERTEX_FIELDS):
                screen[row, column, field] = vertices[row, column, field]


@fast_kernel
def _turn(vertex, pose, on_screen):
    """Turn the normal from the world's axes to the camera's axes."""
    for axis in range(3):
        on_screen[3 + axis] = (
            vertex[3] * pose[axis + 1, 0]
            + vertex[4] * pose[axis + 1, 1]
            + vertex[5] * pose[axis + 1, 2]
        )


@fast_kernel
def draw(screen, first, last, owner, surface):
    """Draw the cells between rows `first` and `last` of a projected grid; the nearest wins.

    Triangles that run the other way round on the screen show their back and are left out.
    Another part of the same closed surface is in front of them.

    Args:
        screen: grid of `project`.
        owner: what the grid belongs to, see `SURFACE_FIELDS`.
        surface: in and out, `(h, w, SURFACE_FIELDS) float32`.
    """
    for row in range(first, last - 1):
        below = row + 1
        for column in range(screen.shape[1] - 1):
            right = column + 1
            _draw_triangle(screen, row, column, row, right, below, column, owner, surface)
            _draw_triangle(screen, below, column, row, right, below, right, owner, surface)


@fast_kernel
def _draw_triangle(screen, ra, ca, rb, cb, rc, cc, owner, surface):
    """Draw the triangle between three vertices, given by row and column of the grid."""
    ax, ay, bx, by = screen[ra, ca, 0], screen[ra, ca, 1], screen[rb, cb, 0], screen[rb, cb, 1]
    cx, cy = screen[rc, cc, 0], screen[rc, cc, 1]
    area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
    if area <= 1e-9 or min(screen[ra, ca, 2], screen[rb, cb, 2], screen[rc, cc, 2]) < 0:
        return
    left = max(0, math.ceil(min(ax, bx, cx)))
    right = min(surface.shape[1] - 1, math.floor(max(ax, bx, cx)))
    top = max(0, math.ceil(min(ay, by, cy)))
    bottom = min(surface.shape[0] - 1, math.floor(max(ay, by, cy)))
    far_a, far_b, far_c = screen[ra, ca, 2], screen[rb, cb, 2], screen[rc, cc, 2]
    b_x, b_y = (cy - ay) / area, (ax - cx) / area
    c_x, c_y = (ay - by) / area, (bx - ax) / area
    a_x = -b_x - c_x
    for y in range(top, bottom + 1):
        b = b_x * (left - ax) + b_y * (y - ay)
        c = c_x * (left - ax) + c_y * (y - ay)
        a = 1 - b - c
        first = max(_first_step(a, a_x), _first_step(b, b_x), _first_step(c, c_x), 0.0)
        last = min(_last_step(a, a_x), _last_step(b, b_x), _last_step(c, c_x), float(right - left))
        for step in range(math.ceil(first), math.floor(last) + 1):
            of_b, of_c = np.float32(b + step * b_x), np.float32(c + step * c_x)
            of_a = np.float32(1) - of_b - of_c
            far = of_a * far_a + of_b * far_b + of_c * far_c
            x = left + step
            if far < surface[y, x, 0]:
                surface[y, x, 0] = far
                for field in range(3, VERTEX_FIELDS):
                    surface[y, x, field - 2] = (
                        of_a * screen[ra, ca, field]
                        + of_b * screen[rb, cb, field]
                        + of_c * screen[rc, cc, field]
                    )
                surface[y, x, 9] = owner


@fast_kernel
def _first_step(share, slope):
    """Return the step from which a vertex's share, `share` at step 0, is not negative."""
    return -share / slope - EDGE if slope > 0 else -EDGE


@fast_kernel
def _last_step(share, slope):
    """Return the step up to which the share is not negative."""
    if slope < 0:
        return -share / slope + EDGE
    return FAR_MM if share >= 0 or slope > 0 else -1.0


@fast_kernel
def ray_table(height, width, focal, middle):
    """Return each pixel's unit direction in camera axes, and the share of the light that the
    forward-facing lamps send there: `(height, width, 4) float32`."""
    table = np.empty((height, width, 4), np.float32)
    for row in range(height):
        for column in range(width):
            x, y = (column - middle[0]) / (2 * focal), (row - middle[1]) / (2 * focal)
            square = x * x + y * y
            table[row, column, 0] = 2 * x / (1 + square)
            table[row, column, 1] = 2 * y / (1 + square)
            table[row, column, 2] = (1 - square) / (1 + square)
            table[row, column, 3] = 1 / (1 + square) ** 2
    return table

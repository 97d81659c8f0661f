"""Renders a moment of the examination as an image and its mask."""

import threading

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.kernels.scene import SURFACE_FIELDS, clear, draw, project
from qlumen.kernels.scene_light import exposure, lamps_at, shade
from qlumen.kernels.scene_sensor import cut_out, finish
from qlumen.realtime.pixels.arrays import Image, Mask
from qlumen.realtime.pixels.pool import FramePool
from qlumen.realtime.sources.scene.camera import View
from qlumen.realtime.sources.scene.field import make_field, make_optics
from qlumen.realtime.sources.scene.lens import Picture
from qlumen.realtime.sources.scene.obstacles import Obstacles
from qlumen.realtime.sources.scene.polyps import Polyp
from qlumen.realtime.sources.scene.world import GRAIN_SIZE, World

BEHIND_MM, AHEAD_MM = 26.0, 150.0
PALETTE = np.array(
    [
        [0.96, 0.43, 0.20],
        [0.90, 0.27, 0.165],
        [0.62, 0.36, 0.42],
        [0.80, 0.66, 0.66],
        [1.00, 0.82, 0.45],
    ],
    np.float32,
)
"""Linear red, green and blue, see `kernels.scene_light.shade`."""
SEEN_LIGHT = 0.05
"""A polyp with less light is too dark to see and left out of the mask: its red is then less than
20 of 255 above black."""
SOFT_PER_ROW, DEFOCUS_PER_ROW = 0.6 / 360, 2.6 / 360
"""Sigma of the blur per rendered row: always, and in addition when out of focus."""
SHARP_SIGMA = 0.25
"""A smaller blur is left out."""
SMEAR_TAPS = 5
SMEAR_PX, SMEAR_REACH_PX = 0.6, 5
"""Smallest motion during an exposure that smears an image, and the largest smear."""
COLOUR_LAG = 0.45
"""The sensor takes colours one after another, this part of an exposure apart."""


class Renderer:
    """Renders moments of a world at one size; several threads may share it."""

    def __init__(
        self, world: World, width: int, height: int, polyps: bool,
        obstacles: Obstacles | None = None,
    ) -> None:  # fmt: skip
        self._world = world
        self._shape = height, width
        self._field = make_field(width, height)
        self._optics = make_optics(self._field)
        numbers = np.argsort(np.argsort([polyp.s for polyp in world.polyps])) + 1
        self._polyps = list(zip(numbers.tolist(), world.polyps, strict=True)) if polyps else []
        self._obstacles = obstacles
        self._scratch = threading.local()
        self._images, self._masks = FramePool(), FramePool()

    def render(self, second: float, index: int) -> tuple[Image, Mask]:
        """Render BGR, `(H, W, 3) uint8`, and mask, `(H, W) uint8`, 1 where a polyp is visible;
        `index` chooses the grain."""
        picture, near = self._picture(second, apart=False)
        return self._finish(picture.image, index), self._truth(picture.covers[0], bool(near))

    def render_labels(self, second: float) -> Mask:
        """Render the mask with numbers of polyps: 0 for none, k for the polyp that is number k
        along the colon; where two meet, the one that fills more of the pixel."""
        picture, near = self._picture(second, apart=True)
        whole, *single = picture.covers
        labels = self._truth(whole, bool(near))
        if near:
            field = self._field
            shares = np.stack([_enlarge(cover, field.width, field.height) for cover in single])
            box = labels[
                field.top : field.top + field.height, field.left : field.left + field.width
            ]
            box *= np.array(near, np.uint8)[shares.argmax(axis=0)]
        return labels

    def _picture(self, second: float, apart: bool) -> tuple[Picture, list[int]]:
        """Return the image at its rendered size, the cover of all polyps and, if `apart`, the
        cover of each polyp nearby; and the numbers of these polyps."""
        view = self._world.examination.at(second)
        surface = self._surface()
        gain, near = self._draw(view, second, surface)
        image, cover = self._shade(surface, gain)
        single = [np.where(surface[..., 9] == k, cover, np.uint8(0)) for k in near if apart]
        picture = Picture(image, [cover, *single])
        if self._obstacles is None:
            return self._blur(view, picture), near
        self._obstacles.paint(picture, view, gain, self._optics, surface, self._world.tiles)
        picture = self._blur(view, picture)
        return self._obstacles.cover_lens(picture, second, self._optics, surface), near

    def _surface(self) -> NDArray[np.float32]:
        """Return the thread's own cleared buffer; its first frame makes the buffers."""
        if not hasattr(self._scratch, "surface"):
            columns, rows = self._field.rendered
            self._scratch.surface = np.empty((rows, columns, SURFACE_FIELDS), np.float32)
            self._scratch.tube = np.empty_like(self._world.tube.grid)
            self._scratch.polyp = np.empty_like(self._world.polyps[0].grid)
        surface: NDArray[np.float32] = self._scratch.surface
        clear(surface)
        return surface

    def _draw(
        self, view: View, second: float, surface: NDArray[np.float32]
    ) -> tuple[float, list[int]]:
        """Draw the colon, then what must not change the exposure: polyps, and what is in the way.

        Returns:
            the exposure, and the numbers of the polyps nearby
        """
        tube, optics = self._world.tube, self._optics
        first, last = np.searchsorted(tube.s, [view.s - BEHIND_MM, view.s + AHEAD_MM])
        screen = self._scratch.tube
        project(tube.grid, first, last, view.pose, optics.focal, optics.middle, screen)
        draw(screen, first, last, 0.0, surface)
        gain = exposure(surface, optics.rays, self._field.rendered_spans)
        if self._obstacles is not None:
            gain *= self._obstacles.gain(second)
        near = [
            (number, polyp)
            for number, polyp in self._polyps
            if -BEHIND_MM < polyp.s - view.s < AHEAD_MM
        ]
        screen = self._scratch.polyp
        for number, polyp in near:
            rows = len(polyp.grid)
            project(polyp.grid, 0, rows, view.pose, optics.focal, optics.middle, screen)
            draw(screen, 0, rows, float(number if _is_lit(polyp, view, gain) else 0), surface)
        if self._obstacles is not None:
            self._obstacles.draw(view, second, optics, surface)
        return gain, [number for number, _ in near]

    def _shade(self, surface: NDArray[np.float32], gain: float) -> tuple[Image, Mask]:
        columns, rows = self._field.rendered
        image, cover = np.zeros((rows, columns, 3), np.uint8), np.zeros((rows, columns), np.uint8)
        shade(
            surface, self._optics.rays, self._field.drawn_spans, self._world.tiles, gain,
            self._optics.focal, PALETTE, image, cover,
        )  # fmt: skip
        return image, cover

    def _blur(self, view: View, picture: Picture) -> Picture:
        """Blur for focus and motion, image and covers in the same way, so that they fit."""
        image, covers = picture.image, picture.covers
        rows = self._field.rendered[1]
        sigma = rows * (SOFT_PER_ROW + DEFOCUS_PER_ROW * view.defocus)
        if sigma > SHARP_SIGMA:
            image = cv2.GaussianBlur(image, (0, 0), sigma)
            covers = [cv2.GaussianBlur(cover, (0, 0), sigma) for cover in covers]
        motion = self._optics.focal * np.array(view.motion)
        if np.hypot(*motion) > SMEAR_PX:
            kernels = [_line(motion, lag) for lag in (-COLOUR_LAG, 0.0, COLOUR_LAG)]
            planes = zip(cv2.split(image), kernels, strict=True)
            image = cv2.merge([cv2.filter2D(plane, -1, kernel) for plane, kernel in planes])
            covers = [cv2.filter2D(cover, -1, kernels[1]) for cover in covers]
        return Picture(image, covers)

    def _finish(self, image: Image, index: int) -> Image:
        """Enlarge to full size on black and add grain."""
        field = self._field
        whole = self._images.take((*self._shape, 3))
        box = whole[field.top : field.top + field.height, field.left : field.left + field.width]
        _enlarge(image, field.width, field.height, box)
        top, left = np.random.default_rng(index).integers(0, GRAIN_SIZE, 2)
        finish(whole, field.spans, self._world.grain, top, left)
        return whole

    def _truth(self, cover: Mask, polyps_drawn: bool) -> Mask:
        field = self._field
        truth = self._masks.take(self._shape)
        truth.fill(0)
        if polyps_drawn:
            whole = _enlarge(cover, field.width, field.height)
            cut_out(whole, field.spans, field.left, field.top, truth)
        return truth


def _is_lit(polyp: Polyp, view: View, gain: float) -> bool:
    """Check whether a polyp gets enough light to be seen in the dark."""
    return gain * lamps_at(float(np.linalg.norm(polyp.tip - view.pose[0]))) > SEEN_LIGHT


def _line(motion: NDArray[np.float64], lag: float) -> NDArray[np.float32]:
    """Return a filter that averages along a motion in pixels and shifts by a share of it."""
    kernel = np.zeros((2 * SMEAR_REACH_PX + 1, 2 * SMEAR_REACH_PX + 1), np.float32)
    for share in np.linspace(-0.5, 0.5, SMEAR_TAPS) + lag:
        x, y = np.clip(SMEAR_REACH_PX + share * motion, 0, 2 * SMEAR_REACH_PX - 0.001)
        j, i = int(x), int(y)
        across, down = [1 - x + j, x - j], [1 - y + i, y - i]
        kernel[i : i + 2, j : j + 2] += np.outer(down, across) / SMEAR_TAPS
    return kernel


def _enlarge(image: Image, width: int, height: int, into: Image | None = None) -> Image:
    enlarged: Image = cv2.resize(image, (width, height), into, interpolation=cv2.INTER_LINEAR)
    return enlarged

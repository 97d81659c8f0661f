"""Chooses what is in the way at each moment: residue, instruments, washes, a cap and light."""

from dataclasses import dataclass
from math import cos, sin, tau

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.kernels.scene import draw, project
from qlumen.kernels.scene_obstacles import draw_bubbles, shade_matter
from qlumen.realtime.sources.scene import lens
from qlumen.realtime.sources.scene.camera import View
from qlumen.realtime.sources.scene.field import Optics
from qlumen.realtime.sources.scene.instruments import KINDS, Instrument
from qlumen.realtime.sources.scene.lens import Picture
from qlumen.realtime.sources.scene.residue import make_foam, make_residue
from qlumen.realtime.sources.scene.tube import Floats, Tube
from qlumen.realtime.sources.scene.visits import (
    CAP,
    INSTRUMENT,
    LENS_BUBBLES,
    LIGHT,
    WASH,
    Visit,
    find_visit,
)

MATTERS = np.array(
    [
        [1.00, 0.49, 0.15, 0.44, 0.19, 0.065, 1.4, 1.0, 0.20, 0.9],
        [0.72, 0.42, 0.12, 0.42, 0.21, 0.06, 4.0, 1.0, 0.35, 0.3],
        [0.16, 0.16, 0.165, 0.05, 0.05, 0.052, 5.0, 2.5, 0.10, 0.3],
        [0.13, 0.135, 0.14, 0.09, 0.10, 0.11, 1.2, 1.3, 0.10, 0.3],
        [0.012, 0.03, 0.14, 0.01, 0.02, 0.08, 1.2, 1.3, 0.10, 0.3],
    ],
    np.float32,
)
"""Stool, liquid, steel, sheath and mark: see `scene_obstacles.MATTER_FIELDS`."""
BEHIND_MM, AHEAD_MM = 40.0, 150.0
"""Distances along the colon within which residue is drawn."""
PLACES_STREAM = 6
"""Random stream of a seed, after those of `world.make_world`."""
SLIDE_S, GRASP_S = 1.2, 3.2
"""Time in which an instrument or a cap slides into view, and from one opening of jaws or loop to
the next."""
HIDDEN_MM = 6.0
"""Distance of an instrument's tip behind the lens when it is out of view."""
SNARE_REACH = 0.6
"""Reach of a snare's sheath over that of others: its loop goes on from there."""
FLOW_S, DRAIN_S = 0.2, 0.5
"""Time in which water spreads on the lens, and in which it runs off."""
LENS_FILM = 0.10
"""Opacity of a bubble on the lens."""


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """Describes a change of light: a factor of the exposure, and `(3, 3)` from and to blue, green
    and red; `fade_s` is the time that it takes to come."""

    gain: float
    colours: NDArray[np.float32]
    fade_s: float = 0.25


PLAIN = np.eye(3, dtype=np.float32)
WARM = np.diag(np.array([0.70, 0.96, 1.05], np.float32))
COLD = np.diag(np.array([1.40, 1.04, 0.84], np.float32))
NARROW_BAND = np.array([[0.85, 0.12, 0], [0.75, 0.42, 0], [0.05, 1.02, 0]], np.float32)
"""Green light is shown as red, blue light as blue and green."""
LIGHTS = (
    Light(2.1, PLAIN),
    Light(0.5, PLAIN),
    Light(0.16, PLAIN, 0.6),
    Light(1.0, WARM),
    Light(1.0, COLD),
    Light(1.25, NARROW_BAND, 0.04),
)
"""Too bright, dimmer, much too dark, warm, cold, narrow band."""


class Obstacles:
    """Puts things in the way of the camera, each moment from the seed and its time alone."""

    def __init__(self, seed: int, tube: Tube) -> None:
        rng = np.random.default_rng((seed, PLACES_STREAM))
        self._seed = seed
        self._residue = make_residue(rng, tube)
        self._foam = make_foam(rng, tube)

    def gain(self, second: float) -> float:
        """Return the factor of the exposure."""
        light, share = self._light(second)
        return float(light.gain**share)

    def draw(self, view: View, second: float, optics: Optics, surface: NDArray[np.float32]) -> None:
        """Draw residue and instruments into a surface buffer, which holds the wall."""
        for matter in self._residue:
            if -BEHIND_MM < matter.s - view.s < AHEAD_MM:
                screen = np.empty_like(matter.grid)
                rows = len(screen)
                project(matter.grid, 0, rows, view.pose, optics.focal, optics.middle, screen)
                screen[..., 2][~matter.shown] = -1.0
                draw(screen, 0, rows, -float(matter.kind), surface)
        if instrument := self._instrument(second):
            pose = instrument.pose()
            for grid, kind in instrument.parts():
                screen = np.empty_like(grid)
                project(grid, 0, len(grid), pose, optics.focal, optics.middle, screen)
                draw(screen, 0, len(grid), -float(kind), surface)

    def paint(
        self, picture: Picture, view: View, gain: float, optics: Optics,
        surface: NDArray[np.float32], tiles: NDArray[np.uint64],
    ) -> None:  # fmt: skip
        """Colour what `draw` has drawn, and add the bubbles on the wall."""
        image = picture.image
        shade_matter(
            surface, optics.rays, optics.field.drawn_spans, tiles, gain, optics.focal, MATTERS,
            image,
        )  # fmt: skip
        seen = np.full(image.shape[:2], 255, np.uint8)
        draw_bubbles(self._foam, view.pose, gain, optics.focal, optics.middle, surface, image, seen)
        picture.hide(seen)

    def cover_lens(
        self, picture: Picture, second: float, optics: Optics, surface: NDArray[np.float32]
    ) -> Picture:
        """Add what is on the lens or before it, and change the colour of the light."""
        if cap := find_visit(self._seed, CAP, second):
            reach = cap.rng.uniform(0.90, 0.99)
            lit = cap.rng.uniform(0, tau)
            lens.draw_cap(picture, optics, reach + 0.6 * (1 - cap.share(SLIDE_S)), lit)
        if wash := find_visit(self._seed, WASH, second):
            picture = self._wash(picture, wash, optics)
        if visit := find_visit(self._seed, LENS_BUBBLES, second):
            lens.draw_lens_bubbles(picture, surface, _lens_bubbles(visit))
        light, share = self._light(second)
        if share == 0:
            return picture
        colours = PLAIN + (light.colours - PLAIN) * np.float32(share)
        return Picture(cv2.transform(picture.image, colours), picture.covers)

    def _light(self, second: float) -> tuple[Light, float]:
        visit = find_visit(self._seed, LIGHT, second)
        if visit is None:
            return LIGHTS[0], 0.0
        light = LIGHTS[visit.rng.integers(len(LIGHTS))]
        return light, visit.share(light.fade_s)

    def _instrument(self, second: float) -> Instrument | None:
        visit = find_visit(self._seed, INSTRUMENT, second)
        if visit is None:
            return None
        rng = visit.rng
        kind = KINDS[rng.integers(len(KINDS))]
        side = int(rng.choice([-1, 1]))
        tilt = -side * rng.uniform(0.0, 0.10), -rng.uniform(0.02, 0.12)
        long, turn, phase = rng.uniform(14, 26), rng.uniform(0, tau), rng.uniform(0, tau)
        long *= SNARE_REACH if kind == "snare" else 1.0
        push = 1.6 * sin(tau * 0.7 * visit.age_s + phase)
        out = visit.share(SLIDE_S) * (long + push + HIDDEN_MM) - HIDDEN_MM
        opening = 0.5 - 0.5 * cos(tau / GRASP_S * max(visit.age_s - SLIDE_S, 0.0))
        return Instrument(kind, side, out, opening, turn + 0.3 * sin(0.5 * visit.age_s), tilt)

    def _wash(self, picture: Picture, wash: Visit, optics: Optics) -> Picture:
        rng, age = wash.rng, wash.age_s
        jet_s = rng.uniform(0.9, 1.6)
        streams = rng.spawn(3)
        if age < jet_s:
            lens.draw_jet(picture, optics, streams[0], age)
        amount = min(age / FLOW_S, 1.0, (jet_s + DRAIN_S - age) / DRAIN_S)
        if amount > 0:
            picture = lens.pour_water(picture, streams[1], age, amount)
        if age > 0.5 * jet_s:
            lens.draw_drops(picture, _drops(streams[2], age - 0.5 * jet_s, wash.left_s))
        return picture


def _drops(rng: np.random.Generator, age_s: float, left_s: float) -> Floats:
    """Return drops that come, slide down and go."""
    count = int(rng.integers(3, 7))
    x, y = rng.uniform(-0.45, 0.45, count), rng.uniform(-0.45, 0.4, count)
    radius = rng.uniform(0.05, 0.17, count)
    come = rng.uniform(0, 0.6, count)
    strength = np.clip((age_s - come) / 0.15, 0, 1) * min(1.0, left_s / 0.6)
    slide = rng.uniform(0.005, 0.03, count) * np.clip(age_s - come, 0, None) ** 1.5
    return np.stack([x, y + slide, radius, strength, rng.uniform(0, tau, count)], axis=1)


def _lens_bubbles(visit: Visit) -> Floats:
    """Return bubbles that hang together at the rim of the lens, drift and burst."""
    rng = visit.rng
    count = int(rng.integers(6, 16))
    angle, out = rng.uniform(0, tau), rng.uniform(0.25, 0.42)
    middle = out * np.array([np.cos(angle), np.sin(angle)])
    place = middle + rng.normal(0, 0.10, (count, 2))
    place += 0.012 * np.sin(visit.age_s * 1.5 + rng.uniform(0, tau, (1, 2)))
    whole = visit.age_s + visit.left_s
    radius = np.clip(rng.lognormal(-3.5, 0.55, count), 0.012, 0.10)
    alive = visit.age_s < whole * rng.uniform(0.4, 1.0, count)
    size = radius * min(1.0, visit.age_s / 0.3)
    return np.column_stack([place, size, np.full(count, LENS_FILM)])[alive]

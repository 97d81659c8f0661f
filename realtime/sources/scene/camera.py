"""Moves the endoscope: its place and direction at each moment of the examination."""

from dataclasses import dataclass
from math import asin, cos, pi, sin, tanh, tau

import numpy as np

from qlumen.realtime.sources.scene.polyps import Polyp
from qlumen.realtime.sources.scene.tube import Centreline, Floats

START_MM, END_MM = 48.0, 410.0
SPEED_MM_PER_S = 24.0
SLOWED = 0.4
"""Share of the speed that is lost while the endoscope looks at a polyp."""
START_SHARE = 0.02
"""Share of the way at time 0, past the rounded turning point."""
TURN_SHARPNESS = 0.985
"""At 1 the endoscope turns on the spot; below 1 the way out begins slowly."""
LOOK_AHEAD_MM = 26.0
INTEREST_MM = (-7.0, 12.0, 21.0, 36.0)
"""Distance ahead of a polyp that the endoscope looks at: fully between the middle two values, not
at all outside."""
INTEREST = 0.85
"""Share of the direction that then points at the polyp."""
PREFERRED_HEIGHT_MM = 9.5
"""The tip moves towards polyps lower than this, and away from taller ones."""
REACH_MM = 8.0
"""Largest distance of the tip from the centreline."""
SLIP_EVERY_S = 2.6
SLIP_RAD = 0.34
SHAKE_RAD = 0.006
EXPOSURE_S = 1 / 40


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """Describes the endoscope's view at one moment.

    Attributes:
        pose: `(4, 3)`, place in mm, then unit vectors right, down and forward.
        s: distance along the centreline in mm.
        motion: motion of the image during an exposure, right and down, in radians.
        defocus: 0 to 1.
    """

    pose: Floats
    s: float
    motion: tuple[float, float]
    defocus: float


class Examination:
    """Moves in and out of the colon without end, never twice in the same way."""

    def __init__(self, rng: np.random.Generator, line: Centreline, polyps: list[Polyp]) -> None:
        self._line = line
        self._polyps = polyps
        self._phases = rng.uniform(0, tau, 20)
        self._slip_seed = int(rng.integers(2**31))
        self._stations = np.arange(START_MM, END_MM, 1.0)
        interest = [max(_interest(polyp.s - s) for polyp in polyps) for s in self._stations]
        self._elapsed = np.cumsum(1 / (SPEED_MM_PER_S * (1 - SLOWED * np.array(interest))))

    def at(self, second: float) -> View:
        s, pose = self._pose(second)
        _, later = self._pose(second + EXPOSURE_S)
        forward = later[3]
        motion = float(-forward @ pose[1]), float(-forward @ pose[2])
        both = self._wave(second, 0.13, 16) * self._wave(second, 0.049, 17)
        return View(pose, s, motion, max(0.0, (both - 0.7) / 0.3))

    def _pose(self, second: float) -> tuple[float, Floats]:
        s = self._progress(second)
        place, along, side, up = self._line.at(s)
        eye = place + self._tip_offset(second, s, place, along, side, up)
        forward = self._forward(second, s, eye, side, up)
        roll = 0.45 * self._wave(second, 0.045, 0) + 0.12 * self._wave(second, 0.21, 1)
        right = cos(roll) * side + sin(roll) * up
        right = _unit(right - forward * (right @ forward))
        return s, np.stack([eye, right, np.cross(forward, right), forward])

    def _wave(self, second: float, hertz: float, phase: int) -> float:
        return sin(tau * hertz * second + self._phases[phase])

    def _progress(self, second: float) -> float:
        """Return the distance along the centreline, with pushes and pulls."""
        whole = self._elapsed[-1]
        turn = pi * (second / whole + START_SHARE - 0.5)
        share = (1 + asin(TURN_SHARPNESS * sin(turn)) / asin(TURN_SHARPNESS)) / 2
        s = float(np.interp(whole * share, self._elapsed, self._stations))
        return s + 2.5 * self._wave(second, 0.23, 2) + 0.9 * self._wave(second, 0.61, 3)

    def _tip_offset(
        self, second: float, s: float, place: Floats, along: Floats, side: Floats, up: Floats
    ) -> Floats:
        """Return the way from the centreline to the tip: sway, and the move for a polyp."""
        x = 3.0 * self._wave(second, 0.11, 4) + 1.6 * self._wave(second, 0.31, 5)
        y = 3.0 * self._wave(second, 0.09, 6) + 1.6 * self._wave(second, 0.37, 7)
        x += 0.15 * self._wave(second, 1.3, 8)
        y += 0.15 * self._wave(second, 1.7, 9)
        offset = x * side + y * up
        for polyp in self._polyps:
            if (share := _interest(polyp.s - s)) > 0:
                towards = _unit(polyp.foot - place - along * ((polyp.foot - place) @ along))
                height = float(np.linalg.norm(polyp.tip - polyp.foot))
                offset += share * 0.6 * (PREFERRED_HEIGHT_MM - height) * towards
        far = float(np.linalg.norm(offset)) + 1e-9
        return offset * (REACH_MM * tanh(far / REACH_MM) / far)

    def _forward(self, second: float, s: float, eye: Floats, side: Floats, up: Floats) -> Floats:
        forward = _unit(self._line.at(s + LOOK_AHEAD_MM)[0] - eye)
        for polyp in self._polyps:
            if (share := _interest(polyp.s - s)) > 0:
                towards = _unit(0.6 * polyp.tip + 0.4 * polyp.foot - eye)
                forward = forward + INTEREST * share * (towards - forward)
        slip_x, slip_y = self._slip(second)
        x = 0.16 * self._wave(second, 0.17, 10) + 0.06 * self._wave(second, 0.47, 11) + slip_x
        y = 0.16 * self._wave(second, 0.14, 12) + 0.06 * self._wave(second, 0.53, 13) + slip_y
        x += SHAKE_RAD * self._wave(second, 2.3, 14)
        y += SHAKE_RAD * self._wave(second, 2.9, 15)
        return _unit(_unit(forward) + x * side + y * up)

    def _slip(self, second: float) -> tuple[float, float]:
        """Return a slip of the tip to the side, which now and then lasts half a second."""
        window = int(second // SLIP_EVERY_S)
        rng = np.random.default_rng((self._slip_seed, window))
        share = (second / SLIP_EVERY_S - window - rng.uniform(0.2, 0.6)) / 0.2
        size = rng.uniform(0.0, SLIP_RAD) * max(0.0, 1 - share * share) ** 2
        angle = rng.uniform(0, tau)
        return size * cos(angle), size * sin(angle)


def _unit(vector: Floats) -> Floats:
    return vector / float(np.linalg.norm(vector))


def _interest(ahead: float) -> float:
    """Return 0 to 1, smooth, for a polyp this far ahead."""
    a, b, c, d = INTEREST_MM
    rise = min(max(min((ahead - a) / (b - a), (d - ahead) / (d - c)), 0.0), 1.0)
    return rise * rise * (3 - 2 * rise)

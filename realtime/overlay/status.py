"""Writes the state of AI, recording and signal on a frame.

The text is on dark plates, as few and as small as possible to read from the endoscopist's place.
All are at the frame's edge, except NO SIGNAL. Nothing moves or blinks except a new alarm.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from qlumen.realtime.frames import AiState, Condition, LiveState
from qlumen.realtime.pixels.annotated import Patch
from qlumen.realtime.pixels.arrays import Box, Image

PLATE_BGR = (24, 24, 24)
TEXT_BGR = (235, 235, 235)
DOT_BGR = {AiState.ON: (230, 230, 0), AiState.LATE: (0, 190, 255), AiState.OFF: (150, 150, 150)}
ALARM_BGR = (230, 230, 0)
RECORDING_BGR = (60, 60, 255)
FONT = cv2.FONT_HERSHEY_SIMPLEX
TEXT_PER_HEIGHT = 1 / 36
"""Height of a capital letter as a share of the frame's height."""
FONT_CAPITAL_PX = 22
"""Height of a capital letter at scale 1, as OpenCV draws it."""
FLASH_PER_HEIGHT = 1 / 90
NO_SIGNAL_SCALE = 2.5
PLATES_KEPT = 128
"""One for each millisecond of age until findings are dropped, and a few more."""


@dataclass(frozen=True, slots=True)
class _Plate:
    text: str
    dot_bgr: tuple[int, int, int] | None
    scale: float


def load_font() -> None:
    """Load OpenCV's font for the calling thread. Without this its first text takes 25 ms more."""
    cv2.putText(np.zeros((8, 8, 3), np.uint8), "A", (0, 8), FONT, 0.3, TEXT_BGR)


def draw_marks(image: Image, state: LiveState, *, flash: bool = False) -> list[Box]:
    """Write the state into `image`, `(H, W, 3) uint8` BGR, in place, as `make_marks` says.

    Returns:
        The boxes outside of which no pixel was changed.
    """
    marks = make_marks((image.shape[1], image.shape[0]), state, flash=flash)
    for (x0, y0, x1, y1), area, _ in marks:
        image[y0:y1, x0:x1] = area
    return [mark.box for mark in marks]


def make_marks(
    frame_size: tuple[int, int], state: LiveState, *, flash: bool = False
) -> list[Patch]:
    """Return the state as opaque patches of a frame of (width, height) pixels, from the lowest.

    The AI and the findings' age are top left, the recording is top right. The reason why a frame
    is not judged is bottom left, and NO SIGNAL in the middle. With `flash` there is a border.
    """
    marks = [*_border(frame_size)] if flash else []
    marks += [_plate(plate, corner, frame_size) for plate, corner in _plates(state)]
    return [mark for mark in marks if mark.marked.size]


def _plates(state: LiveState) -> list[tuple[_Plate, str]]:
    dot = DOT_BGR[state.ai if state.overlay else AiState.OFF]
    plates = [(_Plate(_ai_text(state), dot, 1.0), "top left")]
    if state.recording:
        plates.append((_Plate("REC", RECORDING_BGR, 1.0), "top right"))
    if state.condition is not Condition.CLEAR:
        plates.append((_Plate(state.condition.label.upper(), None, 1.0), "bottom left"))
    if not state.signal:
        plates.append((_Plate("NO SIGNAL", None, NO_SIGNAL_SCALE), "middle"))
    return plates


def _ai_text(state: LiveState) -> str:
    if state.ai is AiState.OFF:
        return "AI OFF"
    if not state.overlay:
        return "AI HIDDEN"
    late = " LATE" if state.ai is AiState.LATE else ""
    if state.annotation_age_ms is None:
        return f"AI{late}"
    return f"AI{late} {min(state.annotation_age_ms + state.held_ms, 9999):.0f} ms"


def _size(plate: _Plate, capital: int) -> tuple[int, int]:
    """Return width and height of the plate in pixels."""
    letters = round(capital * plate.scale)
    (width, _), _ = cv2.getTextSize(plate.text, FONT, letters / FONT_CAPITAL_PX, _stroke(letters))
    dot = 2 * letters if plate.dot_bgr else 0
    return _even(width + dot + 2 * letters), 2 * letters


def _origin(
    corner: str, size: tuple[int, int], frame: tuple[int, int], margin: int
) -> tuple[int, int]:
    (width, height), (frame_w, frame_h) = size, frame
    x = {"top right": frame_w - margin - width, "middle": (frame_w - width) // 2}
    y = {"bottom left": frame_h - margin - height, "middle": (frame_h - height) // 2}
    return _even(max(0, x.get(corner, margin))), _even(max(0, y.get(corner, margin)))


@lru_cache(maxsize=PLATES_KEPT)
def _plate(plate: _Plate, corner: str, frame_size: tuple[int, int]) -> Patch:
    """Draw the plate where it belongs. It is cached: its letters cost half a millisecond."""
    capital = max(6, round(frame_size[1] * TEXT_PER_HEIGHT))
    area = _draw_plate(plate, capital)
    size = area.shape[1], area.shape[0]
    return _patch(area, _origin(corner, size, frame_size, capital), frame_size)


@lru_cache(maxsize=1)
def _border(frame_size: tuple[int, int]) -> list[Patch]:
    width, height = frame_size
    edge = min(_even(max(2, round(height * FLASH_PER_HEIGHT))), height, width)
    row, column = (
        np.full((*s, 3), ALARM_BGR, np.uint8) for s in ((edge + 1, width), (height, edge + 1))
    )
    right, bottom = _even(width - edge), _even(height - edge)
    return [
        _patch(row[:edge], (0, 0), frame_size),
        _patch(row, (0, bottom), frame_size),
        _patch(column[:, :edge], (0, 0), frame_size),
        _patch(column, (right, 0), frame_size),
    ]


def _patch(area: Image, origin: tuple[int, int], frame_size: tuple[int, int]) -> Patch:
    """Put an opaque area at `origin`, cut off at the frame's edges."""
    x0, y0 = origin
    x1, y1 = min(frame_size[0], x0 + area.shape[1]), min(frame_size[1], y0 + area.shape[0])
    image = area[: max(0, y1 - y0), : max(0, x1 - x0)]
    image.flags.writeable = False
    return Patch((x0, y0, x1, y1), image, np.ones(image.shape[:2], np.uint8))


def _even(pixels: int) -> int:
    """Round down, because 2x2 pixels of a decoded frame share a chroma sample."""
    return pixels - pixels % 2


def _draw_plate(plate: _Plate, capital: int) -> Image:
    width, height = _size(plate, capital)
    letters = height // 2
    area = np.full((height, width, 3), PLATE_BGR, np.uint8)
    x = letters
    if plate.dot_bgr:
        cv2.circle(area, (letters + letters // 2, letters), letters // 2, plate.dot_bgr, -1,
                   cv2.LINE_AA)  # fmt: skip
        x += 2 * letters
    cv2.putText(area, plate.text, (x, letters + letters // 2), FONT, letters / FONT_CAPITAL_PX,
                TEXT_BGR, _stroke(letters), cv2.LINE_AA)  # fmt: skip
    return area


def _stroke(letters: int) -> int:
    return max(1, letters // 10)

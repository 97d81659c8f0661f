"""Shows live frames in a window and reads the keys that control the session."""

import subprocess
import sys
from collections.abc import Callable

import cv2

from qlumen.errors import SinkError
from qlumen.realtime.actions import Action
from qlumen.realtime.frames import FrameResult
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.sinks.base import Sink

ESCAPE = 27
FULL_SCREEN_KEY = ord("f")
ACTIONS = {
    ord(" "): Action.TOGGLE_OVERLAY,
    ord("+"): Action.MORE_SENSITIVE,
    ord("="): Action.MORE_SENSITIVE,  # the same key without shift on many keyboards
    ord("-"): Action.QUIETER,
    ord("s"): Action.SNAPSHOT,
    ord("m"): Action.MARK,
    ord("r"): Action.RESTART_AI,
    ord("q"): Action.QUIT,
    ESCAPE: Action.QUIT,
}
WINDOW = cv2.WINDOW_NORMAL | cv2.WINDOW_FREERATIO | cv2.WINDOW_GUI_NORMAL
MAX_KEYS_A_FRAME = 8  # each check for a key takes a millisecond or more
FIRST_WIDTH_PX = 1280
PROBE_TIMEOUT_S = 10


class Monitor(Sink):
    """Shows frames in an OpenCV window that can be resized, with black bars around them.

    Only the process's main thread may call the methods. Keys: space switches the overlay, + is
    more sensitive, - is quieter, s takes a snapshot, m marks the moment, r restarts the AI, f
    switches full screen, q and Esc quit.

    Args:
        title: title of the window; each title has one window.
        full_screen: whether the window starts in full screen.
        on_action: function that gets the action of a key, from `write` and `idle`.
        width_px: width of the window at first, in pixels, unless the frames are smaller.
        pixel_aspect: width of a frame's pixel over its height; frames are stretched so.

    Raises:
        SinkError: no window can be opened here, or it was closed.
    """

    wants_overlay = True

    def __init__(
        self,
        title: str,
        *,
        full_screen: bool,
        on_action: Callable[[Action], None],
        width_px: int = FIRST_WIDTH_PX,
        pixel_aspect: float = 1.0,
    ) -> None:
        self._pixel_aspect = pixel_aspect
        self._title, self._on_action, self._width_px = title, on_action, width_px
        self._full_screen = False
        self._starts_full_screen = full_screen
        self._sized = False
        self._open = False
        check_display()
        cv2.namedWindow(title, WINDOW)
        self._open = True

    def write(self, result: FrameResult) -> None:
        """Show the frame and act on keys."""
        self._check_open()
        image = result.shown
        if not self._sized and not self._full_screen:
            self._size_for(image)
        width, height = cv2.getWindowImageRect(self._title)[2:]
        cv2.imshow(self._title, fit_image(image, width, height, self._pixel_aspect))
        self._pump()
        if self._starts_full_screen:
            # A window that has not drawn yet can stay black in full screen.
            self._starts_full_screen = False
            self._switch_full_screen()

    def idle(self) -> None:
        """Act on keys while no frame comes; without this the window stops responding."""
        self._check_open()
        self._pump()

    def close(self) -> None:
        if self._open and self._visible():
            cv2.destroyWindow(self._title)
            cv2.pollKey()  # the window closes when its events are handled
        self._open = False

    def _check_open(self) -> None:
        # Showing a frame would open a closed window again.
        if not self._open or not self._visible():
            self._open = False
            raise SinkError("the monitor's window was closed; start again with --monitor")

    def _visible(self) -> bool:
        try:
            return bool(cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) > 0)
        except cv2.error:  # raised when no window is left
            return False

    def _pump(self) -> None:
        for _ in range(MAX_KEYS_A_FRAME):
            key = cv2.pollKey()
            if key < 0:
                return
            if key == FULL_SCREEN_KEY:
                self._switch_full_screen()
            elif key in ACTIONS:
                self._on_action(ACTIONS[key])

    def _switch_full_screen(self) -> None:
        self._full_screen = not self._full_screen
        mode = cv2.WINDOW_FULLSCREEN if self._full_screen else cv2.WINDOW_NORMAL
        cv2.setWindowProperty(self._title, cv2.WND_PROP_FULLSCREEN, mode)

    def _size_for(self, image: Image) -> None:
        height, width = image.shape[:2]
        stretched = width * self._pixel_aspect
        shown = min(round(stretched), self._width_px)
        cv2.resizeWindow(self._title, shown, max(1, round(shown * height / stretched)))
        self._sized = True


def fit_image(image: Image, width: int, height: int, pixel_aspect: float = 1.0) -> Image:
    """Return the image scaled to fit into `width` by `height`, centred between black bars.

    Its pixels, `pixel_aspect` times as wide as high, become square.

    OpenCV's own bars are light, which blinds in a dark room, and its scaling takes longer.
    """
    rows, columns = image.shape[:2]
    stretched = columns * pixel_aspect
    scale = min(width / stretched, height / rows)
    if scale <= 0:
        return image
    inner = max(1, round(stretched * scale)), max(1, round(rows * scale))
    if inner != (columns, rows):
        image = cv2.resize(image, inner, interpolation=cv2.INTER_LINEAR)
    across, down = width - inner[0], height - inner[1]
    if not across and not down:
        return image
    left, top = across // 2, down // 2
    return cv2.copyMakeBorder(
        image, top, down - top, left, across - left, cv2.BORDER_CONSTANT, value=(0, 0, 0)
    )


def check_display() -> None:
    """Raise SinkError if no window can be opened here.

    A separate process tries, because the window library ends a process that has no display.
    It imports `av` and `cv2` in the order of this process: windows hang if PyAV (18.1) is
    imported before OpenCV (5.0). Both bring parts of libxcb under the same names, and both use
    the parts that are loaded first.
    """
    order = ", ".join(name for name in sys.modules if name in ("av", "cv2"))
    command = [sys.executable, "-c", f"import {order}; cv2.namedWindow('qlumen')"]
    try:
        tried = subprocess.run(command, capture_output=True, timeout=PROBE_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        raise SinkError(
            f"no window opened within {PROBE_TIMEOUT_S} s after importing {order}; check the "
            "display, and import cv2 before av"
        ) from None
    if tried.returncode:
        lines = [f"exit code {tried.returncode}"]
        lines += tried.stderr.decode(errors="replace").strip().splitlines()
        reason = next((line for line in lines if "display" in line.lower()), lines[-1])
        raise SinkError(
            f"no window can be opened here ({reason.strip()}); start from a graphical session or "
            "set DISPLAY, or leave out --monitor"
        )

"""Opens a screen for tests (Xvfb), and controls its keys and windows."""

import ctypes
import ctypes.util
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import ImageGrab
from pyvirtualdisplay.display import Display

from qlumen.realtime.pixels.arrays import Image

SIZE = (1280, 1024)
CLIENT_MESSAGE = 33  # X.h
PATIENCE_S = 20
KEY_DELAY_MS = "100"  # the speed of a hand


@dataclass(frozen=True)
class Screen:
    """Controls a display; `name` is its name, such as `:99`."""

    name: str

    def window(self, title: str) -> str:
        """Wait for a visible window of this title and return it."""
        _wait_until(lambda: bool(self._windows(title)), f"no window {title}")
        return self._windows(title)[0]

    def wait_for_no(self, title: str) -> None:
        """Return when no window of this title is visible."""
        _wait_until(lambda: not self._windows(title), f"{title} stays")

    def wait_for_size(self, window: str, size: tuple[int, int]) -> None:
        """Return when the window has this width and height."""
        _wait_until(lambda: self.size(window) == size, f"not of size {size}")

    def press(self, window: str, *keys: str) -> None:
        """Press keys by their X names, as a keyboard does."""
        self._do("windowfocus", "--sync", window)
        self._do("key", "--delay", KEY_DELAY_MS, *keys)

    def size(self, window: str) -> tuple[int, int]:
        values = dict(
            line.split("=", 1)
            for line in self._do("getwindowgeometry", "--shell", window).splitlines()
        )
        return int(values["WIDTH"]), int(values["HEIGHT"])

    def close(self, window: str) -> None:
        """Ask the window to close, as its frame's button does."""
        x11 = ctypes.CDLL(ctypes.util.find_library("X11") or "libX11.so.6")
        x11.XOpenDisplay.restype = ctypes.c_void_p
        x11.XInternAtom.restype = ctypes.c_ulong
        display = ctypes.c_void_p(x11.XOpenDisplay(self.name.encode()))
        protocols, delete = (
            x11.XInternAtom(display, name, 0) for name in (b"WM_PROTOCOLS", b"WM_DELETE_WINDOW")
        )
        event = _ClientMessage(
            CLIENT_MESSAGE, 0, 1, None, int(window), protocols, 32, (delete, 0, 0, 0, 0)
        )
        x11.XSendEvent(display, ctypes.c_ulong(int(window)), 0, 0, ctypes.byref(event))
        x11.XCloseDisplay(display)

    def grab(self) -> Image:
        """Return the whole screen, BGR."""
        rgb = np.asarray(ImageGrab.grab(xdisplay=self.name).convert("RGB"))
        return np.ascontiguousarray(rgb[..., ::-1])

    def wait_for_image(self, is_right: Callable[[Image], bool]) -> Image:
        """Return the screen, BGR, when it is right: a window draws some time after a change."""
        _wait_until(lambda: is_right(self.grab()), "the screen does not show it")
        return self.grab()

    def _do(self, *arguments: str) -> str:
        command = ["xdotool", *arguments]
        environment = os.environ | {"DISPLAY": self.name}
        done = subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return done.stdout

    def _windows(self, title: str) -> list[str]:
        return self._do("search", "--onlyvisible", "--name", f"^{title}$").split()


class _ClientMessage(ctypes.Structure):
    """Mirrors XClientMessageEvent of Xlib.h, padded to the size of XEvent."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("serial", ctypes.c_ulong),
        ("send_event", ctypes.c_int),
        ("display", ctypes.c_void_p),
        ("window", ctypes.c_ulong),
        ("message_type", ctypes.c_ulong),
        ("format", ctypes.c_int),
        ("data", ctypes.c_long * 5),
        ("padding", ctypes.c_long * 12),
    )


def _wait_until(true: Callable[[], bool], message: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, message
        time.sleep(0.05)


def missing_programs(*names: str) -> str:
    """Return why a test on a screen must be skipped; empty if it can run."""
    absent = [name for name in names if shutil.which(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


@contextmanager
def screen(*, window_manager: str | None = None) -> Iterator[Screen]:
    """Open a new display, with a window manager in it if one is named."""
    options = {"manage_global_env": False, "extra_args": ["-noreset"]}
    with Display("xvfb", size=SIZE, **options) as display, ExitStack() as closing:
        name = display.new_display_var
        if window_manager:
            process = subprocess.Popen([window_manager], env=os.environ | {"DISPLAY": name})
            closing.callback(process.wait, PATIENCE_S)
            closing.callback(process.terminate)
        yield Screen(name)

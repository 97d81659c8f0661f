"""The window shows frames on a real screen, obeys its keys and closes."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlumen.errors import SinkError
from qlumen.realtime.sinks.monitor import Monitor, fit_image

from support.media import start_python
from support.screen import SIZE, Screen, missing_programs, screen

TITLE = "qlumen live"
SHOW = """
import time
import cv2  # before PyAV, which media imports
import numpy as np
from support.media import result_of
from qlumen.realtime.actions import Action
from qlumen.errors import SinkError
from qlumen.realtime.sinks.monitor import Monitor

image = np.full((180, 320, 3), (30, 60, 200), np.uint8)
image[:, 160:] = (200, 120, 30)
running = True

def act(action):
    global running
    print(action.value, flush=True)
    running = action is not Action.QUIT

full_screen, idle = "full" in sys.argv, "idle" in sys.argv
monitor = Monitor("qlumen live", full_screen=full_screen, on_action=act)
index = 0
try:
    while running:
        if not idle or not index:
            monitor.write(result_of(np.zeros_like(image), index, annotated=image))
        else:
            monitor.idle()
        index += 1
        time.sleep(0.02)
except SinkError as error:
    print(error, flush=True)
monitor.close()
monitor.close()
sys.stdin.readline()  # the process goes on: only the window must be gone
print("after", flush=True)
"""


Show = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def show(desk: Screen) -> Iterator[Show]:
    """Start processes that show frames, and end those that the test leaves running."""
    with ExitStack() as stack:

        def start(*arguments: str) -> "subprocess.Popen[str]":
            process = start_python(SHOW, *arguments)
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Screen]:
    """Provide a screen, with a window manager if the test names one."""
    manager = getattr(request, "param", None)
    wanted = ("Xvfb", "xdotool", *([manager] if manager else []))
    if reason := missing_programs(*wanted):
        pytest.skip(reason)
    with screen(window_manager=manager) as made:
        monkeypatch.setenv("DISPLAY", made.name)
        yield made


@pytest.mark.parametrize("mode", ["frames", "idle"])
def test_keys_become_actions(mode: str, desk: Screen, show: Show) -> None:
    """Each key acts in order, with or without new frames; other keys do nothing; q ends."""
    process = show(mode)
    window = desk.window(TITLE)
    pressed = {
        "space": "toggle_overlay", "plus": "more_sensitive", "equal": "more_sensitive",
        "minus": "quieter", "KP_Add": "more_sensitive", "KP_Subtract": "quieter",
        "s": "snapshot", "m": "mark", "r": "restart_ai", "x": None, "F5": None, "Up": None,
        "udiaeresis": None, "M": "mark", "q": "quit",
    }  # fmt: skip
    desk.press(window, *pressed)
    output, _ = process.communicate("\n", timeout=30)
    assert output.split() == [*filter(None, pressed.values()), "after"]


def test_escape_quits_and_closes_the_window(desk: Screen, show: Show) -> None:
    """The window is gone while its process goes on."""
    process = show()
    desk.press(desk.window(TITLE), "Escape")
    assert process.stdout.readline() == "quit\n"
    desk.wait_for_no(TITLE)
    assert process.poll() is None
    assert process.communicate("\n", timeout=30)[0] == "after\n"


@pytest.mark.parametrize("mode", ["frames", "idle"])
def test_a_closed_window_is_an_error_and_stays_closed(mode: str, desk: Screen, show: Show) -> None:
    """After its button closed the window, the next call raises and no new window opens."""
    process = show(mode)
    desk.close(desk.window(TITLE))
    assert "window was closed" in process.stdout.readline()
    desk.wait_for_no(TITLE)
    assert process.communicate("\n", timeout=30)[0] == "after\n"
    assert process.returncode == 0


def test_the_frame_has_the_overlay(desk: Screen, show: Show) -> None:
    """Left and right halves have their colours, at the frame's own size or smaller."""
    process = show()
    window = desk.window(TITLE)
    assert desk.size(window) == (320, 180)
    desk.press(window, "m")  # the answer comes after frames were displayed
    assert process.stdout.readline() == "mark\n"
    image = desk.wait_for_image(lambda image: image[90, 80].max() > 0)
    assert np.abs(image[90, 80].astype(int) - (30, 60, 200)).max() <= 1
    assert np.abs(image[90, 240].astype(int) - (200, 120, 30)).max() <= 1
    desk.press(window, "q")
    process.communicate("\n", timeout=30)


@pytest.mark.parametrize("desk", ["openbox"], indirect=True)
@pytest.mark.parametrize("mode", ["full", "key"])
def test_full_screen_is_black_around_the_frame(mode: str, desk: Screen, show: Show) -> None:
    """Full screen, at the start or with f, keeps proportions and has black bars."""
    process = show(mode)
    window = desk.window(TITLE)
    if mode == "key":
        desk.press(window, "f")
    desk.wait_for_size(window, SIZE)
    desk.press(window, "m")
    assert process.stdout.readline() == "mark\n"
    height = SIZE[0] * 180 // 320
    top = (SIZE[1] - height) // 2
    image = desk.wait_for_image(lambda image: image[: top - 2].max() == 0)
    assert image[: top - 2].max() == 0
    assert image[top + height + 2 :].max() == 0
    assert (image[top + 2 : top + height - 2].max(axis=2) > 100).all()
    desk.press(window, "f")
    desk.wait_for_size(window, (320, 180))
    desk.press(window, "q")
    process.communicate("\n", timeout=30)


@pytest.mark.parametrize("name", [None, ":4321"])
def test_without_a_screen_there_is_an_error(
    name: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without DISPLAY or its server there is an error in one line, and no crash."""
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    if name:
        monkeypatch.setenv("DISPLAY", name)
    with pytest.raises(SinkError, match="no window can be opened here") as caught:
        Monitor(TITLE, full_screen=False, on_action=print)
    assert "\n" not in str(caught.value)
    assert "leave out --monitor" in str(caught.value)


def test_a_window_that_would_hang_is_refused(desk: Screen) -> None:
    """With PyAV imported before OpenCV an answer comes in time: a window, or an error that says
    what to do."""
    code = """
import av
import cv2
from qlumen.errors import SinkError
from qlumen.realtime.sinks import monitor
from qlumen.realtime.sinks.monitor import Monitor
monitor.PROBE_TIMEOUT_S = 3
try:
    Monitor("qlumen live", full_screen=False, on_action=print).close()
except SinkError as error:
    print(error)
"""
    output, _ = start_python(code).communicate(timeout=30)
    assert not output or "import cv2 before av" in output


@given(*[st.integers(1, 60)] * 2, *[st.integers(1, 400)] * 2)
def test_the_frame_fits_between_bars(
    width: int, height: int, window_width: int, window_height: int
) -> None:
    """The frame fills the window one way, keeps its proportions and is in the middle."""
    image = np.full((height, width, 3), 255, np.uint8)
    fitted = fit_image(image, window_width, window_height)
    assert fitted.shape == (window_height, window_width, 3)
    rows, columns = np.nonzero(fitted[..., 0])
    inner_height, inner_width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert (fitted == 255).sum() == 3 * inner_height * inner_width
    assert inner_width == window_width or inner_height == window_height
    scale = min(window_width / width, window_height / height)
    assert abs(inner_width - width * scale) <= 1
    assert abs(inner_height - height * scale) <= 1
    assert abs(rows[0] - (window_height - 1 - rows[-1])) <= 1
    assert abs(columns[0] - (window_width - 1 - columns[-1])) <= 1


def test_a_window_without_area_gets_the_frame() -> None:
    """Nothing is scaled before the window has an area, or in a window of the frame's size."""
    image = np.full((48, 64, 3), 255, np.uint8)
    assert fit_image(image, 0, 0) is image
    assert fit_image(image, 64, 48) is image

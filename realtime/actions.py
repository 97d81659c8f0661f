"""Lists the actions of a running live view: keys, signals and the browser ask for them."""

from enum import StrEnum


class Action(StrEnum):
    TOGGLE_OVERLAY = "toggle_overlay"
    THRESHOLD_UP = "threshold_up"
    THRESHOLD_DOWN = "threshold_down"
    SNAPSHOT = "snapshot"
    MARK = "mark"
    RESTART_AI = "restart_ai"
    QUIT = "quit"

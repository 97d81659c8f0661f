"""What may be asked of a running live view, from keys, signals or a browser."""

from enum import StrEnum


class Action(StrEnum):
    TOGGLE_OVERLAY = "toggle_overlay"
    THRESHOLD_UP = "threshold_up"
    THRESHOLD_DOWN = "threshold_down"
    SNAPSHOT = "snapshot"
    MARK = "mark"
    RESTART_AI = "restart_ai"
    QUIT = "quit"

"""Lists the actions of a running live view: keys, signals and the browser ask for them."""

from enum import StrEnum


class Action(StrEnum):
    TOGGLE_OVERLAY = "toggle_overlay"
    MORE_SENSITIVE = "more_sensitive"
    QUIETER = "quieter"
    SNAPSHOT = "snapshot"
    MARK = "mark"
    RESTART_AI = "restart_ai"
    QUIT = "quit"

"""How a frame's condition is named and coloured, in the report and on the page."""

from dataclasses import dataclass

from qlumen.realtime.frames import Condition


@dataclass(frozen=True, slots=True)
class Look:
    """The label and the colours of a condition.

    Attributes:
        on_paper, on_dark: colours `#rrggbb` for a light and a dark ground.
    """

    label: str
    on_paper: str
    on_dark: str


LOOKS = {
    Condition.CLEAR: Look("clear", "#cfd8de", "#46525d"),
    Condition.BLURRED: Look("blurred", "#e69f00", "#e69f00"),
    Condition.RED_OUT: Look("lens on the wall", "#d55e00", "#d55e00"),
    Condition.OVEREXPOSED: Look("overexposed", "#f0e442", "#f0e442"),
    Condition.UNDEREXPOSED: Look("underexposed", "#3b4650", "#9fb4c6"),
    Condition.OUT_OF_BODY: Look("out of the body", "#cc79a7", "#cc79a7"),
}
"""Okabe and Ito's colours, which people with a colour deficiency can distinguish, and greys."""

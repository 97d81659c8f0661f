"""What the doctor says of one thing."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "absent", "failed"]


@dataclass(frozen=True, slots=True)
class Check:
    """Attributes:
    name: of the thing.
    state: `ok`; `absent`: something optional that is not here; `failed`: without it qlumen
        does not run.
    detail: what was found.
    command: what adds or mends it, or a sentence where no command does; empty where ok.
    """

    name: str
    state: State
    detail: str
    command: str = ""

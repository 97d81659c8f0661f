"""Makes live frames with lesions, as sinks receive them, and keeps the events of sinks."""

import socket
from dataclasses import replace

import numpy as np

from qlumen.realtime.frames import (
    AiState,
    Condition,
    Finding,
    FrameResult,
    LiveState,
    Segmentation,
    Track,
)

from support.media import make_images, result_of


class Notes:
    def __init__(self) -> None:
        self.kinds: list[str] = []

    def __call__(self, kind: str, **fields: object) -> None:
        self.kinds.append(kind)


def frame(index: int, lesions: set[int], waiting: set[int] = frozenset()) -> FrameResult:  # type: ignore[assignment]
    """Make a live frame with these lesions under an alarm, and others that wait for one."""
    contour = np.array([[1, 1], [5, 1], [5, 5], [1, 5]], np.int32)
    finding = Finding((1, 1, 6, 6), 0.9, 25, contour)
    tracks = tuple(
        Track(number, finding, 0.0, number in lesions, False)
        for number in sorted(lesions | waiting)
    )
    state = LiveState(AiState.ON, index, 40.0, Condition.CLEAR, tracks, False, True)
    plain = result_of(make_images(1)[0], index)
    mask = np.zeros(plain.frame.image.shape[:2], np.uint8)
    return replace(plain, segmentation=Segmentation(mask, (), np.zeros((0, 0))), live=state)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

"""Holds packets between the thread that reads them and the one that decodes them."""

import time
from collections import deque
from collections.abc import Callable
from threading import Condition

import av

WAITING_PACKETS = 2
"""Packets that may wait where each holds a whole frame."""
LATE_S = 1.0
"""Wait of the oldest packet from which a key frame replaces all that wait."""
LOST_S = 10.0
"""The same for any packet, in streams without key frames."""


class PacketQueue:
    """Holds packets, first in, first out; its producer never waits.

    No packets wait in the network's or the camera's buffers, where their number is not known. A
    decoder that is too slow for all packets loses some, and the delay does not grow: those that
    wait are dropped when a packet comes with which the decoder can go on.

    Args:
        whole: True if each packet holds a whole frame, so that the decoder can go on anywhere.
        clock: function that returns monotonic seconds.
    """

    def __init__(self, *, whole: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._waiting: deque[tuple[float, av.Packet | None]] = deque()
        self._whole, self._clock = whole, clock
        self._open = True
        self._changed = Condition()

    def put(self, packet: av.Packet | None) -> int:
        """Append a packet, or None for the end, and return the number of those dropped."""
        with self._changed:
            dropped = len(self._waiting) if packet and self._replaces_all(packet) else 0
            if dropped:
                self._waiting.clear()
            self._waiting.append((self._clock(), packet))
            self._changed.notify()
            return dropped

    def get(self) -> av.Packet | None:
        """Wait for the oldest packet and take it; None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or not self._open)
            return self._waiting.popleft()[1] if self._waiting else None

    def close(self) -> None:
        with self._changed:
            self._open = False
            self._changed.notify_all()

    def _replaces_all(self, packet: av.Packet) -> bool:
        if self._whole:
            return len(self._waiting) >= WAITING_PACKETS
        waited_s = self._clock() - self._waiting[0][0] if self._waiting else 0.0
        return waited_s > (LATE_S if packet.is_keyframe else LOST_S)

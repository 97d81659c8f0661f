"""Slows down who guesses passwords."""

import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

from qlumen.system.backoff import Backoff

FREE_TRIES = 5
PAUSES = Backoff(first_s=2.0, most_s=300.0)
FORGET_S = 900.0
MAX_ADDRESSES = 1000
EVERYBODY = ""
FREE_TRIES_OF_ALL = 50


@dataclass(slots=True)
class _Failures:
    count: int = 0
    last_s: float = 0.0
    until_s: float = 0.0


class Throttle:
    """Counts wrong passwords by address, and of all addresses together, since addresses are
    cheap. After the free tries each failure doubles the pause before the next try."""

    def __init__(self) -> None:
        self._failures: OrderedDict[str, _Failures] = OrderedDict()
        self._lock = threading.Lock()

    def pause_s(self, address: str) -> float:
        """How long this address must wait before its next try, seconds; 0 for not at all."""
        now_s = time.monotonic()
        with self._lock:
            known = (self._failures.get(address), self._failures.get(EVERYBODY))
            return max(0.0, *(failures.until_s - now_s for failures in known if failures), 0.0)

    def failed(self, address: str) -> None:
        with self._lock:
            self._count(address, FREE_TRIES)
            self._count(EVERYBODY, FREE_TRIES_OF_ALL)
            while len(self._failures) > MAX_ADDRESSES:
                self._failures.popitem(last=False)

    def passed(self, address: str) -> None:
        """A right password: what the address did before is forgotten."""
        with self._lock:
            self._failures.pop(address, None)

    def _count(self, address: str, free: int) -> None:
        now_s = time.monotonic()
        failures = self._failures.setdefault(address, _Failures())
        self._failures.move_to_end(address)
        if now_s - failures.last_s > FORGET_S:
            failures.count = 0
        failures.count += 1
        failures.last_s = now_s
        beyond = failures.count - free
        if beyond >= 0:
            failures.until_s = now_s + PAUSES.pause_s(beyond + 1)

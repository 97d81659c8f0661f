"""Keeps one session for each browser in memory, each with an end."""

import hashlib
import secrets
import sys
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

TOKEN_BYTES = 32
MAX_SESSIONS = 1000
SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Session:
    """Identifies a browser; `id` is not the browser's secret, `ends_s` a time of `_now_s`."""

    id: str
    ends_s: float


class Sessions:
    """Keeps sessions and only the hashes of their tokens. Threads may share it.

    Beyond `MAX_SESSIONS` the oldest session ends.
    """

    def __init__(self, hours: float) -> None:
        self.seconds = round(hours * SECONDS_PER_HOUR)
        self._kept: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self) -> tuple[str, Session]:
        """Begin a session; return the browser's token and the session."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        session = Session(_hash_token(token), _now_s() + self.seconds)
        with self._lock:
            self._kept[session.id] = session
            while len(self._kept) > MAX_SESSIONS:
                self._kept.popitem(last=False)
        return token, session

    def find(self, token: str) -> Session | None:
        """Return the session of this token, or None if it has ended."""
        with self._lock:
            session = self._kept.get(_hash_token(token))
        return session if session and self.lives(session) else None

    def lives(self, session: Session) -> bool:
        with self._lock:
            kept = self._kept.get(session.id)
            if kept and _now_s() >= kept.ends_s:
                del self._kept[session.id]
                kept = None
        return kept is not None

    def end(self, session: Session) -> None:
        with self._lock:
            self._kept.pop(session.id, None)


def _hash_token(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _now_s() -> float:
    """Return seconds of a clock that nobody sets, and that goes on while the machine sleeps."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)  # `time.monotonic` stands still there
    return time.monotonic()

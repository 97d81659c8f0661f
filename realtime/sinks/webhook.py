"""Posts lesions that appear and end to a web address, signed, each once.

The body is the event as JSON. The headers are

    Idempotency-Key        the same for all attempts of one event
    X-Qlumen-Timestamp     seconds since 1970 of the attempt
    X-Qlumen-Signature     sha256=HMAC-SHA256 of "timestamp.body" with the key, in hex

The key comes from the environment variable `QLUMEN_WEBHOOK_KEY`. A receiver should refuse old
time stamps.
"""

import hashlib
import hmac
import json
import os
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx

from qlumen.errors import UsageError
from qlumen.realtime.frames import FrameResult
from qlumen.realtime.queues import DroppingQueue
from qlumen.realtime.sinks.base import Sink
from qlumen.realtime.sinks.events import Note
from qlumen.realtime.sinks.lesion_events import LesionEvents
from qlumen.realtime.sources.base import SourceInfo
from qlumen.system.backoff import Backoff
from qlumen.system.locations import show_location
from qlumen.system.threads import start

KEY = "QLUMEN_WEBHOOK_KEY"
WAITING = 1000
"""Events that may wait; the oldest are dropped and counted."""
TIMEOUT_S = 5.0
CLOSE_S = 3.0
PAUSES = Backoff(first_s=0.5, most_s=30.0, jitter=0.2)
TRY_AGAIN = frozenset({408, 425, 429})
"""Answers below 500 after which a later attempt may work."""


@dataclass(frozen=True, slots=True)
class _Post:
    body: bytes
    key: str = field(default_factory=lambda: str(uuid.uuid4()))


class WebhookSender(Sink):
    """Posts from a thread of its own, in order, and tries again until the receiver takes an event.

    Args:
        url: address of the receiver, `https://` or `http://`.
        note: writer of an event about the first failure in a row, and about success after it.

    Raises:
        UsageError: the URL is none or has no host, or `QLUMEN_WEBHOOK_KEY` is not set.
    """

    def __init__(self, url: str, info: SourceInfo, note: Note) -> None:
        self.notes: list[str] = []
        try:
            host, _ = httpx.URL(url).host, urlsplit(url).port
        except (ValueError, httpx.InvalidURL):
            raise UsageError(
                f"{show_location(url)} is no web address; write https://HOST[:PORT]/PATH"
            ) from None
        if not host:
            raise UsageError(f"{show_location(url)} names no host; write https://HOST/PATH")
        key = os.environ.get(KEY, "")
        if not key:
            raise UsageError(f"{show_location(url)}: set {KEY} to the key that signs the events")
        self._url, self._key, self._note = url, key.encode(), note
        self._events = LesionEvents()
        self._waiting: DroppingQueue[_Post] = DroppingQueue(WAITING)
        self._lost: Counter[str] = Counter()
        self._closing = threading.Event()
        self._client = httpx.Client(timeout=TIMEOUT_S, follow_redirects=False)
        self._thread = start("webhook", self._send_all)

    def write(self, result: FrameResult) -> None:
        for change in self._events.changes(result):
            if self._waiting.put(_Post(json.dumps(change).encode())) is not None:
                self._lost["too many were waiting"] += 1

    def close(self) -> None:
        """Send what waits, for a short time at most."""
        if self._closing.is_set():
            return
        self._waiting.close()
        self._thread.join(CLOSE_S)
        self._closing.set()
        self._thread.join(TIMEOUT_S)
        self._client.close()
        for reason, count in self._lost.items():
            self.notes.append(f"{show_location(self._url)}: {count} events were lost: {reason}")

    def _send_all(self) -> None:
        while not self._waiting.ended:
            post = self._waiting.get(timeout_s=1.0)
            if post is not None and not self._deliver(post):
                self._lost["the session ended"] += 1

    def _deliver(self, post: _Post) -> bool:
        """Try until the receiver takes or refuses the event. Return False if the session ended."""
        failures = 0
        while not self._closing.is_set():
            reason = self._attempt(post)
            if reason is None:
                if failures:
                    self._note("webhook_back", receiver=show_location(self._url))
                return True
            failures += 1
            if failures == 1:
                self._note("webhook_failed", receiver=show_location(self._url), reason=reason)
            self._closing.wait(PAUSES.pause_s(failures))
        return False

    def _attempt(self, post: _Post) -> str | None:
        """Post once. Return why a later attempt may work, or None if none is needed."""
        timestamp = str(int(time.time()))
        try:
            answer = self._client.post(self._url, content=post.body, headers=self._headers(
                timestamp, post))  # fmt: skip
        except httpx.HTTPError as error:
            return type(error).__name__
        if answer.is_success:
            return None
        if answer.status_code < 500 and answer.status_code not in TRY_AGAIN:
            self._lost[f"the receiver refused them (HTTP {answer.status_code})"] += 1
            return None
        return f"HTTP {answer.status_code}"

    def _headers(self, timestamp: str, post: _Post) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "Idempotency-Key": post.key,
            "X-Qlumen-Timestamp": timestamp,
            "X-Qlumen-Signature": f"sha256={sign(self._key, timestamp, post.body)}",
        }


def sign(key: bytes, timestamp: str, body: bytes) -> str:
    """Return the HMAC-SHA256 of `timestamp.body` in hex."""
    return hmac.new(key, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()

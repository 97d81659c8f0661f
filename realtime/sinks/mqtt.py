"""Sends lesions and the state of a session to an MQTT broker, such as Mosquitto.

    BASE/available   "online" or "offline", retained; the broker says "offline" if we vanish
    BASE/state       JSON with `ai`, `condition`, `signal`, `lesions`, retained
    BASE/lesions     number of lesions in view, retained
    BASE/events      JSON for each lesion that is new or has ended

`events` are sent with QoS 1 and wait while the broker cannot be reached.
"""

import json
import time
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlsplit

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from qlumen.errors import UsageError
from qlumen.realtime.frames import FrameResult
from qlumen.realtime.sinks.base import Sink
from qlumen.realtime.sinks.events import Note
from qlumen.realtime.sinks.lesion_events import LesionEvents
from qlumen.realtime.sources.base import SourceInfo
from qlumen.system.locations import show_location

PORTS = {"mqtt": 1883, "mqtts": 8883}
DEFAULT_BASE = "qlumen"
WAITING = 1000
"""Messages that may wait for the broker; more are dropped and counted."""
KEEP_ALIVE_S = 15
RECONNECT_S = 1, 30
CLOSE_S = 3.0


class MqttSender(Sink):
    """Connects in the background, and again whenever the connection is lost.

    Args:
        url: `mqtt://[user:password@]host[:port][/base/topic]`, or `mqtts://` for TLS.
        note: writer of events about the connection.

    Raises:
        UsageError: the URL has no host, a wrong port, or wildcards in its topic.
    """

    def __init__(self, url: str, info: SourceInfo, note: Note) -> None:
        self.notes: list[str] = []
        self._shown, self._note = show_location(url), note
        self._events = LesionEvents()
        self._dropped = 0
        self._closed = False
        host, port, self._base, parts = _read_url(url)
        self._client = client = mqtt.Client(CallbackAPIVersion.VERSION2)
        if parts.scheme.lower() == "mqtts":
            client.tls_set()
        if parts.username:
            password = unquote(parts.password) if parts.password else None
            client.username_pw_set(unquote(parts.username), password)
        client.will_set(f"{self._base}/available", "offline", qos=1, retain=True)
        client.max_queued_messages_set(WAITING)
        client.reconnect_delay_set(*RECONNECT_S)
        client.on_connect, client.on_disconnect = self._connected, self._disconnected
        client.connect_async(host, port, KEEP_ALIVE_S)
        client.loop_start()

    def write(self, result: FrameResult) -> None:
        for change in self._events.changes(result):
            self._publish("events", json.dumps(change))
        state = self._events.state(result)
        if state is not None:
            self._publish("state", json.dumps(state), retain=True)
            self._publish("lesions", str(len(state["lesions"])), retain=True)

    def close(self) -> None:
        """Say "offline", wait shortly for messages on their way, and disconnect."""
        if self._closed:
            return
        self._closed = True
        last = self._publish("available", "offline", retain=True)
        if self._client.is_connected() and last is not None:
            with suppress(RuntimeError, ValueError):
                last.wait_for_publish(CLOSE_S)
            # The broker may still owe answers to events.
            deadline = time.monotonic() + CLOSE_S
            while self._client.want_write() and time.monotonic() < deadline:
                time.sleep(0.01)
        self._client.disconnect()
        self._client.loop_stop()
        if self._dropped:
            self.notes.append(
                f"{self._shown}: {self._dropped} messages were dropped, because the broker could "
                "not be reached"
            )

    def _publish(
        self, topic: str, text: str, *, retain: bool = False
    ) -> mqtt.MQTTMessageInfo | None:
        message = self._client.publish(f"{self._base}/{topic}", text, qos=1, retain=retain)
        if message.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            self._dropped += 1
            return None
        return message

    def _connected(self, client: mqtt.Client, *about: Any) -> None:
        reason = about[2]
        if reason.is_failure:
            self._note("mqtt_refused", broker=self._shown, reason=str(reason))
            return
        client.publish(f"{self._base}/available", "online", qos=1, retain=True)
        self._note("mqtt_connected", broker=self._shown)

    def _disconnected(self, client: mqtt.Client, *about: Any) -> None:
        if not self._closed:
            self._note("mqtt_lost", broker=self._shown, reason=str(about[2]))


def _read_url(url: str) -> tuple[str, int, str, Any]:
    parts = urlsplit(url)
    try:
        port = parts.port or PORTS[parts.scheme.lower()]
    except ValueError:
        raise UsageError(f"{show_location(url)}: use a port from 1 to 65535") from None
    if not parts.hostname:
        raise UsageError(f"{show_location(url)} names no host; write mqtt://HOST/TOPIC")
    base = unquote(parts.path).strip("/") or DEFAULT_BASE
    if set(base) & set("#+\0"):
        raise UsageError(f"{show_location(url)}: a topic cannot hold '#' or '+'")
    return parts.hostname, port, base, parts

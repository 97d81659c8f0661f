"""Lesions and state reach a real MQTT broker and a web server, also across their failures."""

import hashlib
import hmac
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlumen.errors import UsageError
from qlumen.networks.bundle import SHIPPED_INT8
from qlumen.realtime.frames import AiState
from qlumen.realtime.sinks.lesion_events import LesionEvents
from qlumen.realtime.sinks.mqtt import MqttSender
from qlumen.realtime.sinks.webhook import KEY, WebhookSender, sign
from qlumen.realtime.sources.base import SourceInfo

from support.live_frames import Notes, frame, free_port
from support.live_process import events, start_live, wait_until
from support.screen import missing_programs

INFO = SourceInfo("made", None, None, Fraction(25), None)
SECRET = "test key"


def test_a_late_ai_ends_no_lesion() -> None:
    """Findings are then not shown, but nobody knows that the lesion has left."""
    told = LesionEvents()
    shown, hidden = frame(0, {1}), frame(1, set())
    assert hidden.live is not None
    late = replace(hidden, live=replace(hidden.live, ai=AiState.LATE))
    assert [len(told.changes(one)) for one in (shown, late, shown, hidden)] == [1, 0, 0, 1]


@given(st.lists(st.sets(st.integers(1, 5)), max_size=20))
def test_events_tell_the_lesions_in_view(views: list[set[int]]) -> None:
    """Whoever adds what is new and removes what ended has the lesions of each frame."""
    told, known = LesionEvents(), set()
    for index, lesions in enumerate(views):
        result = frame(index, lesions, waiting={9})
        for change in told.changes(result):
            assert (change["lesion"] in known) == (change["type"] == "end")
            known ^= {change["lesion"]}
        assert known == lesions
        state = told.state(result)
        assert state is None or state["lesions"] == sorted(lesions)
        assert (state is None) == (index > 0 and views[index - 1] == lesions)


@contextmanager
def broker(port: int, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Run Mosquitto on the loopback, with what it stored in `folder`."""
    program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
    (folder / "m.conf").write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
        f"persistence_location {folder}/\nuser root\n"
    )
    process = subprocess.Popen([program, "-c", folder / "m.conf"], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: answers(port), "the broker does not listen")
        yield process
    finally:
        process.terminate()
        process.wait(10)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Subscriber:
    """Collects what `mosquitto_sub` receives below a topic."""

    def __init__(self, port: int, topic: str) -> None:
        self.process = subprocess.Popen(
            ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(port), "-t", f"{topic}/#",
             "-F", "%t\t%p", "-q", "1", "-i", "watcher", "-c"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.lines: list[tuple[str, str]] = []
        self._thread = Thread(target=self._read, daemon=True)
        self._thread.start()
        wait_until(lambda: self._hears(port, f"{topic}/ready"), "nothing is subscribed")

    def _hears(self, port: int, topic: str) -> bool:
        """Send a message, and return whether one came back: only then are others not missed."""
        command = ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(port), "-t", topic, "-m", "x"]
        subprocess.run(command, check=True, timeout=60)
        return bool(self.of(topic))

    def of(self, topic: str) -> list[str]:
        return [text for name, text in self.lines if name == topic]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            topic, _, text = line.rstrip("\n").partition("\t")
            self.lines.append((topic, text))


@pytest.fixture
def needs_mosquitto() -> None:
    if reason := missing_programs("mosquitto_sub"):
        pytest.skip(reason)


@pytest.mark.usefixtures("needs_mosquitto")
def test_a_live_session_tells_a_broker(tmp_path: Path) -> None:
    """The broker gets online, each alarm that the event log has, the state, and offline."""
    port = free_port()
    with broker(port, tmp_path):
        watcher = Subscriber(port, "room 1")
        process = start_live(
            tmp_path, "scene", "--send", f"mqtt://127.0.0.1:{port}/room%201", "--seconds", "8",
            settings=(f"model.bundle={SHIPPED_INT8}", "scene.width=320", "scene.height=240",
                      "temporal.hold_s=0"),
        )  # fmt: skip
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors.decode()
        wait_until(lambda: watcher.of("room 1/available")[-1:] == ["offline"], "still online")
        watcher.stop()
    assert watcher.of("room 1/available")[0] == "online"
    new = [json.loads(text) for text in watcher.of("room 1/events")]
    alarms = [event["track"] for event in events(tmp_path, "alarm")]
    assert [event["lesion"] for event in new if event["type"] == "new"] == alarms
    assert alarms
    counts = [int(text) for text in watcher.of("room 1/lesions")]
    states = [json.loads(text)["lesions"] for text in watcher.of("room 1/state")]
    assert counts == [len(lesions) for lesions in states]


@pytest.mark.usefixtures("needs_mosquitto")
def test_events_wait_for_a_broker_that_fell(tmp_path: Path) -> None:
    """Nothing is lost or doubled in order while the broker is killed and comes back."""
    port, notes = free_port(), Notes()
    sender: MqttSender | None = None
    with broker(port, tmp_path) as first:
        watcher = Subscriber(port, "qlumen")
        sender = MqttSender(f"mqtt://127.0.0.1:{port}", INFO, notes)
        sender.write(frame(0, {1}))
        wait_until(lambda: len(watcher.of("qlumen/events")) == 1, "the event does not come")
        first.kill()
        first.wait()
    for index in range(2, 6):
        sender.write(frame(index, {index}))
    with broker(port, tmp_path):
        wait_until(lambda: len(watcher.of("qlumen/events")) >= 9, "events are missing")
        sender.close()
        watcher.stop()
    told = [json.loads(text) for text in watcher.of("qlumen/events")]
    lesions = [event["lesion"] for event in told if event["type"] == "new"]
    assert sorted(set(lesions)) == [1, 2, 3, 4, 5]
    assert lesions == sorted(lesions)
    assert notes.kinds[:2] == ["mqtt_connected", "mqtt_lost"]
    assert notes.kinds[-1] == "mqtt_connected"
    assert not sender.notes


def test_no_broker_delays_nothing() -> None:
    """Frames are taken at once, and what cannot wait is counted at the end."""
    sender = MqttSender(f"mqtt://127.0.0.1:{free_port()}/x", INFO, Notes())
    begun = time.monotonic()
    for index in range(1200):
        sender.write(frame(index, {index}))
    busy = time.monotonic() - begun
    sender.close()
    assert "messages were dropped" in sender.notes[0]
    assert busy < 120  # the broker's time-outs alone would take longer


class Receiver:
    """Runs a web server that answers with given codes in turn, then with 204."""

    def __init__(self, *codes: int, port: int = 0) -> None:
        self.posts: list[tuple[dict[str, str], bytes]] = []
        self.codes = list(codes)
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.posts.append((dict(self.headers), body))
                self.send_response(receiver.codes.pop(0) if receiver.codes else 204)
                self.end_headers()

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def bodies(self) -> list[Any]:
        return [json.loads(body) for _, body in self.posts]


@pytest.fixture
def receive(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Receiver]]:
    monkeypatch.setenv(KEY, SECRET)
    started: list[Receiver] = []

    def begin(*codes: int, port: int = 0) -> Receiver:
        started.append(Receiver(*codes, port=port))
        return started[-1]

    yield begin
    for each in started:
        each.stop()


def test_events_are_signed(receive: Callable[..., Receiver]) -> None:
    """The receiver can compute the signature from the key, the time stamp and the body."""
    receiver = receive()
    sender = WebhookSender(f"http://127.0.0.1:{receiver.port}/in?room=1", INFO, Notes())
    sender.write(frame(0, {1}))
    sender.write(frame(1, set()))
    sender.close()
    assert [(one["type"], one["lesion"]) for one in receiver.bodies()] == [("new", 1), ("end", 1)]
    for headers, body in receiver.posts:
        signed = f"{headers['X-Qlumen-Timestamp']}.{body.decode()}".encode()
        wanted = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
        assert headers["X-Qlumen-Signature"] == f"sha256={wanted}"
        assert abs(int(headers["X-Qlumen-Timestamp"]) - time.time()) < 300
    assert len({headers["Idempotency-Key"] for headers, _ in receiver.posts}) == 2


def test_signature_is_that_of_the_standard() -> None:
    """The first case of RFC 4231 with our separator: HMAC-SHA-256 of '1.Hi There'."""
    wanted = hmac.digest(b"\x0b" * 20, b"1.Hi There", "sha256").hex()
    assert sign(b"\x0b" * 20, "1", b"Hi There") == wanted


def test_an_event_is_posted_until_it_is_taken(receive: Callable[..., Receiver]) -> None:
    """After failures it comes again with the same key; order stays; a refusal is counted."""
    receiver, notes = receive(503, 429, 204, 400), Notes()
    sender = WebhookSender(f"http://127.0.0.1:{receiver.port}", INFO, notes)
    for index in range(3):
        sender.write(frame(index, {index + 1}))
    wait_until(lambda: len(receiver.posts) == 7, "posts are missing")
    sender.close()
    keys = [headers["Idempotency-Key"] for headers, _ in receiver.posts]
    assert keys[0] == keys[1] == keys[2]
    assert len(set(keys)) == 5
    assert [one["lesion"] for one in receiver.bodies()] == [1, 1, 1, 1, 2, 2, 3]
    assert notes.kinds == ["webhook_failed", "webhook_back"]
    assert "1 events were lost: the receiver refused them (HTTP 400)" in sender.notes[0]


def test_events_wait_for_a_receiver_that_fell(receive: Callable[..., Receiver]) -> None:
    """A receiver that is gone gets all events in order when it is back."""
    first = receive()
    sender = WebhookSender(f"http://127.0.0.1:{first.port}", INFO, Notes())
    first.stop()
    for index in range(4):
        sender.write(frame(index, {index + 1}))
    second = receive(port=first.port)
    wait_until(lambda: len(second.posts) == 7, "events are missing")
    sender.close()
    assert [one["lesion"] for one in second.bodies()] == [1, 1, 2, 2, 3, 3, 4]
    assert not sender.notes


@pytest.mark.parametrize(
    ("make", "url", "message"),
    [
        (MqttSender, "mqtt:///topic", "names no host"),
        (MqttSender, "mqtt://h:99999", "port from 1 to 65535"),
        (MqttSender, "mqtt://user:pw@h/a/%23", "a topic cannot hold"),
        (WebhookSender, "https:///x", "names no host"),
        (WebhookSender, "https://user:pw@h:99999/x", "is no web address"),
        (WebhookSender, "https://user:pw@h/x", f"set {KEY}"),
    ],
)
def test_wrong_receivers_are_refused(
    make: type, url: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message says what is wrong and shows no password."""
    monkeypatch.delenv(KEY, raising=False)
    with pytest.raises(UsageError, match=message) as raised:
        make(url, INFO, Notes())
    assert "pw" not in str(raised.value)

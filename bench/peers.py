"""Kills the receivers of a live session again and again, and counts what is lost.

    python bench/peers.py [--json FILE] [--kills N] [--rounds N]

In each round a live session on the scene sends to an MQTT broker (mosquitto), to a web server and
to an OpenIGTLink client, each in a process of its own. Each is killed by SIGKILL at a random moment
and started again, N times over all rounds. A made-up lesion comes every 10 frames and goes 5 frames
later, and each of these events has to arrive. Before, a session runs that sends nothing, while the
same processes are started and killed beside it, because this takes processor time as well.
`lost` are events that the receiver never got, `counted` those that the session says it dropped.
A client of OpenIGTLink gets what happens while it is connected: `gaps` are events that are missing
within a connection. `delay` is that of the picture, sending over not sending, median of the rounds.
"""

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.frames import AiState, Finding, FrameResult, Track
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.live.outputs import LiveOutputs
from qlumen.realtime.live.session import LiveSession
from qlumen.realtime.live.stage import SinkRunner
from qlumen.realtime.live.summary import LiveSummary
from qlumen.realtime.sinks.base import NullSink, Sink
from qlumen.realtime.sinks.mqtt import MqttSender
from qlumen.realtime.sinks.openigtlink import OpenIgtLinkServer
from qlumen.realtime.sinks.webhook import KEY, WebhookSender
from qlumen.realtime.sources.base import SourceInfo

from support.common import parser, report

SETTINGS = ("source.loop=true", "scene.width=320", "scene.height=240", "engine.threads=1")
FRAMES_PER_LESION, FRAMES_IN_VIEW = 10, 5
PATIENCE_S = 40.0
LOOK_S = 0.2
HOST = "127.0.0.1"
INFO = SourceInfo("scene", None, None, None, None)
PROGRAM = Path(__file__).parent / "support" / "receivers.py"
Event = tuple[str, int]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--kills", type=int, default=100, help="kills of each receiver")
    arguments.add_argument("--rounds", type=int, default=4)
    options = arguments.parse_args()
    kills = -(-options.kills // options.rounds)
    os.environ[KEY] = "any"
    totals: dict[str, Counter[str]] = {name: Counter() for name in ("mqtt", "webhook", "igtl")}
    delays: list[tuple[LiveSummary, LiveSummary]] = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as name:
            plain = run_beside_receivers(Path(name), kills, list(totals))
        with tempfile.TemporaryDirectory() as name:
            busy = run_with_receivers(Path(name), kills, totals)
        delays.append((plain, busy))
    ratios = {
        f"delay_{key}": statistics.median(
            getattr(busy.raw_delay_ms, key) / getattr(plain.raw_delay_ms, key)
            for plain, busy in delays
        )
        for key in ("p50", "p99")
    }
    rounds = [
        {"name": f"round_{number}", "plain_ms_p50": plain.raw_delay_ms.p50,
         "plain_ms_p99": plain.raw_delay_ms.p99, "sending_ms_p50": busy.raw_delay_ms.p50,
         "sending_ms_p99": busy.raw_delay_ms.p99, "shown": busy.shown, "drops": str(busy.drops)}
        for number, (plain, busy) in enumerate(delays, 1)
        if plain.raw_delay_ms and busy.raw_delay_ms
    ]  # fmt: skip
    rows = [{"name": name, **counts} for name, counts in totals.items()]
    report([*rows, *rounds], ratios, options.json)


def run_session(
    open_sink: Callable[[LatencyRecorder, Any], Sink], meanwhile: Callable[[], object]
) -> LiveSummary:
    """Run live video with one sink until `meanwhile` returns."""
    settings = load_settings(None, SETTINGS)

    def open_runner(latency: LatencyRecorder, note: Any) -> SinkRunner:
        sink = open_sink(latency, note)
        return SinkRunner("peers", lambda: sink, latency, note, frames=settings.live.sink_frames)

    quiet = Console(quiet=True)
    with LiveSession("scene", LiveOutputs(), settings, quiet, runners=(open_runner,)) as session:

        def end() -> None:
            try:
                meanwhile()
            finally:
                session.stop()

        thread = threading.Thread(target=end)
        thread.start()
        summary = session.run()
        thread.join()
    return summary


def run_beside_receivers(folder: Path, kills: int, names: list[str]) -> LiveSummary:
    """Run a session that sends nothing, while processes of receivers are started and killed."""

    def kill_all() -> None:
        ports = [free_port() for _ in names]
        write_configuration(folder, ports[names.index("mqtt")])
        killers = [
            start_killer(name, port, folder / f"{name}.txt", str(kills), "alone")
            for name, port in zip(names, ports, strict=True)
        ]
        for killer in killers:
            killer.communicate()

    return run_session(lambda latency, note: NullSink(), kill_all)


def run_with_receivers(folder: Path, kills: int, totals: dict[str, Counter[str]]) -> LiveSummary:
    """Run a session whose receivers are killed, and add what came to `totals`."""
    ports = {name: free_port() for name in totals}
    files = {name: folder / f"{name}.txt" for name in totals}
    write_configuration(folder, ports["mqtt"])
    made: list[MadeUpLesions] = []

    def open_sink(latency: LatencyRecorder, note: Any) -> Sink:
        made.append(
            MadeUpLesions(
                {
                    "mqtt": MqttSender(f"mqtt://{HOST}:{ports['mqtt']}", INFO, note),
                    "webhook": WebhookSender(f"http://{HOST}:{ports['webhook']}/", INFO, note),
                    "igtl": OpenIgtLinkServer(f"igtl://{HOST}:{ports['igtl']}", INFO, note),
                }
            )
        )
        return made[0]

    def kill_all() -> None:
        subscriber = start_subscriber(ports["mqtt"], files["mqtt"])
        killers = [start_killer(name, ports[name], files[name], str(kills)) for name in totals]
        while not all(file.exists() and file.stat().st_size for file in
                      (files["mqtt"], files["igtl"])):  # fmt: skip
            time.sleep(LOOK_S)
        made[0].paused = False
        for killer in killers:
            assert killer.stdout is not None
            killer.stdout.readline()
        made[0].paused = True
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and (
            made[0].shown
            or any(made[0].told - set(read_events(files[name])) for name in ("mqtt", "webhook"))
        ):
            time.sleep(LOOK_S)
        for killer in killers:
            killer.communicate()
        os.killpg(subscriber.pid, signal.SIGKILL)

    summary = run_session(open_sink, kill_all)
    for name, counts in totals.items():
        came = read_events(files[name])
        counts["kills"] += kills
        counts["events"] += len(made[0].told)
        if name == "igtl":
            counts["came"] += len(set(came))
            counts["gaps"] += count_gaps(files[name])
        else:
            counts["lost"] += len(made[0].told - set(came))
            counts["counted"] += made[0].count_dropped(name)
            counts["twice"] += len(came) - len(set(came))
    return summary


class MadeUpLesions(Sink):
    """Puts a lesion into every few frames, and hands them to all senders.

    Attributes:
        told: events that the senders have to send.
        paused: whether no lesion comes.
        shown: number of the lesion in view; 0 without one.
    """

    def __init__(self, senders: dict[str, Any]) -> None:
        self._senders = senders
        self.told: set[Event] = set()
        self._frames, self.shown = 0, 0
        self.paused = True

    def write(self, result: FrameResult) -> None:
        assert result.live is not None
        number, place = divmod(self._frames, FRAMES_PER_LESION)
        number = number + 1 if place < FRAMES_IN_VIEW and not self.paused else 0
        self._frames += 1
        if number != self.shown:
            self.told |= {("end", self.shown)} if self.shown else {("new", number)}
            self.shown = number
        box = np.array([[1, 1], [9, 1], [9, 9], [1, 9]], np.int32)
        track = Track(number, Finding((1, 1, 10, 10), 0.9, 81, box), 0.0, True, False)
        tracks = (track,) if number else ()
        changed = replace(result, live=replace(result.live, ai=AiState.ON, tracks=tracks))
        for sender in self._senders.values():
            sender.write(changed)

    def count_dropped(self, name: str) -> int:
        """Return the number of messages that a closed sender says it has lost."""
        words = [word for line in self._senders[name].notes for word in line.split()]
        return sum(int(word) for word in words if word.isdecimal())

    def close(self) -> None:
        for sender in self._senders.values():
            sender.close()


def write_configuration(folder: Path, port: int) -> None:
    """Make mosquitto keep what it has taken when it is killed."""
    (folder / "m.conf").write_text(
        f"listener {port} {HOST}\nallow_anonymous true\nuser root\nmax_queued_messages 0\n"
        f"persistence true\npersistence_location {folder}/\n"
        "autosave_interval 1\nautosave_on_changes true\n",
        encoding="utf-8",
    )


def start_killer(name: str, port: int, file: Path, *how: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-S", str(PROGRAM), name, str(port), str(file), *how]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def start_subscriber(port: int, file: Path) -> "subprocess.Popen[bytes]":
    """Collect the events in a file by `mosquitto_sub`, whose session the broker keeps."""
    command = ["mosquitto_sub", "-h", HOST, "-p", str(port), "-t", "qlumen/available",
               "-t", "qlumen/events", "-q", "1", "-i", "watcher", "-c"]  # fmt: skip
    code = (
        "import subprocess, sys, time\n"
        "while True:\n"
        "    subprocess.run(sys.argv[2:], stdout=open(sys.argv[1], 'ab'))\n"
        "    time.sleep(0.1)"
    )
    return subprocess.Popen([sys.executable, "-S", "-c", code, str(file), *command],
                            stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip


def read_events(file: Path) -> list[Event]:
    """Return type and lesion of each whole line."""
    lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
    told = [json.loads(line) for line in lines if line.startswith(b"{")]
    return [(one["type"], one["lesion"]) for one in told]


def count_gaps(file: Path) -> int:
    """Count the events missing between two that came over one connection."""
    gaps, before = 0, -1
    for line in file.read_bytes().split(b"\n")[:-1]:
        if not line.startswith(b"{"):
            before = -1
            continue
        event = json.loads(line)
        place = 2 * event["lesion"] + (event["type"] == "end")
        gaps += place - before - 1 if before >= 0 else 0
        before = place
    return gaps


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()

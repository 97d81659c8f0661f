"""Tests rooms on real parts: each has its own outputs, and a broken source harms no other."""

import json
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from rich.console import Console

from qlumen.realtime.cli import commands
from qlumen.realtime.config.rooms import load_rooms
from qlumen.realtime.live.rooms import Rooms
from qlumen.realtime.sinks.hash_chain import check_chain
from qlumen.system.threads import running_threads

from support.faulty_camera import FAULTS, FaultyCamera
from support.live_process import LIVE, SMALL, lines, wait_until
from support.media import make_images
from support.scraping import parse_metrics
from support.senders import free_port
from support.small_network import small_network

QUICK = ("reconnect.stall_s=0.5", "reconnect.first_s=0.1", "reconnect.max_s=0.2")
SETTINGS = (*SMALL, small_network(), "source.loop=true", *QUICK)


def jpegs(width: int, height: int) -> list[bytes]:
    from qlumen.realtime.pixels.jpeg import jpeg_bytes

    return [jpeg_bytes(image, 90) for image in make_images(8, width, height)]


def start_rooms(folder: Path, rooms: list[dict[str, Any]], *more: str) -> "subprocess.Popen[str]":
    file = folder / "rooms.yaml"
    listed = [
        {"events": str(folder / f"e-{room['name']}.jsonl"),
         "record": str(folder / f"o-{room['name']}.mp4"), **room}
        for room in rooms
    ]  # fmt: skip
    file.write_text(yaml.safe_dump({"rooms": listed}))
    command = [sys.executable, "-c", LIVE, "live", "--config", str(file)]
    command += ["--json", str(folder / "s.json"), *more]
    for override in SETTINGS:
        command += ["--set", override]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)


def log(folder: Path, room: str) -> list[dict[str, Any]]:
    file = folder / f"e-{room}.jsonl"
    return lines(file) if file.exists() else []


def shown(folder: Path, room: str) -> list[int]:
    return [line["frame"] for line in log(folder, room) if "findings" in line]


def judged(folder: Path, room: str) -> list[int]:
    """Return the frames whose findings were shown."""
    return [line["annotated_frame"] for line in log(folder, room) if line.get("annotated_frame")]


def has_event(folder: Path, room: str, kind: str) -> bool:
    return any(line.get("event") == kind for line in log(folder, room))


def test_broken_and_frozen_sources_harm_no_other_room(tmp_path: Path) -> None:
    """A room goes on with every frame shown, and with findings, while the camera beside it
    freezes, sends garbage, changes its size and is cut, and a third source never opens. The camera
    comes back each time. Each room has its own log and row in the summary, and metrics its label.
    """
    (tmp_path / "text.mp4").write_text("no video")
    port = free_port()
    with FaultyCamera(jpegs(160, 128), jpegs(320, 240), 25) as camera:
        rooms = [
            {"name": "good", "source": "scene", "weight": 2},
            {"name": "faulty", "source": camera.url, "settings": {"alarm": {"flash_s": 0}}},
            {"name": "absent", "source": str(tmp_path / "text.mp4")},
        ]
        process = start_rooms(tmp_path, rooms, "--metrics", str(port))

        def more(room: str, frames: Callable[[Path, str], list[int]] = shown) -> None:
            before = len(frames(tmp_path, room))
            wait_until(lambda: len(frames(tmp_path, room)) > before + 10, f"{room} stands still")

        try:
            more("good", judged)
            more("faulty")
            for fault in FAULTS:
                camera.fault = fault
                time.sleep(0.7)
                more("good")
                more("good", judged)
                camera.fault = None
                more("faulty")
            metrics = parse_metrics(ask(port, "/metrics")[1])
            health, ready = ask(port, "/health"), ask(port, "/ready")
            process.send_signal(signal.SIGTERM)
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 1, said
    assert "absent: " in said
    arrived = metrics["qlumen_frames_arrived"].samples
    assert {sample.labels["source"] for sample in arrived} == {"good", "faulty"}
    assert health[0] == 200
    assert (ready[0], json.loads(ready[1])["wrong"]) == (503, ["absent: no source"])
    frames = shown(tmp_path, "good")
    assert frames == list(range(len(frames)))
    assert has_event(tmp_path, "faulty", "signal_lost")
    assert not has_event(tmp_path, "good", "signal_lost")
    for room in ("good", "faulty"):
        assert check_chain(tmp_path / f"e-{room}.jsonl").fault is None
        assert (tmp_path / f"o-{room}.mp4").stat().st_size > 0
    rows = {row["room"]: row for row in json.loads((tmp_path / "s.json").read_text())["rooms"]}
    assert rows["good"]["arrived"] == rows["good"]["shown"] == len(frames)
    assert rows["good"]["error"] is None
    assert rows["good"]["ai_restarts"] == 0
    assert rows["absent"].keys() == {"room", "error"}
    assert not (tmp_path / "e-absent.jsonl").exists()


def ask(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_every_thread_has_its_room_in_its_name_and_ends(tmp_path: Path) -> None:
    """While two rooms run, all new threads are named after one of them; afterwards none is left."""
    before = set(running_threads())
    chosen = load_rooms(None, SETTINGS, ["scene", "pattern"])
    seen: set[str] = set()
    with Rooms(chosen, Console(quiet=True)) as rooms:

        def look() -> None:
            wait_until(
                lambda: all(each.share.rate() > 0 for each in rooms.runners), "nothing was judged"
            )
            seen.update(each.name for each in set(running_threads()) - before)
            rooms.stop()

        looking = threading.Thread(target=look)
        looking.start()
        rooms.run()
        looking.join()
    assert {name.partition("/")[0] for name in seen} == {"room1", "room2"}
    assert {"room1/grabber", "room1/display", "room2/model", "room2/watchdog"} <= seen
    assert set(running_threads()) <= before
    summaries = [runner.summary for runner in rooms.runners]
    assert [each.source for each in summaries if each] == ["scene", "pattern"]


def test_changed_settings_reach_their_own_room(tmp_path: Path) -> None:
    """A reload changes the room whose settings changed, and a room that is no longer named goes on
    with its old ones."""
    file = tmp_path / "rooms.yaml"
    names = ("changed", "same", "gone")
    listed: list[dict[str, Any]] = [{"name": name, "source": "scene"} for name in names]
    file.write_text(yaml.safe_dump({"rooms": listed}))
    before = load_rooms(file, SETTINGS)
    listed[0]["settings"] = {"overlay": {"fill_alpha": 0.7}}
    file.write_text(yaml.safe_dump({"rooms": listed[:2]}))
    found: list[float] = []
    with Rooms(before, Console(quiet=True)) as rooms:

        def alphas() -> list[float]:
            sessions = [runner.session for runner in rooms.runners]
            return [each.control.settings().overlay.fill_alpha for each in sessions if each]

        def change() -> None:
            wait_until(lambda: len(alphas()) == len(names), "a room did not begin")
            rooms.reload(lambda: load_rooms(file, SETTINGS))
            wait_until(lambda: 0.7 in alphas(), "nothing changed")
            time.sleep(0.3)
            found.extend(alphas())
            rooms.stop()

        changing = threading.Thread(target=change)
        changing.start()
        rooms.run()
        changing.join()
    usual = before[0].settings.overlay.fill_alpha
    assert found == [0.7, usual, usual]


def test_a_room_that_cannot_write_is_over_and_the_other_one_is_not(tmp_path: Path) -> None:
    """An existing recording is kept, its room has the error, and the other room shows its video."""
    kept = tmp_path / "o.mp4"
    kept.write_bytes(b"precious")
    file = tmp_path / "rooms.yaml"
    rooms = [{"name": "a", "source": "scene", "record": str(kept)}]
    file.write_text(yaml.safe_dump({"rooms": [*rooms, {"name": "b", "source": "scene"}]}))
    chosen = load_rooms(file, (*SETTINGS, "source.loop=false", "scene.frames=10"))
    with Rooms(chosen, Console(quiet=True)) as running:
        running.run()
    broken, works = running.runners
    assert broken.error is not None
    assert "exists" in broken.error
    assert broken.summary is None
    assert kept.read_bytes() == b"precious"
    assert works.summary is not None
    assert works.summary.shown == 10


def test_outputs_of_rooms_are_checked_together_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two rooms cannot write one file, and outputs of one source are refused for several."""
    # `leave` would end this process where a thread of an earlier test hangs.
    monkeypatch.setattr("qlumen.realtime.commands.live.leave", lambda code: code)
    file = tmp_path / "rooms.yaml"
    same = str(tmp_path / "o.mp4")
    listed = [{"name": name, "source": "scene", "record": same} for name in "ab"]
    file.write_text(yaml.safe_dump({"rooms": listed}))
    kept, there = tmp_path / "kept.mp4", tmp_path / "there.yaml"
    kept.touch()
    there.write_text(yaml.safe_dump({"rooms": [listed[0] | {"record": str(kept)}]}))
    for arguments, message in (
        (["--config", str(file)], "--record and --record are both"),
        (["--config", str(there)], f"{kept} exists; choose another name"),
        (["scene", "pattern", "--record", same], "write the others into the list rooms"),
        (["scene", "pattern", "--monitor"], "write the others into the list rooms"),
        ([], "no source is named"),
    ):
        answer = CliRunner().invoke(commands, ["live", *arguments], standalone_mode=False)
        assert message in f"{answer.output} {answer.exception}"
        assert 2 in (answer.return_value, getattr(answer.exception, "exit_code", None))
    assert not Path(same).exists()

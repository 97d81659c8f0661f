"""Runs `qlumen live` in another process, and reads its files."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from support.small_network import small_network

LIVE = "from qlumen.realtime.cli import main; main()"
SMALL_SCENE = ["scene.width=160", "scene.height=128"]
SMALL = [*SMALL_SCENE, "pattern.width=320", "pattern.height=240", "engine.threads=1"]
PATIENCE_S = 120


def start_live(
    folder: Path, source: str = "pattern", *more: str, settings: tuple[str, ...] = ()
) -> "subprocess.Popen[bytes]":
    """Start it on endless video; it records to `o.mp4` and `e.jsonl` in `folder`."""
    command = [sys.executable, "-c", LIVE, "live", source, "--loop"]
    command += ["--record", str(folder / "o.mp4"), "--events", str(folder / "e.jsonl")]
    for override in (*SMALL, small_network(), *settings):
        command += ["--set", override]
    environment = os.environ | {"PYTHONFAULTHANDLER": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen([*command, *more], stdout=pipe, stderr=pipe, env=environment)


def wait_for_frames(folder: Path, frames: int) -> None:
    """Return when the log has more than `frames` frames."""
    wait_until(lambda: _content(folder).count(b'"frame":') > frames, "no new frames were logged")


def wait_for_event(folder: Path, kind: str) -> None:
    """Return when the log has an event of that kind."""
    wanted = f'"event":"{kind}"'.encode()
    wait_until(lambda: wanted in _content(folder), f"there was no {kind}")


def wait_until(true: Callable[[], bool], message: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, message
        time.sleep(0.05)


def lines(path: Path) -> list[dict[str, Any]]:
    """Return all whole lines of an events file."""
    content = path.read_bytes()
    return [json.loads(line) for line in content[: content.rfind(b"\n") + 1].splitlines()]


def frame_lines(folder: Path) -> list[dict[str, Any]]:
    return [line for line in lines(folder / "e.jsonl") if "findings" in line]


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [line for line in lines(folder / "e.jsonl") if line.get("event") == kind]


def kinds(folder: Path) -> list[str]:
    """Return the kinds of all events, in order."""
    return [line["event"] for line in lines(folder / "e.jsonl") if "event" in line]


def _content(folder: Path) -> bytes:
    file = folder / "e.jsonl"
    return file.read_bytes() if file.exists() else b""

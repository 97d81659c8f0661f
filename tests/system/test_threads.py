"""Tests that qlumen's threads are listed while they run, and that a hung one ends the process."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from qlumen.system.threads import hung_threads, running_threads, start, start_pool

LEAVE = """
import threading
from qlumen.system.exits import leave
for_ever = threading.Event().wait
{hang}
print("leaving", flush=False)
print("came back with", leave(7))
"""
EVENT_LOG = """
import os, sys
from rich.console import Console
from qlumen.realtime.live.event_log import EventLog
from qlumen.realtime.sinks.events import EventsWriter
os.mkfifo(sys.argv[1] + "/pipe")
held = os.open(sys.argv[1] + "/pipe", os.O_RDWR)
log = EventLog(EventsWriter(sys.argv[1] + "/pipe", append=True), Console(quiet=True))
for _ in range(500):
    log("mark", text=1000 * "x")
"""
ENGINE = """
from qlumen.realtime.engines.base import WorkerEngine
class Hangs(WorkerEngine):
    def _compute(self, image): for_ever()
    def _about(self): return {}
import numpy as np
engine = Hangs((4, 4), (4, 4), streams=1, requests=1)
engine.submit(np.zeros((4, 4, 3), np.uint8))
"""
SINK = """
import numpy as np
from qlumen.realtime.latency import LatencyRecorder
from qlumen.realtime.live.stage import SinkRunner
from qlumen.realtime.sinks.base import NullSink
class Hangs(NullSink):
    def write(self, result): for_ever()
runner = SinkRunner("out", Hangs, LatencyRecorder(), print, frames=1)
runner.start()
runner.put(object())
runner.close(0.1)
"""
MODEL = """
from qlumen.realtime.config.live import WatchdogSettings
from qlumen.realtime.live import watchdog
from qlumen.realtime.queues import DroppingQueue
watchdog.OPENING_SECONDS = 0.1
watched = watchdog.Watchdog(for_ever, DroppingQueue(), print, print, WatchdogSettings(hang_s=0.1))
try:
    watched.start()
except Exception:
    watched.close()
"""
ALARM = """
from qlumen.realtime.live.alarm import AlarmCommand
AlarmCommand(print).run(["sleep", "5"])
"""
PLAIN = """
from qlumen.system.threads import start
start("grabber", for_ever)
"""
HANGS = {"plain": PLAIN, "event log": EVENT_LOG, "engine": ENGINE, "sink": SINK, "model": MODEL,
         "alarm": ALARM}  # fmt: skip


def test_a_thread_is_listed_until_it_ends() -> None:
    """It is listed with its name, and removed when it ends."""
    may_end = threading.Event()
    thread = start("listed", may_end.wait)
    assert thread in running_threads()
    assert thread.name == "listed"
    may_end.set()
    thread.join()
    assert thread not in running_threads()


def test_threads_of_others_are_not_listed() -> None:
    """For example, threads of a library are not listed."""
    may_end = threading.Event()
    thread = threading.Thread(target=may_end.wait)
    thread.start()
    assert thread not in running_threads()
    may_end.set()
    thread.join()


def test_threads_of_a_pool_are_listed_and_prepared() -> None:
    """Each thread calls `prepare` once."""
    prepared: list[threading.Thread] = []
    with start_pool("pool", 2, lambda: prepared.append(threading.current_thread())) as pool:
        both = threading.Barrier(2)
        used = list(pool.map(lambda _: (both.wait(30), threading.current_thread())[1], range(2)))
        assert set(used) == set(prepared)
        assert set(used) <= set(running_threads())
    assert not set(used) & set(running_threads())


def test_an_error_of_the_work_is_handled_in_the_thread() -> None:
    """This holds for any error, also an error of `prepare`."""
    errors: list[tuple[BaseException, threading.Thread]] = []

    def on_error(error: BaseException) -> None:
        errors.append((error, threading.current_thread()))

    def fail() -> None:
        raise SystemExit("made to raise")

    threads = [start("a", fail, on_error=on_error)]
    threads.append(start("b", lambda: None, prepare=fail, on_error=on_error))
    for thread in threads:
        thread.join()
    assert {thread for _, thread in errors} == set(threads)
    assert all(isinstance(error, SystemExit) for error, _ in errors)


def test_a_thread_that_is_about_to_end_does_not_hang() -> None:
    """It may use the given time; a thread that takes longer hangs."""
    before = set(running_threads())
    may_end = threading.Event()
    slow, stuck = start("slow", lambda: time.sleep(0.1)), start("stuck", may_end.wait)
    assert set(hung_threads(5.0)) - before == {stuck}
    assert not slow.is_alive()
    may_end.set()
    stuck.join()


def run_with_hung_thread(hang: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a process that ends while a thread hangs."""
    command = [sys.executable, "-c", LEAVE.format(hang=hang), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes with a name, and `sleep`")
@pytest.mark.parametrize("kind", HANGS)
def test_a_hung_thread_of_any_kind_ends_the_process(tmp_path: Path, kind: str) -> None:
    """The exit code and the output are right; otherwise the interpreter would wait or crash."""
    ended = run_with_hung_thread(HANGS[kind], tmp_path)
    assert (ended.returncode, ended.stdout) == (7, "leaving\n"), ended.stderr


def test_an_orderly_end_is_left_to_the_interpreter(tmp_path: Path) -> None:
    """If no thread hangs, `leave` returns the exit code."""
    ended = run_with_hung_thread("", tmp_path)
    assert (ended.returncode, ended.stdout) == (0, "leaving\ncame back with 7\n"), ended.stderr

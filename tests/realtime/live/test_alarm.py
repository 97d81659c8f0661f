"""Tests that the alarm's program runs once at a time, delays nothing and ends with the session."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from qlumen.realtime.live.alarm import AlarmCommand
from qlumen.system.threads import running_threads

from support.live_process import wait_until

SLEEP = "import time; time.sleep(60)"


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, kind: str, **fields: object) -> None:
        self.lines.append((kind, fields))


def test_the_program_is_run(tmp_path: Path) -> None:
    """The program runs with its arguments, and a good end writes no event."""
    file, log = tmp_path / "rung", Log()
    with AlarmCommand(log) as alarm:
        alarm.run([sys.executable, "-c", "import sys; open(sys.argv[1], 'w')", str(file)])
        wait_until(file.exists, "it was not run")
    assert log.lines == []


def test_alarms_while_it_runs_start_no_second_one(tmp_path: Path) -> None:
    """Ten alarms together write one letter to the file, and each call returns immediately."""
    file = tmp_path / "rung"
    code = f"open({str(file)!r}, 'a').write('x'); {SLEEP}"
    started = time.monotonic()
    with AlarmCommand(Log()) as alarm:
        for _ in range(10):
            alarm.run([sys.executable, "-c", code])
        assert time.monotonic() - started < 30
        wait_until(lambda: file.exists() and file.read_text() != "", "it was not run")
        assert file.read_text() == "x"


def test_it_is_ended_with_the_session(tmp_path: Path) -> None:
    """No process of the program is left after the session."""
    file = tmp_path / "pid"
    code = f"import os; open({str(file)!r}, 'w').write(str(os.getpid())); {SLEEP}"
    with AlarmCommand(Log()) as alarm:
        alarm.run([sys.executable, "-c", code])
        wait_until(lambda: file.exists() and file.read_text() != "", "it was not run")
    number = file.read_text()
    wait_until(lambda: not is_alive(number), "it outlived the session")


def test_no_program_starts_after_the_end(tmp_path: Path) -> None:
    """An alarm that comes when the session has ended starts nothing."""
    file, log = tmp_path / "rung", Log()
    alarm = AlarmCommand(log)
    alarm.close()
    alarm.run([sys.executable, "-c", f"open({str(file)!r}, 'w')"])
    wait_until(lambda: not any(one.name == "alarm" for one in running_threads()), "it runs")
    assert not file.exists()
    assert log.lines == []


def is_alive(number: str) -> bool:
    return subprocess.run(["ps", "-p", number], capture_output=True, check=False).returncode == 0


def thread_names() -> list[str]:
    return [thread.name for thread in running_threads()]


def test_a_program_that_cannot_be_run_or_fails_becomes_an_event() -> None:
    """A missing program and one with exit code 3 each write one event, and raise nothing."""
    log = Log()
    with AlarmCommand(log) as alarm:
        alarm.run(["/no/such/program"])
        wait_until(lambda: len(log.lines) == 1, "no event was written")
        wait_until(lambda: "alarm" not in thread_names(), "it never ended")
        alarm.run([sys.executable, "-c", "raise SystemExit(3)"])
        wait_until(lambda: len(log.lines) == 2, "no event was written")
    assert [kind for kind, _ in log.lines] == ["alarm_command_failed"] * 2
    assert log.lines[1][1]["reason"] == "exit code 3"


def test_no_program_is_no_alarm() -> None:
    """Without a program, which is the default, nothing happens."""
    log = Log()
    with AlarmCommand(log) as alarm:
        alarm.run(())
    assert log.lines == []

"""Tests that events reach their file and the terminal, and that the caller waits for neither."""

import io
import os
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from qlumen.realtime.live.event_log import MAX_WAITING, EventLog
from qlumen.realtime.sinks.events import EventsWriter
from qlumen.realtime.sinks.hash_chain import check_chain

from support.live_process import lines


def test_events_are_in_the_file_in_their_order(tmp_path: Path) -> None:
    """The file has the events with their fields, in a chain of hashes that verifies."""
    file = tmp_path / "e.jsonl"
    writer = EventsWriter(file, append=True)
    with EventLog(writer, Console(quiet=True)) as log:
        for number in range(20):
            log("mark", number=number)
        log.flush(30)
        assert [line["number"] for line in lines(file)] == list(range(20))
        last = log.last_hash
        log("mark", number=20)
        log.flush(30)
        assert lines(file)[-1]["previous"] == last
    writer.close()
    assert check_chain(file).fault is None


def test_the_terminal_shows_what_a_user_should_see() -> None:
    """The terminal shows the loss of the signal, but no mark; without a file there is no hash."""
    text = io.StringIO()
    with EventLog(None, Console(file=text)) as log:
        log("mark", number=1)
        log("signal_lost", reason="no frame", attempt=2)
        log.flush(30)
        assert log.last_hash is None
    assert text.getvalue() == "signal_lost: reason no frame, attempt 2\n"


@pytest.mark.skipif(sys.platform == "win32", reason="pipes with a name")
def test_a_file_that_hangs_delays_nothing(tmp_path: Path) -> None:
    """With a pipe that nobody reads, more events than may wait are taken immediately, the terminal
    still shows its events, and the end comes after its time."""
    pipe, text = tmp_path / "e.jsonl", io.StringIO()
    os.mkfifo(pipe)
    held = os.open(pipe, os.O_RDWR)
    log = EventLog(EventsWriter(pipe, append=True), Console(file=text))
    begun = time.monotonic()
    for number in range(2 * MAX_WAITING):
        log("mark", number=number, text=200 * "x")
    log("ai_off", reason="made up")
    log.flush(0.2)
    log.close()
    assert time.monotonic() - begun < 30
    assert text.getvalue() == "ai_off: reason made up\n"
    os.set_blocking(held, False)
    while True:  # let the thread go
        try:
            os.read(held, 1 << 16)
        except BlockingIOError:
            break
        time.sleep(0.05)
    os.close(held)


def test_a_terminal_that_is_gone_costs_the_file_nothing(tmp_path: Path) -> None:
    """The file has every event; the end does not wait for the terminal."""
    read, write = os.pipe()
    os.close(read)
    file = tmp_path / "e.jsonl"
    with (
        open(write, "w", encoding="utf-8") as gone,  # noqa: PTH123 - a descriptor
        EventsWriter(file, append=True) as writer,
        EventLog(writer, Console(file=gone)) as log,
    ):
        for _ in range(3):
            log("signal_back", gap_s=1.0)
        log.flush(30)
        assert len(lines(file)) == 3
        os.dup2(os.open(os.devnull, os.O_WRONLY), write)  # so that closing it may write

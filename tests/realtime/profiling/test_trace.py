import json
from pathlib import Path

import pytest

from qlumen.errors import SinkError
from qlumen.realtime.profiling.recorder import MISSED
from qlumen.realtime.profiling.spans import SpanLog
from qlumen.realtime.profiling.trace import write_trace

from support.traces import check_trace

MS = 1_000_000
THREAD = 7


def test_a_trace_has_the_documented_form(tmp_path: Path) -> None:
    """Work is complete events, queues and frames are pairs, and a missed budget has a mark."""
    log = SpanLog()
    log.threads[THREAD] = "main"
    for frame in range(3):
        at = frame * 10 * MS
        log.add("queued_decode", frame, at, at + MS, THREAD)
        log.add("decode", frame, at + MS, at + 2 * MS, THREAD)
        log.add("inference", frame, at + 2 * MS, at + 15 * MS, THREAD)
        log.add("overlay", frame, at + 2 * MS, at + 3 * MS, THREAD)
        log.add("response", frame, at, at + (15 + frame) * MS, THREAD)
    log.add(MISSED, 2, 37 * MS, 37 * MS, THREAD)
    write_trace(tmp_path / "t.json", log)
    content = json.loads((tmp_path / "t.json").read_text())
    assert check_trace(content) == {"M": 2, "X": 6, "b": 9, "e": 9, "i": 1}
    (missed,) = (event for event in content["traceEvents"] if event["ph"] == "i")
    assert missed["args"] == {"frame": 2}
    assert missed["ts"] == 20_000 + 17_000


def test_a_long_run_keeps_the_first_spans_and_counts_the_others(tmp_path: Path) -> None:
    """The memory of the log is limited."""
    log = SpanLog(limit=4)
    for frame in range(10):
        log.add("decode", frame, frame, frame + 1, THREAD)
    assert [span.frame for span in log] == [0, 1, 2, 3]
    assert log.left_out == 6


def test_an_empty_trace_is_valid(tmp_path: Path) -> None:
    """A log without spans gives a valid file."""
    write_trace(tmp_path / "t.json", SpanLog())
    assert check_trace(json.loads((tmp_path / "t.json").read_text())) == {"M": 1}


def test_a_trace_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    """The error names the file."""
    with pytest.raises(SinkError, match=r"absent.*t\.json"):
        write_trace(tmp_path / "absent" / "t.json", SpanLog())

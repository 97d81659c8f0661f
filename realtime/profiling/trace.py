"""Writes a trace that Perfetto and Chrome's `about:tracing` open.

The format is the "Trace Event Format" (Chromium project). Work is written as complete events
(`X`), which nest on their thread. Frames that wait and frames in flight in the engine overlap.
They are asynchronous pairs (`b`, `e`) with the frame's index as identity.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qlumen.errors import SinkError
from qlumen.realtime.analysis.look_ahead import LOOK_AHEAD
from qlumen.realtime.latency import END_TO_END, NS_PER_US, QUEUED
from qlumen.realtime.profiling.recorder import MISSED, RESPONSE
from qlumen.realtime.profiling.spans import Span, SpanLog

PROCESS = 1
IN_FLIGHT = ("inference", LOOK_AHEAD, END_TO_END, RESPONSE)

Event = dict[str, Any]


def write_trace(path: Path, log: SpanLog) -> None:
    """Write the spans, and a mark for each steady frame that missed its budget; raise SinkError
    if the file cannot be written."""
    try:
        with path.open("w", encoding="utf-8") as file:
            file.write('{"displayTimeUnit":"ms","traceEvents":[\n')
            separator = ""
            for event in events(log):
                file.write(separator + json.dumps(event, separators=(",", ":")))
                separator = ",\n"
            file.write("\n]}\n")
    except OSError as error:
        raise SinkError(f"{path} cannot be written: {error.strerror}") from None


def events(log: SpanLog) -> Iterator[Event]:
    """Yield all events, with times in microseconds since the first span."""
    yield _name_event("process_name", 0, "qlumen profile")
    for number, name in log.threads.items():
        yield _name_event("thread_name", number, name)
    begin_ns = min((span.begin_ns for span in log), default=0)
    for span in log:
        yield from _events_of(span, begin_ns)


def _events_of(span: Span, begin_ns: int) -> Iterator[Event]:
    event: Event = {
        "name": span.stage,
        "cat": "work",
        "pid": PROCESS,
        "tid": span.thread,
        "ts": (span.begin_ns - begin_ns) / NS_PER_US,
        "args": {"frame": span.frame},
    }
    if span.stage == MISSED:
        yield event | {"ph": "i", "s": "p"}
    elif span.stage in IN_FLIGHT or span.stage.startswith(QUEUED):
        event |= {"cat": "frame" if span.stage in IN_FLIGHT else "queue", "id": span.frame}
        yield event | {"ph": "b"}
        yield event | {"ph": "e", "ts": (span.end_ns - begin_ns) / NS_PER_US}
    else:
        yield event | {"ph": "X", "dur": (span.end_ns - span.begin_ns) / NS_PER_US}


def _name_event(kind: str, thread: int, name: str) -> Event:
    return {"name": kind, "ph": "M", "pid": PROCESS, "tid": thread, "args": {"name": name}}

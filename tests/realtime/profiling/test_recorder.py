"""Tests the recorder with known spans."""

import threading
import time
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from qlumen.realtime.latency import END_TO_END, QUEUED
from qlumen.realtime.profiling.recorder import (
    DECODE,
    MISSED,
    REPORTS,
    RESPONSE,
    SEGMENTS,
    SLOWEST,
    ProfileRecorder,
    StageAccount,
)
from qlumen.realtime.profiling.report import StageReport as Stage
from qlumen.realtime.profiling.report import causes
from qlumen.realtime.profiling.spans import SpanLog

MS = 1_000_000
WARM_UP, STEADY = 5, 40
PERIOD_NS = 40 * MS


def due_ns(frame: int) -> int:
    return frame * PERIOD_NS


def collecting_ns(begin_ns: int, end_ns: int) -> int:
    """Return a twentieth of the time."""
    return (end_ns - begin_ns) // 20


def record(
    slow: dict[int, tuple[str, int]], due: Callable[[int], int | None] = due_ns
) -> ProfileRecorder:
    """Record frames with 3 ms of decoding and 10 ms of inference, read when they are due; `slow`
    adds milliseconds to a stage of a frame."""
    recorder = ProfileRecorder(
        range(WARM_UP, WARM_UP + STEADY), due, 20 * MS, collecting_ns=collecting_ns
    )
    for frame in range(WARM_UP + STEADY + 3):
        stage, more = slow.get(frame, ("", 0))
        at = due_ns(frame) + (more * MS if stage == QUEUED + DECODE else 0)
        decoded = at + (3 + (more if stage == DECODE else 0)) * MS
        inferred = decoded + (10 + (more if stage == "inference" else 0)) * MS
        recorder.span(DECODE, frame, at, decoded)
        recorder.span("inference", frame, decoded, inferred)
        recorder.span(END_TO_END, frame, decoded, inferred)
        recorder.span("sink", frame, inferred, inferred + MS)
    recorder.settle()
    return recorder


def test_warm_up_and_later_frames_are_kept_apart() -> None:
    """Each stage counts the steady frames; the first frames have another table."""
    recorder = record({2: ("inference", 500)})
    for stage in (DECODE, "inference", END_TO_END, RESPONSE, "sink", QUEUED + DECODE):
        assert recorder.accounts[stage].histogram.count == STEADY
    assert recorder.steady_frames == STEADY
    assert recorder.warm_up_frames == WARM_UP
    assert recorder.warm_up.summary()["inference"].max == 510
    assert recorder.accounts["inference"].histogram.max_ns == 10 * MS


def test_response_starts_at_the_due_time_of_a_late_frame() -> None:
    """A frame that is read 30 ms late has this delay in its response and in its queue."""
    recorder = record({9: (QUEUED + DECODE, 30)})
    assert recorder.accounts[RESPONSE].histogram.max_ns == (30 + 3 + 10) * MS
    assert recorder.accounts[QUEUED + DECODE].histogram.max_ns == 30 * MS
    assert recorder.misses == 1


def test_frames_that_did_not_wait_count_as_no_waiting() -> None:
    """In each part of the run the queue has as many frames as the response; most waited 0 ms."""
    recorder = record({9: (QUEUED + DECODE, 30)})
    parts = {stage: recorder.accounts[stage].segments() for stage in recorder.response_parts}
    counts = [[sum(part.values()) for part in segments] for segments in parts.values()]
    assert QUEUED + DECODE in parts
    assert all(count == [STEADY // SEGMENTS] * SEGMENTS for count in counts)
    assert recorder.accounts[QUEUED + DECODE].histogram.summary().p50 == 0


def test_the_log_has_a_mark_where_a_steady_frame_was_late() -> None:
    """It has no mark for frames of the warm-up, and no span without length."""
    log = SpanLog()
    recorder = ProfileRecorder(range(1, 9), due_ns, 20 * MS, log)
    for frame in range(3):
        at = due_ns(frame)
        recorder.span(DECODE, frame, at, at + MS)
        recorder.span(END_TO_END, frame, at + MS, at + (50 - 20 * frame) * MS)
    recorder.settle()
    spans = list(log)
    marks = [(span.frame, span.begin_ns) for span in spans if span.stage == MISSED]
    assert marks == [(1, due_ns(1) + 30 * MS)]
    assert QUEUED + DECODE not in {span.stage for span in spans}


def test_without_a_rate_the_response_begins_with_the_decoding() -> None:
    """A frame without a due time has not waited."""
    recorder = record({}, lambda frame: None)
    assert recorder.accounts[RESPONSE].histogram.max_ns == 13 * MS
    assert QUEUED + DECODE not in recorder.accounts


def test_the_time_before_a_frame_is_due_is_no_decoding() -> None:
    """The reader sleeps until the frame is due."""
    recorder = ProfileRecorder(range(3), due_ns, MS)
    recorder.span(DECODE, 1, due_ns(1) - 30 * MS, due_ns(1) + 2 * MS)
    recorder.settle()
    assert recorder.accounts[DECODE].histogram.max_ns == 2 * MS


def test_work_belongs_to_the_thread_that_reports_it() -> None:
    """One thread works, another one counts: the time and the trace belong to the first."""
    log = SpanLog()
    recorder = ProfileRecorder(range(3), lambda frame: None, MS, log)
    used: dict[int, int] = {}

    def work() -> None:
        recorder.span("warm_up", 0, 0, MS)
        before_ns = time.thread_time_ns()
        while time.thread_time_ns() - before_ns < 50 * MS:
            pass
        recorder.span("work", 1, MS, 2 * MS)
        used[threading.get_native_id()] = time.thread_time_ns() - before_ns

    worker = threading.Thread(target=work, name="worker")
    worker.start()
    worker.join()
    recorder.settle()
    ((number, used_ns),) = used.items()
    assert 50 * MS <= recorder.accounts["work"].cpu_ns < used_ns + MS
    assert 0 <= recorder.accounts["warm_up"].cpu_ns < MS
    assert {span.thread for span in log} == {number}
    assert log.threads[number] == "worker"


def test_counting_is_not_the_work_of_a_stage() -> None:
    """The next stage that the counting thread reports does not include the counting."""
    counted_ns: list[int] = []

    def count_slowly(frame: int) -> None:
        before_ns = time.thread_time_ns()
        while time.thread_time_ns() - before_ns < MS:
            pass
        counted_ns.append(time.thread_time_ns() - before_ns)

    recorder = ProfileRecorder(range(REPORTS), count_slowly, MS)
    for frame in range(REPORTS):
        recorder.span(END_TO_END, frame, 0, MS)
    assert sum(counted_ns) >= REPORTS * MS
    recorder.span("next", 1, 0, MS)
    recorder.settle()
    assert recorder.accounts["next"].cpu_ns < 20 * MS


def test_spans_are_counted_while_the_run_goes_on() -> None:
    """The number of spans that are not counted yet does not grow."""
    recorder = ProfileRecorder(range(100_000), lambda frame: None, MS)
    for frame in range(1_000):
        recorder.span(DECODE, frame, 0, MS)
        recorder.span(END_TO_END, frame, MS, 2 * MS)
        assert frame - recorder.steady_frames < REPORTS


def test_slow_frames_are_found_with_their_cause() -> None:
    """The list starts with the longest frame, is limited, and names the slow stage of each."""
    slow = {
        7: ("inference", 50), 11: (DECODE, 60), 30: (QUEUED + DECODE, 70), 1: (DECODE, 900)
    }  # fmt: skip
    recorder = record(slow)
    found = recorder.slowest()
    assert len(found) == SLOWEST
    assert [frame.frame for frame in found[:3]] == [30, 11, 7]
    stages = {
        name: Stage(True, True, kept.histogram.summary(), 0, 0, 0)
        for name, kept in recorder.accounts.items()
    }
    reasons = causes(found, stages)[:3]
    assert [cause.stage for cause in reasons] == [QUEUED + DECODE, DECODE, "inference"]
    assert reasons[2].stage_ms == 60
    assert abs(reasons[2].median_ms - 10) < 0.01
    assert reasons[0].median_ms == 0
    assert reasons[2].collecting_ms == reasons[2].response_ms / 20 == 63 / 20


@given(st.lists(st.tuples(st.integers(0, SEGMENTS - 1), st.integers(0, 10**9)), max_size=200))
def test_segments_add_up_to_the_whole(reports: list[tuple[int, int]]) -> None:
    """The sum is right for any order in which stages reach the parts of a run."""
    account = StageAccount()
    for segment, duration in reports:
        account.add(segment, duration, 1)
    segments = account.segments()
    assert sum(sum(segment.values()) for segment in segments) == len(reports)
    assert len(segments) == len({segment for segment, _ in reports})
    assert account.cpu_ns == len(reports)
    longest = max((max(segment) for segment in segments), default=0)
    assert longest >= max((ns for _, ns in reports), default=0) // 1000

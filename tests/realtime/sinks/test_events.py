"""Event lines have the right content, and no line is lost."""

import json
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qlumen.errors import SinkError, UsageError
from qlumen.realtime.frames import AiState, Condition, Finding, FrameResult, LiveState, Track
from qlumen.realtime.sinks.events import EventsWriter, event
from qlumen.realtime.sinks.hash_chain import Damage, check_chain

from support.media import full_disk, make_images, result_of, start_python

SQUARE = np.array([[3, 4], [8, 4], [8, 9], [3, 9]], np.int32)
POLYP = Finding(box=(3, 4, 9, 10), score=0.87654321, area_px=36, contour=SQUARE)


def lines_of(path: Path) -> list[dict[str, Any]]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


def some_result(index: int = 0, **changes: Any) -> FrameResult:
    return result_of(make_images(1)[0], index, **changes)


def test_a_line_by_hand(tmp_path: Path) -> None:
    """A line has the text that was worked out by hand, with the hash that sha256sum prints."""
    result = some_result(
        7,
        pts=1001,
        time_base=Fraction(1, 30000),
        findings=(POLYP,),
        stages_ms={"decode": 2.34567, "inference": 13.0},
    )
    with EventsWriter(tmp_path / "e.jsonl") as writer:
        writer.write(result)
    assert (tmp_path / "e.jsonl").read_text() == (
        '{"frame":7,"time_s":0.033367,"findings":[{"box":[3,4,9,10],"score":0.8765,"area_px":36,'
        '"contour":[[3,4],[8,4],[8,9],[3,9]]}],"stages_ms":{"decode":2.346,"inference":13.0},'
        '"previous":"0000000000000000000000000000000000000000000000000000000000000000",'
        '"sha256":"75257e71c28a8c32e2a0ad5069f7b99e5cb5ee6c83711c5b27e03d66ae547a23"}\n'
    )


def test_stills_have_a_name_and_videos_none(tmp_path: Path) -> None:
    """`name` is there only if the source names its images, and letters beyond ASCII survive."""
    with EventsWriter(tmp_path / "e.jsonl") as writer:
        writer.write(some_result(0))
        writer.write(some_result(1, name="Größe 大腸.png"))
    video, still = lines_of(tmp_path / "e.jsonl")
    assert "name" not in video
    assert still["name"] == "Größe 大腸.png"
    assert video["findings"] == []


@given(
    score=st.floats(width=32) | st.floats(0, 1).map(np.float32),
    milliseconds=st.floats(),
    area=st.integers(1, 10**7).map(np.int64),
)
def test_every_line_is_strict_json(score: float, milliseconds: float, area: int) -> None:
    """NumPy numbers become plain rounded numbers; numbers that are not finite become null."""
    finding = Finding(tuple(np.arange(4)), score, area, SQUARE)
    result = some_result(findings=(finding,), stages_ms={"decode": milliseconds})
    line = json.loads(json.dumps(event(result.record()), allow_nan=False))
    found = line["findings"][0]
    assert found["box"] == [0, 1, 2, 3]
    assert found["area_px"] == area
    if math.isfinite(score):
        assert found["score"] == pytest.approx(score, abs=5e-5)
    else:
        assert found["score"] is None
    assert (line["stages_ms"]["decode"] is None) == (not math.isfinite(milliseconds))


def test_each_line_is_written_immediately(tmp_path: Path) -> None:
    """After each frame the file holds its line, before the file is closed."""
    with EventsWriter(tmp_path / "e.jsonl") as writer:
        for index in range(3):
            writer.write(some_result(index))
            assert [line["frame"] for line in lines_of(tmp_path / "e.jsonl")] == [*range(index + 1)]


def test_an_older_file_is_replaced_with_the_first_frame(tmp_path: Path) -> None:
    """Opening alone leaves an older file whole; the first line replaces it."""
    path = tmp_path / "e.jsonl"
    path.write_text("older\n" * 100)
    EventsWriter(path).close()
    assert path.read_text() == "older\n" * 100
    with EventsWriter(path) as writer:
        writer.write(some_result())
    writer.close()
    assert len(lines_of(path)) == 1


def test_what_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    """A missing folder, or a folder instead of a file, is an error at the start."""
    for path in (tmp_path / "absent" / "e.jsonl", tmp_path):
        with pytest.raises(SinkError, match=f"events file {path} cannot be written: ") as caught:
            EventsWriter(path)
        assert caught.value.exit_code == 1


def test_a_stream_can_take_events() -> None:
    """The writer also takes a pipe, such as the standard output."""
    code = """
from pathlib import Path
from support.media import make_images, result_of
from qlumen.realtime.sinks.events import EventsWriter
with EventsWriter(Path("/dev/stdout")) as writer:
    for index in range(3):
        writer.write(result_of(make_images(1)[0], index))
"""
    output, errors = start_python(code).communicate(timeout=60)
    assert [json.loads(line)["frame"] for line in output.splitlines()] == [0, 1, 2]
    assert not errors


def test_a_full_disk_keeps_the_lines_before(tmp_path: Path) -> None:
    """The error names the file; all lines that fit are there, and none is cut."""
    path = tmp_path / "e.jsonl"
    image, written = make_images(1)[0], 0

    def write_all() -> None:
        nonlocal written
        with EventsWriter(path) as writer:
            for written in range(1000):
                writer.write(result_of(image, written))

    with full_disk(10_000), pytest.raises(SinkError) as caught:
        write_all()
    assert str(caught.value) == f"events file {path} cannot be written: File too large"
    assert [line["frame"] for line in lines_of(path)] == [*range(written)]
    assert check_chain(path).fault is None


def test_live_lines_have_the_state() -> None:
    """Live lines add the AI, the annotation's frame and age, condition and tracks."""
    track = Track(number=3, finding=POLYP, since_s=1.23456789, alarm=True, new=False)
    live = LiveState(AiState.LATE, 4, 51.23456, Condition.BLURRED, (track,), True, False)
    result = replace(some_result(7, findings=(POLYP,)), live=live)
    line = json.loads(json.dumps(event(result.record())))
    assert set(line) - set(event(some_result(7).record())) == {
        "ai", "annotated_frame", "annotation_age_ms", "condition", "overlay", "signal",
        "tracks",
    }  # fmt: skip
    assert (line["ai"], line["condition"], line["signal"]) == ("late", "blurred", False)
    assert (line["annotated_frame"], line["annotation_age_ms"]) == (4, 51.235)
    assert line["tracks"] == [
        {"number": 3, "box": [3, 4, 9, 10], "score": 0.8765, "alarm": True, "new": False,
         "since_s": 1.234568}
    ]  # fmt: skip
    without = replace(live, annotated_frame=None, annotation_age_ms=None, tracks=())
    line = event(replace(result, live=without).record())
    assert (line["annotated_frame"], line["annotation_age_ms"]) == (None, None)


def test_notes_hold_what_they_are_given(tmp_path: Path) -> None:
    """A note has its kind, the wall clock in UTC and plain fields; infinite numbers are null."""
    before = datetime.now(UTC)
    with EventsWriter(tmp_path / "e.jsonl") as writer:
        writer.note(
            "mark",
            session_s=1.5,
            frame=np.int64(3),
            kind=AiState.ON,
            path=tmp_path,
            gaps=[np.float32("nan"), {"s": math.inf, 2: None}],
        )
    line = lines_of(tmp_path / "e.jsonl")[0]
    at = datetime.fromisoformat(line.pop("at"))
    assert before - timedelta(milliseconds=1) <= at <= datetime.now(UTC)
    assert {key: line[key] for key in list(line)[:-2]} == {
        "event": "mark", "session_s": 1.5, "frame": 3, "kind": "on", "path": str(tmp_path),
        "gaps": [None, {"s": None, "2": None}],
    }  # fmt: skip


@pytest.mark.parametrize("name", ["event", "at", "previous", "sha256"])
def test_notes_keep_the_chain_their_own(name: str, tmp_path: Path) -> None:
    """A field with the name of one of the line's own keys is refused."""
    with (
        EventsWriter(tmp_path / "e.jsonl") as writer,
        pytest.raises(ValueError, match=f"its own {name}; rename"),
    ):
        writer.note("mark", **{name: 1})


def test_notes_come_from_any_thread(tmp_path: Path) -> None:
    """While frames are written, four threads add notes; all notes are in one chain."""

    def add(number: int) -> None:
        for index in range(100):
            writer.note("mark", thread=number, index=index)

    path = tmp_path / "e.jsonl"
    with EventsWriter(path) as writer, ThreadPoolExecutor(4) as pool:
        done = [pool.submit(add, number) for number in range(4)]
        for index in range(200):
            writer.write(some_result(index))
        assert [task.result() for task in done] == [None] * 4
    account = check_chain(path)
    assert (account.fault, account.frames, account.notes) == (None, 200, 400)
    assert account.last == writer.last_hash
    for number in range(4):
        mine = [line["index"] for line in lines_of(path) if line.get("thread") == number]
        assert mine == [*range(100)]


def test_a_later_session_goes_on(tmp_path: Path) -> None:
    """With `append` nothing is lost, and the chain runs through all sessions."""
    path = tmp_path / "e.jsonl"
    for session in range(3):
        with EventsWriter(path, append=True) as writer:
            writer.note("started", session=session)
            writer.write(some_result(session))
    account = check_chain(path)
    assert (account.fault, account.lines) == (None, 6)
    assert [line["session"] for line in lines_of(path)[::2]] == [0, 1, 2]


def test_nothing_is_added_to_a_damaged_file(tmp_path: Path) -> None:
    """The error names the changed line, and the file stays as it is."""
    path = tmp_path / "e.jsonl"
    with EventsWriter(path) as writer:
        for index in range(4):
            writer.write(some_result(index))
    damaged = path.read_bytes().replace(b'"frame":2', b'"frame":9')
    path.write_bytes(damaged)
    with pytest.raises(UsageError, match="line 3 was changed; move it away or choose another name"):
        EventsWriter(path, append=True)
    assert path.read_bytes() == damaged


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_cut_line_becomes_a_note(tmp_path: Path, data: st.DataObject) -> None:
    """After a cut anywhere whole lines stay, the rest becomes a note, and the chain is whole."""
    path = tmp_path / "e.jsonl"
    with EventsWriter(path) as writer:
        for index in range(2):
            writer.write(some_result(index, name="Größe"))
    whole = path.read_bytes()
    end = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:end])
    with EventsWriter(path, append=True) as writer:
        writer.write(some_result(7))
    kept = whole[:end].splitlines(keepends=True)
    cut = kept.pop() if kept and not kept[-1].endswith(b"\n") else b""
    assert path.read_bytes().startswith(b"".join(kept))
    added = lines_of(path)[len(kept) :]
    assert [line["cut_line"] for line in added[:-1]] == ([cut.decode()] if cut else [])
    assert [line["event"] for line in added[:-1]] == ["recovered"] * bool(cut)
    assert added[-1]["frame"] == 7
    assert check_chain(path).fault is None


def test_a_killed_process_loses_no_line(tmp_path: Path) -> None:
    """After SIGKILL during writing, every reported line is there and whole."""
    code = """
from pathlib import Path
from support.media import make_images, result_of
from qlumen.realtime.sinks.events import EventsWriter
writer = EventsWriter(Path(sys.argv[1]), append=True)
for index in range(10**6):
    writer.write(result_of(make_images(1)[0], index))
    print(index, flush=True)
"""
    path = tmp_path / "e.jsonl"
    process = start_python(code, path)
    for line in process.stdout:
        if line == "100\n":
            break
    process.kill()
    reported = int(("100\n" + process.stdout.read()).split()[-1])
    process.communicate()
    account = check_chain(path)
    assert account.fault is None or account.fault.damage is Damage.CUT
    assert account.frames - reported in (1, 2)


@pytest.mark.skipif(sys.platform == "win32", reason="files are not locked there")
def test_a_log_has_one_writer(tmp_path: Path) -> None:
    """A second session on the same file is refused while the first one writes, but not later."""
    path = tmp_path / "e.jsonl"
    with EventsWriter(path, append=True) as first:
        first.note("first")
        with pytest.raises(UsageError, match="another session"):
            EventsWriter(path, append=True)
        first.note("second")
    with EventsWriter(path, append=True) as next_one:
        next_one.note("third")
    assert check_chain(path).fault is None
    assert [line["event"] for line in lines_of(path)] == ["first", "second", "third"]

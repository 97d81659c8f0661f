"""Event lines: their content, and that none is lost."""

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlumen.realtime.errors import SinkError
from qlumen.realtime.frames import Finding, FrameResult
from qlumen.realtime.sinks.events import EventsWriter, event

from media import pictures, result_of, run_with_full_disk, start_python

SQUARE = np.array([[3, 4], [8, 4], [8, 9], [3, 9]], np.int32)
POLYP = Finding(box=(3, 4, 9, 10), score=0.87654321, area_px=36, contour=SQUARE)


def lines_of(path: Path) -> list[dict[str, Any]]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return [json.loads(line, parse_constant=refuse) for line in path.read_text().splitlines()]


def some_result(index: int = 0, **changes: Any) -> FrameResult:
    return result_of(pictures(1)[0], index, **changes)


def test_a_line_by_hand(tmp_path: Path) -> None:
    """The whole text of a line, worked out by hand."""
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
        '"contour":[[3,4],[8,4],[8,9],[3,9]]}],"stages_ms":{"decode":2.346,"inference":13.0}}\n'
    )


def test_stills_have_a_name_and_videos_none(tmp_path: Path) -> None:
    """`name` is there only where the source names its images; letters beyond ASCII survive."""
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
    """NumPy numbers become plain ones, rounded; what is not finite becomes null."""
    finding = Finding(tuple(np.arange(4)), score, area, SQUARE)
    result = some_result(findings=(finding,), stages_ms={"decode": milliseconds})
    line = json.loads(json.dumps(event(result), allow_nan=False))
    found = line["findings"][0]
    assert found["box"] == [0, 1, 2, 3]
    assert found["area_px"] == area
    if math.isfinite(score):
        assert found["score"] == pytest.approx(score, abs=5e-5)
    else:
        assert found["score"] is None
    assert (line["stages_ms"]["decode"] is None) == (not math.isfinite(milliseconds))


def test_lines_are_there_at_once(tmp_path: Path) -> None:
    """After each frame the file holds its line, before it is closed."""
    with EventsWriter(tmp_path / "e.jsonl") as writer:
        for index in range(3):
            writer.write(some_result(index))
            assert [line["frame"] for line in lines_of(tmp_path / "e.jsonl")] == [*range(index + 1)]


def test_an_older_file_is_replaced_with_the_first_frame(tmp_path: Path) -> None:
    """Opening alone leaves it whole; the first line takes its place."""
    path = tmp_path / "e.jsonl"
    path.write_text("older\n" * 100)
    EventsWriter(path).close()
    assert path.read_text() == "older\n" * 100
    with EventsWriter(path) as writer:
        writer.write(some_result())
    writer.close()
    assert len(lines_of(path)) == 1


def test_what_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    """A folder that is missing, or a folder for a file, is told at once."""
    for path in (tmp_path / "absent" / "e.jsonl", tmp_path):
        with pytest.raises(SinkError, match=f"events file {path} cannot be written: ") as caught:
            EventsWriter(path)
        assert caught.value.exit_code == 1


def test_a_stream_can_take_events() -> None:
    """The writer takes a pipe as well, such as the standard output."""
    code = """
from pathlib import Path
from media import pictures, result_of
from qlumen.realtime.sinks.events import EventsWriter
with EventsWriter(Path("/dev/stdout")) as writer:
    for index in range(3):
        writer.write(result_of(pictures(1)[0], index))
"""
    output, errors = start_python(code).communicate(timeout=60)
    assert [json.loads(line)["frame"] for line in output.splitlines()] == [0, 1, 2]
    assert not errors


def test_a_full_disk_keeps_the_lines_before(tmp_path: Path) -> None:
    """The error names the file; all lines that fit can be read."""
    code = """
from pathlib import Path
from media import pictures, result_of
from qlumen.realtime.errors import SinkError
from qlumen.realtime.sinks.events import EventsWriter
try:
    with EventsWriter(Path(sys.argv[1])) as writer:
        for index in range(1000):
            writer.write(result_of(pictures(1)[0], index))
except SinkError as error:
    print(index, error)
"""
    path = tmp_path / "e.jsonl"
    failed, message = run_with_full_disk(code, 10_000, path).split(" ", 1)
    assert message == f"events file {path} cannot be written: File too large\n"
    whole, _, rest = path.read_text().rpartition("\n")
    assert [json.loads(line)["frame"] for line in whole.splitlines()] == [*range(int(failed))]
    assert len(rest) < 100

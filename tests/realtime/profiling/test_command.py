"""Tests `qlumen profile` on real frames: what it prints and writes, and its exit code."""

import json
import re
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qlumen.errors import SourceNotFoundError, UsageError
from qlumen.realtime.cli import commands
from qlumen.realtime.profiling import passes
from qlumen.realtime.profiling.compare import read_profile

from support.media import make_images, write_video
from support.small_network import small_network
from support.traces import check_trace

SMALL = ["--set", "scene.width=160", "--set", "scene.height=128", "--set", "scene.frames=15"]
STAGES = ("decode", "preprocess", "inference", "postprocess", "overlay", "end_to_end", "response")
VOID = {"meta", "br", "i"}
FIELDS = (
    "segments_us", "machine", "bundle", "size", "format", "process", "capacity", "missed_share"
)  # fmt: skip


def run(*arguments: object) -> Result:
    texts = [str(argument) for argument in (*arguments, "--set", small_network())]
    return CliRunner().invoke(commands, ["profile", *texts], standalone_mode=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("profile")


@pytest.fixture(scope="module")
def missed(folder: Path) -> Result:
    """Profile the scene with recording, and a budget that no frame can keep."""
    return run(
        "scene", "--seconds", 1, "--fps", 20, "--budget-ms", 0.001, "--record", *SMALL,
        "--json", folder / "p.json", "--trace", folder / "t.json", "--html", folder / "p.html",
    )  # fmt: skip


@pytest.fixture(scope="module")
def report(folder: Path, missed: Result) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "p.json").read_text())
    return content


def test_a_missed_budget_is_exit_code_3(missed: Result, report: dict[str, Any]) -> None:
    """The output also says so in words."""
    assert missed.return_value == 3
    assert "MISSED: 20 of 20 frames (100.0%)" in missed.output
    assert not report["met"]


def test_figures_add_up(report: dict[str, Any]) -> None:
    """The parts add up to nearly the whole response. Each stage saw every steady frame, and a
    queue the frames that waited."""
    stages = report["stages"]
    assert {"recorder", *STAGES} <= stages.keys()
    everywhere = {stages[name]["wall"]["count"] for name in ("recorder", "response", *STAGES)}
    assert everywhere == {report["frames"]} == {20}
    assert all(stage["wall"]["count"] <= 20 for stage in stages.values())
    in_response = [stage for stage in stages.values() if stage["in_response"]]
    parts = sum(stage["mean"] * stage["wall"]["count"] for stage in in_response) / 20
    assert 0.8 <= parts / stages["response"]["mean"] <= 1.001
    for stage in stages.values():
        wall = stage["wall"]
        assert wall["p50"] <= wall["p90"] <= wall["p95"] <= wall["p99"] <= wall["p99_9"]
        assert wall["p99_9"] <= wall["max"]
        assert stage["cpu_ms"] <= 1.05 * stage["mean"] + 0.5 or stage["work"] is False
    assert all(sum(map(len, parts)) for parts in report["segments_us"].values())


def test_threads_of_all_parts_are_there(report: dict[str, Any]) -> None:
    """The list has the threads of the pipeline, the network and the encoder; their times add up."""
    threads = {use["name"]: use for use in report["process"]["threads"]}
    assert {"source", "engine", "recorder", "engine (native)"} <= threads.keys()
    assert threads["engine (native)"]["cpu_s"] > 0
    used = sum(use["cpu_s"] for use in threads.values())
    whole = report["process"]["cpu_ms"] * report["frames"] / 1000
    assert used == pytest.approx(whole, rel=0.15)


def test_the_cost_of_the_profiler_is_measured(report: dict[str, Any]) -> None:
    """It is measured in rounds at full speed, like the network alone."""
    capacity = report["capacity"]
    assert capacity["rounds"] >= 4
    cost = capacity["profiler_cost"]
    assert cost["low"] <= cost["value"] <= cost["high"] < 1
    assert capacity["engine_fps"] > 0
    assert report["allocations"]["swing_kib"] > 0
    assert report["warm_up"]["frames"] == 25
    assert report["warm_up"]["start_up_s"].keys() == {"source", "engine", "warm_up"}


def test_the_trace_is_valid(folder: Path, missed: Result) -> None:
    """It has the documented form, and a missed deadline for every steady frame."""
    counts = check_trace(json.loads((folder / "t.json").read_text()))
    assert counts["i"] == 20
    assert counts["X"] > 4 * (25 + 20 + 16)


def test_the_page_stands_alone(folder: Path, missed: Result) -> None:
    """It is well-formed, holds its plots, and loads nothing from elsewhere."""
    text = (folder / "p.html").read_text()
    assert not re.search(r"(src|href)=|url\(|@import|<script", text)
    assert text.count("<svg") == 3
    assert "not a medical device" in text
    page = Page()
    page.feed(text)
    assert page.open == []


class Page(HTMLParser):
    """Fails if a closed tag is not the tag that was opened last."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID - {"i"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_file_within_its_budget_is_exit_code_0(
    folder: Path, missed: Result, tmp_path: Path
) -> None:
    """The file runs at its own rate; a comparison shows ratios and names the differences."""
    clip = write_video(tmp_path / "clip.mp4", make_images(12, 96, 64))
    result = run(clip, "--seconds", 1, "--budget-ms", 1e6, "--compare", folder / "p.json")
    assert result.exception is None
    assert result.return_value == 0
    assert "met: 0 of 25 frames (0.0%)" in result.output
    assert "not the same: recording was True, is False" in result.output
    assert "response" in result.output
    assert re.search(r"^processor ms a frame: [\d.]+ before, [\d.]+ now$", result.output, re.M)


def test_a_rate_that_cannot_be_kept_is_a_missed_budget(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is not an error: the run ends early, and its figures cover one period."""
    monkeypatch.setattr(passes, "GRACE_SECONDS", 0.0)
    result = run(
        "scene", "--seconds", 2, "--fps", 1000, *SMALL, "--json", tmp_path / "p.json"
    )  # fmt: skip
    assert result.return_value == 3
    report = json.loads((tmp_path / "p.json").read_text())
    assert 0 < report["frames"] < 2000
    finished = report["fps_reached"] * report["seconds"]
    assert finished == pytest.approx(round(finished), abs=0.01 * finished)
    assert report["frames"] - 1.5 * report["fps_reached"] <= finished <= report["frames"]
    used = sum(use["cpu_s"] for use in report["process"]["threads"])
    assert used == pytest.approx(report["process"]["cpu_ms"] * finished / 1000, rel=0.15)
    assert report["process"]["cores"] == pytest.approx(used / report["seconds"], rel=0.15)


def test_a_rate_that_is_kept_is_reached(report: dict[str, Any], missed: Result) -> None:
    """The number of intervals equals the number of steady frames; the warm-up has a table."""
    assert report["fps_reached"] * report["seconds"] == pytest.approx(20, abs=0.01)
    assert report["fps_reached"] == pytest.approx(20, rel=0.02)
    assert "warm-up, 25 frames, ms a frame" in missed.output
    assert report["warm_up"]["stages_ms"]["inference"]["count"] == 25


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["absent.mp4"], SourceNotFoundError, "absent.mp4"),
        (["scene", "--compare", "absent.json"], UsageError, "absent.json cannot be read"),
        (["scene", "--json", "no/such/p.json"], UsageError, "there is no folder"),
    ],
)
def test_bad_arguments_end_before_any_work(
    arguments: list[str], error: type[Exception], message: str
) -> None:
    """The message names what is wrong."""
    result = run(*arguments)
    assert isinstance(result.exception, error)
    assert message in str(result.exception)


def test_no_input_is_overwritten(folder: Path, missed: Result) -> None:
    """The profile to compare with cannot be the output."""
    old = folder / "p.json"
    before = old.read_bytes()
    result = run("scene", "--compare", old, "--json", old)
    assert isinstance(result.exception, UsageError)
    assert old.read_bytes() == before


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(key=st.sampled_from(FIELDS), value=JSON)
def test_a_damaged_profile_is_refused_or_read(
    report: dict[str, Any], tmp_path: Path, key: str, value: object
) -> None:
    """Any content of a field gives a UsageError or a profile."""
    file = tmp_path / "damaged.json"
    file.write_text(json.dumps({**report, key: value}))
    with suppress(UsageError):
        read_profile(file)

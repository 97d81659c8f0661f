"""Tests what `--metrics` serves, over HTTP from a real session in a process of its own."""

import json
import re
import resource
import signal
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from prometheus_client.metrics_core import Metric

from qlumen.errors import SinkError
from qlumen.realtime.cli import commands
from qlumen.realtime.live.metrics import MetricsServer

from support.live_process import wait_for_frames, wait_until
from support.scraping import Scraped, by_label, total
from support.senders import free_port

DASHBOARD = Path(__file__).parents[3] / "docs" / "grafana.json"
METRIC_NAME = re.compile(r"\b(?:qlumen|process)_\w+")
OF_ONE_SESSION = re.compile(r'\b((?:qlumen|process)_\w+)\{[^}]*\binstance="\$instance"')
ALWAYS_LATE = ("watchdog.deadline_ms=0.001", "watchdog.late_frames=0")


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scraped]:
    with Scraped(tmp_path_factory.mktemp("metrics"), "scene", settings=ALWAYS_LATE) as session:
        yield session


@pytest.fixture(scope="module")
def metrics(session: Scraped) -> dict[str, Metric]:
    """Return the metrics of a session that has run for a while."""
    wait_until(lambda: session.get("/health")[0] == 200, "nobody listens")
    wait_for_frames(session.folder, 30)
    wait_until(lambda: session.get("/ready")[0] == 200, "it never was ready")
    return session.metrics()


def test_frames_add_up(session: Scraped, metrics: dict[str, Metric]) -> None:
    """Shown frames have arrived before, and each one has its delay in the histogram, which is read
    a moment later."""
    arrived, shown = total(metrics["qlumen_frames_arrived"]), total(metrics["qlumen_frames_shown"])
    assert arrived >= shown >= 30
    assert total(metrics["qlumen_frames_written"]) > 0
    delays = {s.name: s.value for s in metrics["qlumen_raw_delay_seconds"].samples}
    later = total(session.metrics()["qlumen_frames_shown"])
    assert shown <= delays["qlumen_raw_delay_seconds_count"] <= later


def test_histograms_are_cumulative(metrics: dict[str, Metric]) -> None:
    """Buckets ascend to the count for every stage, and the stages are those of the session."""
    stages: dict[str, list[tuple[float, float]]] = {}
    counts: dict[str, float] = {}
    for sample in metrics["qlumen_stage_seconds"].samples:
        stage = sample.labels["stage"]
        if sample.name.endswith("_bucket"):
            stages.setdefault(stage, []).append((float(sample.labels["le"]), sample.value))
        elif sample.name.endswith("_count"):
            counts[stage] = sample.value
    assert {"inference", "draw", "recorder", "quality"} <= stages.keys()
    for stage, buckets in stages.items():
        assert buckets == sorted(buckets)
        values = [value for _, value in buckets]
        assert values == sorted(values)
        assert values[-1] == counts[stage]


def test_states_are_reported(metrics: dict[str, Metric]) -> None:
    """The engine has one state, all outputs are attached, and the recording's size is given."""
    assert sum(by_label(metrics["qlumen_engine_state"]).values()) == 1
    assert by_label(metrics["qlumen_output_attached"]) == {"privacy": 1, "recorder": 1, "events": 1}
    assert metrics["qlumen_recorder_bytes"].samples[0].labels == {"output": "recorder"}
    assert metrics["qlumen_source_signal"].samples[0].value == 1
    assert total(metrics["qlumen_source_losses"]) == 0


def test_missed_deadlines_are_reported_while_the_ai_runs(
    session: Scraped, metrics: dict[str, Metric]
) -> None:
    """Every frame of this session misses its deadline, so as many are reported as went through the
    last stage, except one that may be between the two."""

    def judged(scraped: dict[str, Metric]) -> float:
        return by_label(scraped["qlumen_stage_seconds"], "_count")["tracks"]

    missed = total(metrics["qlumen_engine_deadline_misses"])
    assert 0 < missed <= judged(metrics)
    assert judged(metrics) <= total(session.metrics()["qlumen_engine_deadline_misses"]) + 1


def test_every_query_of_the_dashboard_asks_one_session_for_what_it_serves(
    metrics: dict[str, Metric],
) -> None:
    """Each panel has a query, and with two sessions it shows the chosen one."""
    there = {sample.name for family in metrics.values() for sample in family.samples}
    board = json.loads(DASHBOARD.read_text())
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    (asked,) = METRIC_NAME.findall(variables["instance"]["query"])
    assert asked in there
    assert not variables["instance"]["multi"]
    assert not variables["instance"]["includeAll"]
    for panel in board["panels"]:
        queries = [target["expr"] for target in panel["targets"]]
        assert queries
        for query in queries:
            names = METRIC_NAME.findall(query)
            assert names
            assert set(names) <= there
            assert OF_ONE_SESSION.findall(query) == names


def test_nothing_else_is_served(session: Scraped, metrics: dict[str, Metric]) -> None:
    """An unknown path gives 404 and names the known ones."""
    status, text = session.get("/")
    assert status == 404
    assert "/metrics" in text


def test_a_lost_recording_makes_it_not_ready_but_well(
    session: Scraped, metrics: dict[str, Metric]
) -> None:
    """When the recorder cannot write any more, the video goes on, `/ready` says what is missing,
    and each missing frame counts. At the end, written and lost frames are all that the privacy
    stage before the recorder handed on."""
    # Space that the recording fills in seconds and the log, which has the same limit, does not.
    size = (session.folder / "o.mp4").stat().st_size + 300_000
    resource.prlimit(session.process.pid, resource.RLIMIT_FSIZE, (size, size))
    wait_until(lambda: "recorder is detached" in faults(session, "/ready"), "it stayed ready")
    assert session.get("/health")[0] == 200
    assert by_label(session.metrics()["qlumen_output_attached"])["recorder"] == 0
    shown = total(session.metrics()["qlumen_frames_shown"])
    lost = session.dropped("recorder_detached")
    wait_until(lambda: session.dropped("recorder_detached") > lost + 10, "it loses no more")
    # So that the summary can be written: a process may lift its limit up to the hard one only.
    session.process.send_signal(signal.SIGINT)
    assert session.process.wait(60) == 1
    errors = session.process.stderr.read().decode() if session.process.stderr else ""
    assert "incomplete outputs: recorder" in errors
    summary = json.loads((session.folder / "s.json").read_text())
    assert summary["shown"] >= shown
    written, drops = summary["written"], summary["drops"]
    lacks = drops["recorder_detached"] + drops.get("recorder_slow", 0)
    assert written["recorder"] + lacks == written["privacy"]


def faults(session: Scraped, path: str) -> list[str]:
    status, text = session.get(path)
    answer: dict[str, Any] = json.loads(text) if status else {"wrong": []}
    assert answer.get("ok", True) == (status in (0, 200))
    return list(answer["wrong"])


def test_a_port_in_use_is_an_error() -> None:
    """The error names the port before a session begins, and the first server goes on."""
    port = free_port()
    with MetricsServer("127.0.0.1", port):
        with pytest.raises(SinkError, match=f"127.0.0.1:{port}.*choose another port"):
            MetricsServer("127.0.0.1", port)
        url = f"http://127.0.0.1:{port}"
        assert json.load(urllib.request.urlopen(f"{url}/health", timeout=20))["ok"]
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(f"{url}/ready", timeout=20)


def test_a_silent_client_does_not_delay_others() -> None:
    """A connection that sends nothing waits alone."""
    port = free_port()
    with MetricsServer("127.0.0.1", port), socket.create_connection(("127.0.0.1", port)):
        url = f"http://127.0.0.1:{port}/health"
        assert urllib.request.urlopen(url, timeout=20).status == 200


def test_the_command_refuses_a_bad_port() -> None:
    """A bad port is a usage error before anything is opened."""
    assert CliRunner().invoke(commands, ["live", "scene", "--metrics", "0"]).exit_code == 2

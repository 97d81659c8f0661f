"""The example package adds a source, a receiver, an engine and a step, really installed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from qlumen.errors import MissingExtraError, UsageError
from qlumen.system.plugins import SINKS, EntryPoint, find_plugin, find_plugins, load_plugin

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Install the package into a folder; return an environment that has it."""
    folder = tmp_path_factory.mktemp("plugin")
    source = folder / "source"
    subprocess.run(["cp", "-r", ROOT / "examples/plugin", source], check=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", folder / "site", source], check=True, capture_output=True)
    return os.environ | {"PYTHONPATH": str(folder / "site")}


def run_qlumen(
    environment: dict[str, str], *arguments: object
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [Path(sys.executable).with_name("qlumen"), *map(str, arguments)],
        env=environment, capture_output=True, text=True, timeout=240,
    )  # fmt: skip


def test_a_source_of_another_package_plays(installed: dict[str, str], tmp_path: Path) -> None:
    """`replay` and `live` read it to its end; a wrong location ends in its message."""
    file = tmp_path / "s.json"
    result = run_qlumen(installed, "replay", "bars:20", "--json", file)
    assert result.returncode == 0, result.stderr
    assert json.loads(file.read_text())["frames"] == 20
    result = run_qlumen(installed, "live", "bars:20", "--events", tmp_path / "e.jsonl")
    assert result.returncode == 0, result.stderr
    result = run_qlumen(installed, "replay", "bars:many")
    assert (result.returncode, "write bars:N" in result.stderr) == (1, True)


def test_an_engine_of_another_package_runs(installed: dict[str, str], tmp_path: Path) -> None:
    """Bright bars become findings, and the summary names the engine."""
    summary, masks = tmp_path / "s.json", tmp_path / "m"
    chosen = ("--set", "engine.name=plugin:bright")
    result = run_qlumen(
        installed, "replay", "bars:3", "--json", summary, "--masks", masks, *chosen,
        "--set", "analysis.field=false", "--set", "analysis.temporal=false",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert json.loads(summary.read_text())["engine"]["name"] == "bright"
    mask = cv2.imread(str(sorted(masks.iterdir())[-1]), cv2.IMREAD_GRAYSCALE)
    assert 0.3 < (mask > 0).mean() < 0.7
    result = run_qlumen(installed, "replay", "bars:3", "--set", "engine.name=plugin:dark")
    assert result.returncode == 2
    assert "here: bright" in result.stderr


def test_a_step_of_another_package_labels_and_drops(
    installed: dict[str, str], tmp_path: Path
) -> None:
    """Bars at the edge are gone, the others have their width in the events and on the image."""
    chosen = ("--set", "engine.name=plugin:bright", "--set", "analysis.temporal=false",
              "--set", "analysis.field=false", "--set", "snapshots.every=1")  # fmt: skip
    lines, images = {}, {}
    for name, steps in (("with", "[width]"), ("without", "[]")):
        folder = tmp_path / name
        result = run_qlumen(
            installed, "replay", "bars:15", "--events", tmp_path / f"{name}.jsonl",
            "--snapshots", folder, *chosen, "--set", f"analysis.steps={steps}",
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        events = (tmp_path / f"{name}.jsonl").read_text().splitlines()
        lines[name] = [json.loads(line)["findings"] for line in events]
        images[name] = [cv2.imread(str(file)) for file in sorted(folder.iterdir())]
    dropped = 0
    for changed, given in zip(lines["with"], lines["without"], strict=True):
        inside = [one for one in given if one["box"][0] > 0 and one["box"][2] < 320]
        dropped += len(given) - len(inside)
        assert [one["box"] for one in changed] == [one["box"] for one in inside]
        for one in changed:
            assert one["label"] == f"{(one['box'][2] - one['box'][0]) / 320:.0%} wide"
    assert dropped > 0
    assert all((a != b).any() for a, b in zip(images["with"], images["without"], strict=True))
    result = run_qlumen(installed, "live", "bars:3", "--set", "analysis.steps=[none]")
    assert (result.returncode, "here: width" in result.stderr) == (2, True)


def test_a_receiver_of_another_package_is_sent_to(
    installed: dict[str, str], tmp_path: Path
) -> None:
    """It is opened by its URL, and its events are in the log."""
    lines, log = tmp_path / "l.txt", tmp_path / "e.jsonl"
    result = run_qlumen(
        installed, "live", "scene", "--send", f"lines:{lines}", "--seconds", "6", "--events", log,
        "--set", "scene.width=320", "--set", "scene.height=240", "--set", "temporal.hold_s=0",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert lines.is_file()
    assert '"event":"lines_opened"' in log.read_text()


def test_doctor_lists_plugins(installed: dict[str, str], tmp_path: Path) -> None:
    """Those of qlumen and those of the package are there with their versions."""
    file = tmp_path / "d.json"
    run_qlumen(installed, "doctor", "--json", file)
    found = {one["name"]: one for one in json.loads(file.read_text())["plugins"]}
    assert {
        "sinks: mqtt",
        "sinks: https",
        "sinks: lines",
        "sources: bars",
        "engines: bright",
        "analysis: width",
    } <= set(found)
    assert found["sources: bars"]["detail"] == "qlumen-example 0.1.0"


def test_an_unknown_receiver_is_refused() -> None:
    """The message lists what can be sent to, and hides the path."""
    result = run_qlumen(dict(os.environ), "live", "scene", "--send", "ftp://me:pw@host/x")
    assert result.returncode == 2
    assert "begins with http, https, igtl, mqtt, mqtts" in result.stderr
    assert "pw" not in result.stderr


def test_schemes_are_found_without_an_import() -> None:
    """Upper case counts; a location without a scheme has no plugin."""
    point = find_plugin(SINKS, "MQTT://host")
    assert point is not None
    assert point.name == "mqtt"
    assert find_plugin(SINKS, "file.txt") is None
    assert set(find_plugins(SINKS)) >= {"http", "https", "mqtt", "mqtts"}


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("not_there.module:name", MissingExtraError, "needs not_there; install it"),
        ("json:no_such_name", UsageError, "cannot be loaded: AttributeError"),
    ],
)
def test_a_broken_plugin_is_named(value: str, error: type[Exception], message: str) -> None:
    """The message names the plugin and what is wrong."""
    with pytest.raises(error, match=message) as raised:
        load_plugin(EntryPoint("x", value, SINKS))
    assert "'x'" in str(raised.value)

"""Tests the runner, the page and the pack of the check on a GPU, without one."""

import json
import sys
import time
from argparse import Namespace
from importlib.metadata import distributions
from pathlib import Path

import gpu_check
import psutil
import pytest
from gpu_pack import listed_files, missing_packages

from qlumen.datasets.splits import split_pairs
from qlumen.networks.bundle import Bundle
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.engines.base import Engine
from qlumen.realtime.engines.choose import open_engine

from support import gpu_stages

FIGURE = "import json, sys; open({lines!r}, 'a').write(json.dumps({row!r}) + chr(10))"
HANG = "import subprocess, time; print(subprocess.Popen(['sleep', '99']).pid, flush=True)"
ROOT = Path(__file__).parents[2]
LIMIT_SECONDS, HANG_SECONDS = 60.0, 6.0


def stages(lines: Path) -> dict[str, str]:
    """Return programs that do what a stage may do, in Python."""

    def figure(stage: str) -> str:
        return FIGURE.format(lines=str(lines), row={"stage": stage, "p50_ms": 0.5})

    return {
        "first": figure("first"),
        "crash": f"{figure('crash')}; raise RuntimeError('the driver is lost')",
        "fault": "import os; os.abort()",
        "hang": f"{HANG}; {figure('hang')}; time.sleep(99)",
        "garbage": "import os; os.write(1, bytes(range(256))); os.write(2, b'{\"stage\": 1}')",
        "half": f'open({str(lines)!r}, \'a\').write(\'{{"stage": "half", "p5\\n[1]\\nnull\\n\')',
        "last": figure("last"),
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run stages that fail in all ways, and return the file of lines."""
    lines = tmp_path_factory.mktemp("run") / "gpu.jsonl"
    programs = stages(lines)
    limits = dict.fromkeys(programs, LIMIT_SECONDS) | {"hang": HANG_SECONDS}
    gpu_check.run_stages(limits, lambda name, _: [sys.executable, "-c", programs[name]], lines, 999)
    return lines


def test_a_stage_that_fails_stops_no_other(run: Path) -> None:
    """All stages run, and each that fails says why."""
    ends = {stage: rows[-1]["why"] for stage, rows in gpu_check.read_rows(run).items()}
    assert ends == {
        "first": "",
        "crash": "exit code 1: RuntimeError: the driver is lost",
        "fault": "exit code -6: no output",
        "hang": "stopped after 6 s",
        "garbage": "it gave no figure",
        "half": "it gave no figure",
        "last": "",
    }


@pytest.mark.parametrize("stage", ["first", "crash", "hang", "last"])
def test_figures_before_a_failure_stay(run: Path, stage: str) -> None:
    """What a stage wrote before it failed is kept."""
    assert gpu_check.read_rows(run)[stage][0] == {"p50_ms": 0.5}


def test_nothing_that_a_stage_started_goes_on(run: Path) -> None:
    """A stage that hangs is ended with its own processes."""
    child = int(run.with_name("hang.log").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_the_budget_ends_the_run(tmp_path: Path) -> None:
    """A stage gets what is left of the budget, and those after it say that nothing is."""
    lines, begun = tmp_path / "gpu.jsonl", time.monotonic()
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    gpu_check.run_stages({"slow": 50, "late": 50}, lambda *_: sleep, lines, 2)
    assert time.monotonic() - begun < 20
    ends = {stage: rows[-1]["why"] for stage, rows in gpu_check.read_rows(lines).items()}
    assert ends == {"slow": "stopped after 2 s", "late": "no time was left"}


def report(folder: Path, rows: list[object], monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the page that `--report` writes from these lines."""
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    (folder / "gpu.jsonl").write_text("\n".join(lines))
    page = folder / "page.md"
    monkeypatch.setattr(
        sys, "argv", ["gpu_check.py", "--output", str(folder), "--report", str(page)]
    )
    gpu_check.main()
    return page.read_text("utf-8")


def test_the_page_of_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page names the card, and has the figures of each stage's last run."""
    page = report(
        tmp_path,
        [
            {"stage": "machine", "card": "NVIDIA L4", "driver": "580.1", "torch": "2.14.0"},
            {"stage": "machine", "ended_s": 3.2, "why": ""},
            {"stage": "engines", "begin": True},
            {"stage": "engines", "variant": "torch f32", "p50_ms": 99.0},
            "garbage",
            {"stage": "engines", "begin": True},
            {"stage": "engines", "variant": "torch f16", "p50_ms": 0.6123, "holds": True},
            {"stage": "engines", "variant": "tensorrt f16", "why": f"no\n{ROOT}/library | here"},
            {"stage": "engines", "ended_s": 20.4, "why": "stopped after 20 s"},
            {"stage": "streams", "begin": True},
            {"stage": "streams", "streams": 16, "fps": 1234.5, "holds": False},
        ],
        monkeypatch,
    )
    assert "One run on one NVIDIA L4, driver 580.1, torch 2.14.0." in page
    assert "No card" not in page
    assert page.endswith(
        """
## Engines

| variant | p50_ms | holds | why |
| --- | --- | --- | --- |
| torch f16 | 0.612 | yes |  |
| tensorrt f16 |  |  | no library / here |

20 s. stopped after 20 s

## Streams

| streams | fps | holds |
| --- | --- | --- |
| 16 | 1234 | no |

The run was cut off here.
"""
    )


def test_the_page_without_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rehearsal says first that no card has run it."""
    page = report(tmp_path, [{"stage": "machine", "cpu": "EPYC", "cores": 2}], monkeypatch)
    assert "**No card has run this.**" in page
    assert "EPYC, 2 cores" in page


def test_a_form_that_cannot_run_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing library is a row, not an error; maps that are not the reference's do not hold."""
    opened: list[Engine] = []

    def open_first_inverted(bundle: Bundle, settings: Settings) -> Engine:
        engine = open_engine(bundle, settings)
        infer = engine.infer
        if not opened:
            engine.infer = lambda image: 1 - infer(image)  # type: ignore[method-assign]
        opened.append(engine)
        return engine

    monkeypatch.setattr(gpu_stages, "open_engine", open_first_inverted)
    options = Namespace(device="cpu", short=True, data=None)
    missing, wrong = gpu_stages.engines_stage(options, ["tensorrt f16", "openvino f32"])
    assert "why" in missing
    assert "share" not in missing
    assert wrong.get("worst", 0) > 0.9, wrong
    assert not wrong["holds"]
    assert 0 < wrong["p50_ms"] <= wrong["p99_ms"] <= wrong["max_ms"]


def test_a_pack_holds_what_a_machine_lacks() -> None:
    """Only missing packages travel, with what they need; OpenCV counts in both forms."""
    here = {one.name.lower(): f"{one.name}=={one.version}" for one in distributions()}
    assert missing_packages("\n".join(here.values())) == []
    opencv = here.pop("opencv-python")
    av, natsort = here.pop("av"), here.pop("natsort")
    lacking = "\n".join([*here.values(), "opencv-python-headless @ file:///wheels/opencv.whl"])
    assert missing_packages(lacking) == sorted([av, natsort])
    assert opencv in missing_packages("\n".join(here.values()))


def test_packed_images_can_be_trained_on(scene_data: Path) -> None:
    """Both lists go along, and each image and mask that they name."""
    found = listed_files(scene_data)
    pairs = [pair for name in ("train", "val") for pair in split_pairs(scene_data, name)]
    assert len(found) == len(set(found)) == 2 + 2 * len(pairs)
    assert all(path.is_file() for path in found)

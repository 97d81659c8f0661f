import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from qlumen.ablation.command import command
from qlumen.ablation.plan import Plan, RunKey, protocol
from qlumen.ablation.runs import complete, read_result, share_start
from qlumen.errors import ConfigError, QlumenError, TrainingError, UsageError
from qlumen.networks.bottlenecks import BOTTLENECKS
from qlumen.training.build import build_network
from qlumen.training.data import training_data
from qlumen.training.loop import CHECKPOINT
from qlumen.training.settings import TrainSettings

TINY = {
    "epochs": 2, "batch_size": 4, "input_size": 64, "pretrained": False, "lesion_free": 0,
    "precision": "fp32",
}  # fmt: skip
TINY_OPTIONS = [f"--set={key}={value}" for key, value in {**TINY, "epochs": 1}.items()]


@dataclass(frozen=True)
class Ablation:
    """Holds options, folder, and the write time of the checkpoint of the first run."""

    options: list[object]
    output: Path
    made_ns: int


def ablate(*arguments: object) -> str:
    result = CliRunner().invoke(command, [str(a) for a in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def ablation(scene_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Ablation:
    """Compare two bottlenecks; train the run of `identity` first, in a call of its own."""
    output = tmp_path_factory.mktemp("ablation")
    options = ["--data", scene_data, "--output", output, "--bottlenecks", "classical,identity"]
    options += ["--seeds", 1, "--size", 64, "--limit", 4, *TINY_OPTIONS]
    first = ablate(*options, "--only", "identity-0")
    assert "runs still missing: classical-0" in first
    made_ns = (output / "runs" / "identity-0" / CHECKPOINT).stat().st_mtime_ns
    ablate(*options)
    return Ablation(options, output, made_ns)


def test_tables_follow_from_the_results_of_the_runs(ablation: Ablation) -> None:
    """Means and pair differences equal those counted from each image's score in each run."""
    output = ablation.output
    content = json.loads((output / "ablation.json").read_text())
    dice = {}
    for path in (output / "runs").glob("*/result.json"):
        result = json.loads(path.read_text())
        dice[result["bottleneck"], result["seed"]] = result["sets"]["val"]["dice"]
    assert len(dice) == 2
    assert {len(values) for values in dice.values()} == {4}
    (row,) = (r for r in content["differences"] if (r["set"], r["metric"]) == ("val", "dice"))
    difference = np.mean(dice["classical", 0]) - np.mean(dice["identity", 0])
    assert row["bottlenecks"] == ["classical", "identity"]
    assert row["mean"] == pytest.approx(difference)
    assert row["images_95"][0] <= row["mean"] <= row["images_95"][1]
    with (output / "runs.csv").open() as file:
        rows = {(r["bottleneck"], int(r["seed"])): r for r in csv.DictReader(file)}
    for key, values in dice.items():
        assert float(rows[key]["val_dice"]) == pytest.approx(np.mean(values), abs=1e-5)
    for name in ("classical", "identity"):
        figures = content["bottlenecks"][name]
        assert figures["ms_frame"] > 0
        assert figures["ms_step"] > 0
        assert f"| `{name}` | 1 |" in (output / "ablation.md").read_text()


def test_complete_runs_are_not_repeated(ablation: Ablation) -> None:
    """The second call keeps the first run; a call with another setting fails and names it."""
    checkpoint = ablation.output / "runs" / "identity-0" / CHECKPOINT
    assert checkpoint.stat().st_mtime_ns == ablation.made_ns
    with pytest.raises(TrainingError, match="other settings: rate; name another --output"):
        ablate(*ablation.options, "--set", "rate=0.5")


def test_interrupted_run_ends_like_an_uninterrupted_one(tmp_path: Path, scene_data: Path) -> None:
    """A run that stops after its first epoch and resumes gets the scores of a whole run."""
    results = []
    for name in ("whole", "stopped"):
        plan = Plan(tmp_path / name, ("identity",), 1, protocol(TINY), limit=4)
        key = RunKey("identity", 0)
        data = training_data(scene_data, plan.settings(key), 4)
        if name == "stopped":
            with pytest.raises(KeyboardInterrupt):
                complete(plan, key, scene_data, data, on_epoch=interrupt)
            assert read_result(plan, key) is None
        results.append(complete(plan, key, scene_data, data))
    whole, stopped = results
    assert stopped["gate"] == whole["gate"] != pytest.approx(0.1, abs=1e-6)
    assert stopped["sets"] == whole["sets"]


def interrupt(report: object) -> None:
    raise KeyboardInterrupt


def test_networks_of_one_seed_start_alike() -> None:
    """The common parts of all bottlenecks start equal; another seed gives another start."""
    states = {}
    for name in BOTTLENECKS:
        network = build_network(TrainSettings(bottleneck=name, pretrained=False))
        share_start(network, 5)
        states[name] = {key: value.clone() for key, value in network.state_dict().items()}
    for name, state in states.items():
        for key in (k for k in state if k.startswith(("decoder", "head"))):
            assert torch.equal(state[key], states["identity"][key]), (name, key)
    for name in ("vqc", "classical"):
        assert torch.equal(
            states[name]["bottleneck.back.weight"], states["identity"]["bottleneck.back.weight"]
        )
    share_start(network, 6)
    assert not torch.equal(network.head.weight, states["identity"]["head.weight"])


def test_bad_arguments_end_before_training(tmp_path: Path, scene_data: Path) -> None:
    """Wrong names, runs and settings raise an error, and no output folder appears."""
    where = ["--data", scene_data, "--output", tmp_path / "out"]
    cases: list[tuple[list[object], type[QlumenError], str]] = [
        (["--bottlenecks", "vqc,none"], UsageError, "unknown bottleneck 'none'"),
        (["--bottlenecks", "vqc,vqc"], UsageError, "repeats a name"),
        (["--only", "vqc"], UsageError, "give BOTTLENECK-SEED"),
        (["--only", "vqc-7"], UsageError, "the plan has vqc-0"),
        (["--set", "seed=3"], ConfigError, "the ablation decides it"),
        (["--set", "rate=-1"], ConfigError, "rate"),
        (["--size", "100"], ConfigError, "use 96"),
        (["--no-train"], UsageError, "leave out --no-train"),
    ]
    for arguments, kind, message in cases:
        result = CliRunner().invoke(command, [str(a) for a in (*where, *arguments)])
        assert isinstance(result.exception, kind), result.output
        assert message in str(result.exception)
    assert not (tmp_path / "out").exists()

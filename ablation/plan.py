"""Defines the runs of an ablation and the training protocol that they share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from qlumen.errors import ConfigError, UsageError
from qlumen.networks.bottlenecks import BOTTLENECKS
from qlumen.training.settings import TrainSettings, check_settings

PROTOCOL: Mapping[str, Any] = MappingProxyType(
    {
        "epochs": 3,
        "input_size": 128,
        "loss": "structure",
        "lesion_free": 1,
        "ema_decay": 0.98,
        "precision": "bf16",
        "threads": 1,
    }
)
"""A dozen runs fit into an hour on two cores. One thread keeps the order of all sums."""
NOT_TO_SET = (
    "bottleneck", "patience", "seed", "start", "start_encoder", "train_lists", "unlabelled_lists",
    "val_lists",
)  # fmt: skip
"""Settings that `--set` must not change, because the ablation decides them."""
RUNS = "runs"


@dataclass(frozen=True, slots=True)
class RunKey:
    """Identifies one run of an ablation; `str` gives `vqc-0`."""

    bottleneck: str
    seed: int

    def __str__(self) -> str:
        return f"{self.bottleneck}-{self.seed}"

    @classmethod
    def parse(cls, text: str) -> "RunKey":
        """Read a key such as `vqc-0`; raise UsageError for another form."""
        bottleneck, _, seed = text.rpartition("-")
        if bottleneck not in BOTTLENECKS or not seed.isdecimal():
            raise UsageError(f"{text!r} names no run; give BOTTLENECK-SEED, such as vqc-0")
        return cls(bottleneck, int(seed))


@dataclass(frozen=True, slots=True)
class Plan:
    """Lists the runs of an ablation with their settings and folders.

    Attributes:
        values: training settings that all runs share
        limit: largest number of images of each kind; None takes all
    """

    output: Path
    bottlenecks: tuple[str, ...]
    seeds: int
    values: Mapping[str, Any]
    limit: int | None = None

    def runs(self) -> list[RunKey]:
        """Return all runs, seed by seed, so that an interrupted ablation has complete seeds."""
        return [RunKey(name, seed) for seed in range(self.seeds) for name in self.bottlenecks]

    def settings(self, key: RunKey) -> TrainSettings:
        return check_settings({**self.values, "bottleneck": key.bottleneck, "seed": key.seed})

    def folder(self, key: RunKey) -> Path:
        return self.output / RUNS / str(key)


def read_bottlenecks(text: str) -> tuple[str, ...]:
    """Read names such as `vqc,identity`; raise UsageError for an unknown or repeated name."""
    names = tuple(name.strip() for name in text.split(","))
    if unknown := [name for name in names if name not in BOTTLENECKS]:
        raise UsageError(f"unknown bottleneck {unknown[0]!r}; choose from {','.join(BOTTLENECKS)}")
    if len(set(names)) < len(names):
        raise UsageError(f"--bottlenecks {text} repeats a name; give each name once")
    return names


def protocol(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return `PROTOCOL` with changes; raise ConfigError for a key in `NOT_TO_SET`."""
    if fixed := [key for key in overrides if key in NOT_TO_SET]:
        raise ConfigError(
            f"training setting {fixed[0]}: the ablation decides it; leave it out, or use "
            "--bottlenecks and --seeds"
        )
    values = {**PROTOCOL, **overrides}
    check_settings(values)
    return values


def select_runs(plan: Plan, only: Sequence[str]) -> list[RunKey]:
    """Return the runs that `only` names, or all; raise UsageError if the plan lacks one."""
    keys = plan.runs()
    named = [RunKey.parse(text) for text in only]
    if unknown := [key for key in named if key not in keys]:
        raise UsageError(f"--only {unknown[0]}: the plan has {', '.join(map(str, keys))}")
    return [key for key in keys if not named or key in named]

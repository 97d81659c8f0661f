"""Which networks an ablation trains, and by which protocol."""

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
"""Short enough for a dozen runs on two cores in an hour. One thread: sums are always taken in
the same order."""
NOT_TO_SET = ("bottleneck", "patience", "seed", "start", "train_on")
"""Settings by which runs of one ablation must not or cannot differ from the plan."""
RUNS = "runs"


@dataclass(frozen=True, slots=True)
class RunKey:
    """One network of an ablation; `str` gives `vqc-0`."""

    bottleneck: str
    seed: int

    def __str__(self) -> str:
        return f"{self.bottleneck}-{self.seed}"

    @classmethod
    def parse(cls, text: str) -> "RunKey":
        """From `vqc-0`; UsageError for another form."""
        bottleneck, _, seed = text.rpartition("-")
        if bottleneck not in BOTTLENECKS or not seed.isdecimal():
            raise UsageError(f"{text!r} names no run; give BOTTLENECK-SEED, such as vqc-0")
        return cls(bottleneck, int(seed))


@dataclass(frozen=True, slots=True)
class Plan:
    """Attributes:
    output: folder of the runs and the tables.
    values: training settings that all runs share.
    limit: of images of each kind; None takes all.
    """

    output: Path
    bottlenecks: tuple[str, ...]
    seeds: int
    values: Mapping[str, Any]
    limit: int | None = None

    def runs(self) -> list[RunKey]:
        """All runs, seed by seed: an ablation that is cut off has whole seeds to compare."""
        return [RunKey(name, seed) for seed in range(self.seeds) for name in self.bottlenecks]

    def settings(self, key: RunKey) -> TrainSettings:
        return check_settings({**self.values, "bottleneck": key.bottleneck, "seed": key.seed})

    def folder(self, key: RunKey) -> Path:
        return self.output / RUNS / str(key)


def read_bottlenecks(text: str) -> tuple[str, ...]:
    """From `vqc,identity`; UsageError for an unknown name, or one that comes twice."""
    names = tuple(name.strip() for name in text.split(","))
    if unknown := [name for name in names if name not in BOTTLENECKS]:
        raise UsageError(f"no bottleneck {unknown[0]!r}; use some of {','.join(BOTTLENECKS)}")
    if len(set(names)) < len(names):
        raise UsageError(f"--bottlenecks {text} names one twice")
    return names


def protocol(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`PROTOCOL` with changes; ConfigError for a key that the plan itself decides."""
    if fixed := [key for key in overrides if key in NOT_TO_SET]:
        raise ConfigError(
            f"training setting {fixed[0]}: an ablation decides it; leave it out, or use "
            "--bottlenecks and --seeds"
        )
    values = {**PROTOCOL, **overrides}
    check_settings(values)
    return values


def select_runs(plan: Plan, only: Sequence[str]) -> list[RunKey]:
    """The runs to train: all, or those that `only` names; UsageError if the plan lacks one."""
    keys = plan.runs()
    named = [RunKey.parse(text) for text in only]
    if strange := [key for key in named if key not in keys]:
        raise UsageError(f"--only {strange[0]}: the plan has {', '.join(map(str, keys))}")
    return [key for key in keys if not named or key in named]

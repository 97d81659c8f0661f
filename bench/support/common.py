"""Serves all benchmarks: arguments, description of the machine, timing, report.

A benchmark runs everything in one process and reports ratios. Times of different runs on a shared
machine cannot be compared.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from qlumen.system.machine import PACKAGES, machine

Row = Mapping[str, str | int | float]

WARM_UP_ROUNDS = 3
MEASURED_PACKAGES = (*PACKAGES, "scipy", "torch")


def parser(description: str | None) -> argparse.ArgumentParser:
    """Make an argument parser with `--json FILE`; a benchmark adds its own arguments."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--json", type=Path, metavar="FILE", help="also write the report here")
    return made


def interleaved_ms(
    functions: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = WARM_UP_ROUNDS
) -> dict[str, list[float]]:
    """Measure the milliseconds of each call; functions alternate, so noise affects all."""
    for _ in range(warm_up):
        for function in functions.values():
            function()
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            begin = time.perf_counter_ns()
            function()
            times[name].append((time.perf_counter_ns() - begin) / 1e6)
    return times


def report(
    rows: Sequence[Row],
    ratios: Mapping[str, float],
    file: Path | None,
    figures: Mapping[str, float] | None = None,
    kept: Mapping[str, object] | None = None,
) -> None:
    """Print rows, ratios and figures; write them, with the machine and `kept`, to `file`."""
    for row in rows:
        print("  ".join(f"{key} {_text(value)}" for key, value in row.items()))
    for name, value in {**ratios, **(figures or {})}.items():
        print(f"{name}: {value:.3g}")
    if file is not None:
        about = machine(MEASURED_PACKAGES)
        content = {"machine": about, "rows": list(rows), "ratios": dict(ratios)}
        if figures:
            content["figures"] = dict(figures)
        content.update(kept or {})
        file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _text(value: str | float) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)

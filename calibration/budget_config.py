"""Writes the configuration of the choice, and explains it in a table."""

from collections.abc import Sequence
from typing import Any

import psutil
import yaml
from rich.console import Console
from rich.table import Table

from qlumen.calibration.budget import DICE_TOLERANCE, JUDGED, Budget, Row
from qlumen.calibration.candidates import SIZE_DOUBT
from qlumen.errors import EngineError
from qlumen.networks.bundle import find_bundle
from qlumen.realtime.config.live import LiveSettings
from qlumen.realtime.latency import LatencySummary
from qlumen.system.machine import machine

COLUMNS = ("", "input", "Dice, val", "lesion-free", "network", "age", "delay", "judged")

EXACT_BELOW_MS = 100
"""Times at or above this show no decimals."""


def config_text(row: Row, budget: Budget) -> str:
    """Write YAML for `qlumen live --config`, with the measurements in its head."""
    candidate = row.candidate
    lines = [
        "# Written by `qlumen calibrate budget` for this machine:",
        f"# {_machine()}",
        f"# {budget.video} at {budget.fps:g} frames/s{', recorded' if budget.record else ''}, "
        f"with a margin of {budget.margin:.0%}.",
        f"# Chosen: {candidate}, input {candidate.input_size[0]}x{candidate.input_size[1]}.",
        *(f"# {line}" for line in _figures(row)),
        "# A research tool, not a medical device.",
        "",
    ]
    return "\n".join(lines) + yaml.safe_dump(_values(row, budget), sort_keys=False)


def explain(rows: Sequence[Row], chosen: Row | None, budget: Budget, console: Console) -> None:
    """Print all candidates, their figures and the reasons of the choice."""
    title = (
        f"{budget.video} played at {float(budget.rate):g} frames/s "
        f"({budget.margin:.0%} more than --fps). ms, p50 / p95: time of the network, age of the "
        "shown findings, delay of the raw frames; lesion-free: share of lesion-free "
        "images with a finding"
    )
    table = Table(title=title)
    for name in COLUMNS:
        table.add_column(name, justify="right")
    for number, row in enumerate(rows, 1):
        table.add_row(str(number), *_cells(row))
    console.print(table)
    for number, row in enumerate(rows, 1):
        line = f"{number}: {row.candidate}: {_outcome(row, chosen)}"
        console.print(line, highlight=False, soft_wrap=True)


def machine_record() -> dict[str, Any]:
    """Describe the machine and its load."""
    return {"machine": machine(), "load_average": list(psutil.getloadavg())}


def no_fit_error(rows: Sequence[Row], budget: Budget) -> EngineError:
    """Return the error that names the nearest candidate and its reason."""
    nearest = min(rows, key=_nearness)
    return EngineError(
        f"no candidate keeps {budget.fps:g} frames/s of {budget.video} with a margin of "
        f"{budget.margin:.0%}; the nearest was {nearest.candidate}: {nearest.rejected}. "
        "Use a lower --fps, or name a faster bundle with --bundle"
    )


def _values(row: Row, budget: Budget) -> dict[str, Any]:
    folder = row.candidate.bundle.folder.resolve()
    shipped = folder.parent == find_bundle().resolve().parent
    values: dict[str, Any] = {"model": {"bundle": folder.name if shipped else str(folder)}}
    values |= {"source": {"threads": 1}, "engine": row.candidate.engine_settings()}
    if budget.max_age_ms != LiveSettings().max_age_ms:
        values["live"] = {"max_age_ms": budget.max_age_ms}
    return values


def _figures(row: Row) -> list[str]:
    live = row.live
    lines = [
        f"Mean Dice on validation, from the bundle's manifest: {_dice(row)}; lesion-free images "
        f"with a finding: {_share(row.candidate.lesion_free)}."
    ]
    if live and live.network and live.age and live.raw:
        lines.append(
            f"Over {live.frames} frames, ms p50 / p95: network {_two(live.network)}, age of the "
            f"findings {_two(live.age)}, raw frames {_two(live.raw)}; {live.judged:.0%} judged."
        )
    return lines


def _cells(row: Row) -> list[str]:
    live, candidate = row.live, row.candidate
    spans = (live.network, live.age, live.raw) if live else (None, None, None)
    network, age, raw = (_two(span) if span else "-" for span in spans)
    if not live and row.alone_ms is not None:
        network = f"{_ms(row.alone_ms)} alone"
    return [
        "x".join(map(str, candidate.input_size)),
        _dice(row),
        _share(row.candidate.lesion_free),
        network,
        age,
        raw,
        f"{live.judged:.0%}" if live else "-",
    ]


def _outcome(row: Row, chosen: Row | None) -> str:
    if row is chosen:
        return "chosen"
    if row.rejected or chosen is None:
        return row.rejected
    if row.candidate.accuracy is None and chosen.candidate.accuracy is not None:
        return "accuracy not stated"
    if row.candidate.assured < chosen.candidate.assured - DICE_TOLERANCE:
        doubt = f"; other sizes count {SIZE_DOUBT} less" if row.candidate.resized else ""
        return f"keeps the budget, less accurate{doubt}"
    return "keeps the budget, findings older"


def _nearness(row: Row) -> tuple[int, float]:
    """Sort candidates with a live run first, by judged share; the rest by the network's time."""
    if row.live:
        return 0, -min(row.live.judged, JUDGED)
    return 1, row.alone_ms if row.alone_ms is not None else float("inf")


def _dice(row: Row) -> str:
    accuracy = row.candidate.accuracy
    return "not stated" if accuracy is None else f"{accuracy:.4f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _two(summary: LatencySummary) -> str:
    return f"{_ms(summary.p50)} / {_ms(summary.p95)}"


def _ms(value: float) -> str:
    return f"{value:.0f}" if value >= EXACT_BELOW_MS else f"{value:.1f}"


def _machine() -> str:
    facts = machine(())
    return f"{facts['cpu']}, {facts['cores']} threads, {facts['system']}"

"""Writes the result of an ablation as a Markdown page, a JSON document and a CSV file."""

import csv
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from qlumen.evaluation.bootstrap import COVERAGE, interval

MARKDOWN, JSON, CSV = "ablation.md", "ablation.json", "runs.csv"
NOTE = """\
*seeds*: 95% Student's t interval of the seeds' differences, each a mean over images (other
trainings, the same images). *images*: 95% percentile bootstrap over images, each a mean over seeds
(other images of the kind, the same trainings). The intervals are not corrected for the number of
comparisons. Frames of `test_clinicdb` share sequences with training frames. This set is optimistic
for all bottlenecks."""
Speed = Mapping[str, Mapping[str, float]]
METRICS = ("dice", "iou", "with_findings")
Result = Mapping[str, Any]


def summarise(results: Sequence[Result], speed: Speed) -> dict[str, Any]:
    """Build the JSON document with bottlenecks, paired differences and runs."""
    names = dict.fromkeys(result["bottleneck"] for result in results)
    return {
        "protocol": results[0]["settings"] if results else {},
        "bottlenecks": {
            name: _bottleneck([r for r in results if r["bottleneck"] == name], speed.get(name, {}))
            for name in names
        },
        "differences": differences(results),
        "runs": [run_row(result) for result in results],
    }


def run_row(result: Result) -> dict[str, Any]:
    """Return the figures of one run; metrics of a set are means over its images."""
    row: dict[str, Any] = {name: result[name] for name in ("bottleneck", "seed", "gate", "steps")}
    row |= {f"parameters_{part}": count for part, count in result["parameters"].items()}
    row |= {name: round(result[name], 1) for name in ("seconds", "cpu_seconds")}
    for place, scores in result["sets"].items():
        for metric in METRICS:
            if metric in scores:
                row[f"{place}_{metric}"] = round(float(np.mean(scores[metric])), 5)
    return row


def write_csv(path: Path, results: Sequence[Result]) -> None:
    """Write one row for each run."""
    rows = [run_row(result) for result in results]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def markdown(content: Mapping[str, Any]) -> str:
    """Write the document of `summarise` as a page."""
    parts = [
        "# Ablation of the bottleneck",
        _protocol(content["protocol"], content["runs"]),
        "## By bottleneck",
        _costs(content["bottlenecks"]),
        _scores(content["bottlenecks"]),
    ]
    if content["differences"]:
        parts += ["## Paired differences", NOTE, _differences(content["differences"])]
    return "\n\n".join(parts) + "\n"


def differences(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Compare each pair of bottlenecks on each set and metric, over the seeds that both have.

    `mean`: first minus second, averaged over images and seeds.
    `seeds_95`: Student's t interval of the seeds' differences, each a mean over images. It
    shows the variation over other trainings on the same images. None with one seed.
    `images_95`: percentile bootstrap over the images' differences, each a mean over seeds. It
    shows the variation over other images of the same kind, for these trainings.
    """
    names = list(dict.fromkeys(result["bottleneck"] for result in results))
    rows = []
    for one, other in combinations(names, 2):
        for place, metric, matrix in _pair_differences(results, one, other):
            rows.append(
                {
                    "bottlenecks": [one, other],
                    "set": place,
                    "metric": metric,
                    "seeds": len(matrix),
                    "mean": float(matrix.mean()),
                    "seeds_95": t_interval(matrix.mean(axis=1).tolist()),
                    "images_95": list(interval(matrix.mean(axis=0).tolist())),
                }
            )
    return rows


def t_interval(values: Sequence[float]) -> list[float] | None:
    """Return Student's t 95% interval of the mean of normal values; None below two values."""
    if len(values) < 2:
        return None
    sample = np.asarray(values, dtype=np.float64)
    error = sample.std(ddof=1) / np.sqrt(len(sample))
    reach = float(stats.t.ppf((1 + COVERAGE) / 2, len(sample) - 1) * error)
    return [float(sample.mean()) - reach, float(sample.mean()) + reach]


def _bottleneck(results: Sequence[Result], speed: Mapping[str, float]) -> dict[str, Any]:
    rows = [run_row(result) for result in results]
    figures = [name for name in rows[0] if name.endswith(METRICS)]
    return {
        "seeds": [row["seed"] for row in rows],
        "parameters": results[0]["parameters"],
        "gates": [row["gate"] for row in rows],
        "cpu_seconds": _mean_and_deviation([row["cpu_seconds"] for row in rows]),
        **speed,
        "scores": {name: _mean_and_deviation([row[name] for row in rows]) for name in figures},
    }


def _mean_and_deviation(values: Sequence[float]) -> dict[str, float | None]:
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"mean": float(np.mean(values)), "deviation": deviation}


def _protocol(settings: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]) -> str:
    return (
        f"{len(runs)} runs of {settings['epochs']} epochs ({runs[0]['steps']} steps of "
        f"{settings['batch_size']} images) at {settings['input_size']}x{settings['input_size']}, "
        f"loss {settings['loss']}, augmentation {settings['augmentation']}, "
        f"{settings['precision']}, AdamW with a one-cycle rate up to {settings['rate']:g} "
        f"({settings['encoder_rate']:g} in the encoder), encoder from "
        f"{'ImageNet weights' if settings['pretrained'] else 'random weights'}. For one seed all "
        "bottlenecks see the same batches, and their common parts start from the same weights. "
        "Scores are those of the averaged weights of the last epoch, at thresholds of 0.5, "
        "through the compiled network. Nothing was chosen on any set."
    )


def _costs(rows: Mapping[str, Mapping[str, Any]]) -> str:
    head = "bottleneck|seeds|parameters|of the bottleneck|of its core|gate at the end|" + (
        "CPU s per training|ms per step|ms per frame"
    )
    lines = []
    for name, row in rows.items():
        counts = [f"{row['parameters'][part]:,}" for part in ("network", "bottleneck", "core")]
        gates = ", ".join(f"{gate:.3f}" for gate in row["gates"])
        times = [f"{row[key]:.1f}" if key in row else "-" for key in ("ms_step", "ms_frame")]
        cpu = f"{row['cpu_seconds']['mean']:.0f}"
        lines.append([f"`{name}`", str(len(row["seeds"])), *counts, gates, cpu, *times])
    return _table(head.split("|"), lines)


def _scores(rows: Mapping[str, Mapping[str, Any]]) -> str:
    figures = list(next(iter(rows.values()))["scores"])
    lines = [
        [f"`{name}`", *(_plus_minus(row["scores"].get(figure)) for figure in figures)]
        for name, row in rows.items()
    ]
    titles = [figure.replace("_", " ") for figure in figures]
    table = _table(["bottleneck", *titles], lines)
    return f"Mean over seeds ± standard deviation.\n\n{table}"


def _differences(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [
        [
            " − ".join(f"`{name}`" for name in row["bottlenecks"]),
            row["set"],
            row["metric"].replace("_", " "),
            str(row["seeds"]),
            f"{row['mean']:+.4f}",
            _range(row["seeds_95"]),
            _range(row["images_95"]),
        ]
        for row in rows
    ]
    head = ["pair", "set", "metric", "n", "difference", "seeds", "images"]
    return _table(head, lines)


def _plus_minus(value: Mapping[str, float | None] | None) -> str:
    if value is None:
        return "-"
    if value["deviation"] is None:
        return f"{value['mean']:.4f}"
    return f"{value['mean']:.4f} ± {value['deviation']:.4f}"


def _range(bounds: Sequence[float] | None) -> str:
    return "-" if bounds is None else f"{bounds[0]:+.4f} to {bounds[1]:+.4f}"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _pair_differences(
    results: Sequence[Result], one: str, other: str
) -> list[tuple[str, str, np.ndarray]]:
    """Return set, metric and the `(seeds, images)` differences."""
    first, second = (
        {r["seed"]: r["sets"] for r in results if r["bottleneck"] == name} for name in (one, other)
    )
    seeds = sorted(first.keys() & second.keys())
    pairs = []
    for place, scores in first[seeds[0]].items() if seeds else ():
        for metric in (name for name in METRICS if name in scores):
            rows = [np.subtract(first[s][place][metric], second[s][place][metric]) for s in seeds]
            pairs.append((place, metric, np.stack(rows)))
    return pairs

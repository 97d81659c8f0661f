"""Measures what a few outlines of a hospital gain there, with networks that never saw it.

Half of a hospital's groups are scored; outlines (one of each drawn group) and frames without
outlines come from the other half. A cell is a hospital, a number of outlines, a draw and a method.
It adds a JSON row to OUT/rows.jsonl, and a later call skips it. OUT/table.md has the Dice and its
difference to the base network, with intervals by group of the mean over draws, and the findings on
images without a lesion. DATA has the lists only_H and without_H_train of each hospital H,
negatives_train and negatives_score. BASES has a bundle base-H of each. With --labels it measures
the labels of `qlumen label` in place of that.
"""

import argparse
import json
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from qlumen.datasets.groups import read_origins
from qlumen.datasets.splits import (
    NEGATIVES_SCORE,
    NEGATIVES_TRAIN,
    lesion_free_files,
    pair_of,
    spread,
)
from qlumen.evaluation.bootstrap import interval
from qlumen.evaluation.negatives import evaluate_negatives
from qlumen.evaluation.run import evaluate
from qlumen.networks.bundle import Bundle, read_bundle
from qlumen.networks.export import write_bundle
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.training.adaptation.adapt import DEFAULTS, METHODS, ROUNDS, judge, train_student
from qlumen.training.adaptation.prototypes import predict_maps
from qlumen.training.adaptation.students import (
    open_network,
    run_cross,
    run_rounds,
    student_settings,
)
from qlumen.training.data import Dataset, load_split, resize_pairs

NONE = "none"
QLUMEN = (sys.executable, "-c", "from qlumen.realtime.cli import main; main()")
HALVES_SEED = 0


def train_base(args: argparse.Namespace, hospital: str) -> None:
    """Train the base network of a hospital on the others, or go on with it."""
    output, run = (args.bases / f"{name}-{hospital}" for name in ("base", "run"))
    values = {"input_size": args.size, "train_lists": f"[without_{hospital}_train]",
              "val_lists": "[]", "lesion_free": 2, "augmentation": "endoscopic",
              "loss": "structure", "threads": args.threads, "seed": 0,
              "precision": args.precision}  # fmt: skip
    command = ["train", "--data", args.data, "--output", output, "--run", run, "--size", args.size,
               "--epochs", args.base_epochs, "--thresholds", 0.4, 0.6,
               *(f"--set={key}={value}" for key, value in values.items())]  # fmt: skip
    command += ["--resume"] if (run / "checkpoint.pt").is_file() else []
    subprocess.run([*QLUMEN, *map(str, command)], check=True)


def take(data: Dataset, rows: np.ndarray) -> Dataset:
    return Dataset(tuple(data.names[r] for r in rows), data.images[rows], data.masks[rows])


def draw(groups: np.ndarray, pool: set[str], count: int, seed: int) -> np.ndarray:
    """Draw a row of each of `count` groups of the pool."""
    rng = np.random.default_rng((seed, count))
    drawn = rng.permutation(sorted(pool))[:count]
    return np.array([rng.choice(np.flatnonzero(groups == one)) for one in drawn])


class Hospital:
    """Holds the images of a hospital, its base bundle, and the halves of its groups."""

    def __init__(self, args: argparse.Namespace, name: str) -> None:
        self.args, self.name = args, name
        self.base = read_bundle(args.bases / f"base-{name}")
        self.data = load_split(args.data, f"only_{name}")
        self.groups = np.array([o.cluster for o in read_origins(args.data, self.data.names)])
        order = np.random.default_rng(HALVES_SEED).permutation(sorted(set(self.groups)))
        self.pool = set(order[: len(order) // 2])
        other = np.flatnonzero([group not in self.pool for group in self.groups])
        self.scored = np.array(spread(other.tolist(), args.scored))
        self.clusters = self.groups[self.scored].tolist()

    def score(self, bundle: Bundle) -> dict:
        """Return the Dice of each scored image, and whether each lesion-free one has a finding."""
        pairs = [pair_of(self.args.data, self.data.names[row]) for row in self.scored]
        free = spread(lesion_free_files(self.args.data, NEGATIVES_SCORE), self.args.free)
        with closing(Segmenter.open(bundle, Settings())) as segmenter:
            analysis = FrameAnalysis(segmenter, Settings(), related=False)
            dice = [round(row.scores.dice, 5) for row in evaluate(pairs, analysis)]
            found = [int(row.findings > 0) for row in evaluate_negatives(free, analysis)]
        return {"dice": dice, "found": found}

    def run(self, count: int, seed: int, method: str) -> dict:
        args, started = self.args, time.monotonic()
        rows = draw(self.groups, self.pool, count, seed)
        rest = [r for r, g in enumerate(self.groups) if g in self.pool and r not in rows]
        others = take(self.data, np.array(spread(rest, args.frames))) if method == ROUNDS else None
        given = {"start": self.base.folder, "seed": seed, "threads": args.threads,
                 "precision": args.precision, "batch_size": args.batch}  # fmt: skip
        more = {"epochs": args.epochs if method != ROUNDS else args.round_epochs}
        settings = student_settings(self.base, f"only_{self.name}", DEFAULTS, given, more)
        with TemporaryDirectory() as work:
            student, network = train_student(
                self.base, take(self.data, rows), others, settings, Path(work) / "run"
            )
            trained, spec = time.monotonic() - started, self.base.manifest
            bundle = write_bundle(
                Path(work) / "new", network, name="new", version="1", size=spec.input.width,
                thresholds=spec.thresholds, provenance=student.provenance(),
            )  # fmt: skip
            pairs = [pair_of(args.data, self.data.names[row]) for row in rows]
            free = spread(lesion_free_files(args.data, NEGATIVES_TRAIN), args.guard)
            before, after = judge(self.base, pairs, free), judge(bundle, pairs, free)
            kept = after.dice >= before.dice and after.found <= before.found
            return {"train_s": round(trained, 1), "before": str(before), "after": str(after),
                    "kept": kept, **self.score(bundle)}  # fmt: skip


def measure_labels(args: argparse.Namespace, hospital: Hospital) -> None:
    """Print the Dice of labels of 60 images from 3 outlined ones, and of the base network."""
    data, groups, size = hospital.data, hospital.groups, hospital.base.manifest.input.width
    order = np.random.default_rng(HALVES_SEED).permutation(sorted(set(groups)))
    outlines = take(data, np.array([np.flatnonzero(groups == one)[0] for one in order[:3]]))
    frames = take(data, np.flatnonzero(np.isin(groups, order[3:63]))[:60])
    given = {"epochs": args.label_epochs, "ema_decay": 0.99, "threads": args.threads}
    settings = student_settings(hospital.base, f"only_{hospital.name}", given)

    def show(name: str, maps: np.ndarray) -> None:
        truth = resize_pairs(frames.images, frames.masks, maps.shape[1])[1] > 0
        both = ((maps >= 0.5) & truth).sum((1, 2))
        dice = 2 * both / np.maximum(1, (maps >= 0.5).sum((1, 2)) + truth.sum((1, 2)))
        print(f"{hospital.name}, labels, {name}: Dice {dice.mean():.3f}", flush=True)

    show("base network", predict_maps(open_network(hospital.base), frames, size))
    with TemporaryDirectory() as work:
        for rounds, centres in ((0, (1, 1)), (0, (4, 8)), (1, (4, 8)), (2, (4, 8)), (3, (4, 8))):
            maps = run_rounds(hospital.base, outlines, frames, settings, Path(work) / "run",
                              rounds=rounds, centres=centres)[1]  # fmt: skip
            show(f"centres {centres}, round {rounds}", maps)
        show("cross labels", run_cross(outlines, frames, settings, Path(work)))


def write_table(path: Path, rows: list[dict], hospitals: dict[str, Hospital]) -> None:
    lines = ["| hospital | outlines | method | draws | Dice | difference | findings, no lesion "
             "| kept by the check |", "|---" * 8 + "|"]  # fmt: skip
    order = (NONE, *METHODS)
    for name, hospital in hospitals.items():
        own = [row for row in rows if row["hospital"] == name]
        base = np.array(next(row["dice"] for row in own if row["method"] == NONE))
        for count, place in sorted({(r["outlines"], order.index(r["method"])) for r in own}):
            cell = [r for r in own if (r["outlines"], r["method"]) == (count, order[place])]
            mean = np.mean([r["dice"] for r in cell], axis=0)
            low, high = interval((mean - base).tolist(), hospital.clusters)
            gain = f"{(mean - base).mean():+.4f} ({low:+.4f} to {high:+.4f})" if place else ""
            found, kept = (np.mean([np.mean(r[key]) for r in cell]) for key in ("found", "kept"))
            lines.append(f"| {name} | {count} | {order[place]} | {len(cell)} | {mean.mean():.4f} | "
                         f"{gain} | {found:.1%} | {kept:.0%} |")  # fmt: skip
    path.write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--data", "--bases", "--out"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--train-bases", action="store_true", help="train bases that are missing")
    parser.add_argument("--hospitals", nargs="+", default=["c1", "c2", "c3", "c5"])
    parser.add_argument("--counts", type=int, nargs="*", default=[1, 3, 10])
    parser.add_argument("--draws", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--frames", type=int, default=60, help="frames without outlines, at most")
    parser.add_argument("--guard", type=int, default=20, help="lesion-free images of the check")
    parser.add_argument("--labels", action="store_true", help="measure `label` alone")
    parser.add_argument("--label-epochs", type=int, default=4, help="of each round of --labels")
    parser.add_argument("--scored", type=int, default=104, help="outlined images that are scored")
    parser.add_argument("--free", type=int, default=49, help="lesion-free images that are scored")
    parser.add_argument("--epochs", type=int, default=DEFAULTS["epochs"])
    parser.add_argument("--round-epochs", type=int, default=1, help="of each of three rounds")
    parser.add_argument("--base-epochs", type=int, default=5)
    parser.add_argument("--size", type=int, default=224, help="of bases that are trained")
    parser.add_argument("--batch", type=int, default=DEFAULTS["batch_size"])
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.hospitals if args.train_bases else ():
        if not (args.bases / f"base-{name}" / "bundle.json").is_file():
            train_base(args, name)
    store = args.out / "rows.jsonl"
    rows = [json.loads(line) for line in store.open()] if store.is_file() else []
    done = {(r["hospital"], r["outlines"], r["draw"], r["method"]) for r in rows}
    hospitals = {name: Hospital(args, name) for name in args.hospitals}
    for name in args.hospitals if args.labels else ():
        measure_labels(args, hospitals[name])
    if args.labels:
        return
    cells = [(h, 0, 0, NONE) for h in hospitals]
    cells += [(h, c, d, m) for d in args.draws for c in args.counts
              for h in hospitals for m in args.methods]  # fmt: skip
    for key in cells:
        if key in done:
            continue
        hospital, (name, count, seed, method) = hospitals[key[0]], key
        found = hospital.run(count, seed, method) if count else {
            "kept": True, **hospital.score(hospital.base)}  # fmt: skip
        row = {"hospital": name, "outlines": count, "draw": seed, "method": method, **found}
        rows.append(row)
        with store.open("a") as file:
            file.write(json.dumps(row) + "\n")
        write_table(args.out / "table.md", rows, hospitals)
        shown = {key: value for key, value in row.items() if key not in ("dice", "found")}
        means = {key: round(float(np.mean(row[key])), 4) for key in ("dice", "found")}
        print({**shown, **means}, flush=True)
    write_table(args.out / "table.md", rows, hospitals)


if __name__ == "__main__":
    main()

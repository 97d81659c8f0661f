"""Measures Dice against the share of labels: supervised, cross labels, pre-training, both.

Each cell (share, seed, arm) adds a JSON row to OUT/rows.jsonl; a later call skips it. OUT/table.md
has the means over seeds, and intervals by cluster of the mean over the seeds of each image.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch

from qlumen.datasets.groups import read_origins
from qlumen.datasets.splits import spread
from qlumen.evaluation.bootstrap import interval
from qlumen.networks.encoder import MEAN, STD
from qlumen.training.batches import to_batch
from qlumen.training.checkpoint import CHECKPOINT
from qlumen.training.cross import CrossTrainer
from qlumen.training.data import Dataset, load_split, resize_pairs
from qlumen.training.loop import Trainer
from qlumen.training.losses import dice_per_image
from qlumen.training.pretrain import Pretrainer
from qlumen.training.settings import TrainSettings
from qlumen.training.start_encoder import write_encoder

SHARES = (0.01, 0.05, 0.1, 0.3, 1.0)
ARMS = ("supervised", "cross", "pretrain", "both")
LISTS = ("test_kvasir", "test_clinicdb", "polypgen_c5")
PUBLISHED = {"test_kvasir": 83.0, "test_clinicdb": 79.4}
"""SemiGDA (arXiv 2604.23274) at 10% of 1,450 images, second-hand; its lists may differ."""


def draw_labels(data: Dataset, clusters: list[str], share: float, seed: int) -> np.ndarray:
    """Return sorted rows: cluster by cluster at random, until each source has its share.

    Of the last cluster come as many images as still lack, evenly spread.
    """
    rng = np.random.default_rng(seed)
    sources = np.array([name.split("/")[0] for name in data.names])
    labels, rows = np.array(clusters), []
    for source in sorted(set(sources)):
        inside = sources == source
        wanted, taken = max(1, round(share * inside.sum())), 0
        for cluster in rng.permutation(sorted(set(labels[inside]))):
            if taken >= wanted:
                break
            chosen = np.flatnonzero(inside & (labels == cluster)).tolist()
            rows += (chosen := spread(chosen, wanted - taken))
            taken += len(chosen)
    return np.sort(rows)


def take(data: Dataset, rows: np.ndarray) -> Dataset:
    return Dataset(tuple(data.names[r] for r in rows), data.images[rows], data.masks[rows])


def drop_masks(data: Dataset) -> Dataset:
    return Dataset(data.names, data.images, np.zeros_like(data.masks))


def make_settings(args: argparse.Namespace, images: int, steps: int, **more) -> TrainSettings:
    per_epoch = max(1, images // args.batch)
    return TrainSettings(
        epochs=math.ceil(steps / per_epoch), batch_size=args.batch, input_size=args.size,
        val_lists=(), loss="structure", augmentation="endoscopic", bottleneck=args.bottleneck,
        ema_decay=args.ema, threads=args.threads, **more,
    )  # fmt: skip


def pretrain_encoder(args: argparse.Namespace, data: Dataset) -> Path:
    """Return the file of the encoder pre-trained on all images of `train`, made once."""
    path = args.out / "encoder.safetensors"
    if not path.is_file():
        settings = make_settings(args, len(data), args.pretrain_steps)
        trainer = Pretrainer(settings, args.out / "pretrain", drop_masks(data), None)
        if trainer.has_checkpoint():
            trainer.resume()
        trainer.run()
        write_encoder(path, trainer.finish(), trainer.provenance())
    return path


@torch.no_grad()
def score(network: torch.nn.Module, data: Dataset, size: int) -> list[float]:
    """Return the Dice of each image at 0.5 and at the network's size."""
    scores: list[float] = []
    for start in range(0, len(data), 16):
        part = slice(start, start + 16)
        images, masks = resize_pairs(data.images[part], data.masks[part], size)
        batch = to_batch(data.names[part], images, masks)
        logits = network((batch.images.float() - MEAN) / STD)
        scores += dice_per_image(logits, batch.masks.float()).tolist()
    return scores


def run_cell(args, data, tests, clusters, share, seed, arm) -> dict:
    rows = draw_labels(data, clusters, share, seed)
    labelled, more = take(data, rows), {"seed": seed}
    rest = np.setdiff1d(np.arange(len(data)), rows)
    if arm in ("pretrain", "both"):
        more["start_encoder"] = pretrain_encoder(args, data)
    started = time.monotonic()
    folder = args.out / "runs" / f"{share:g}-{seed}-{arm}"
    if arm in ("cross", "both") and len(rest):
        settings = make_settings(
            args, len(labelled), args.steps, **more, unlabelled_lists=("train",)
        )
        trainer = CrossTrainer(settings, folder, labelled, None, drop_masks(take(data, rest)))
    else:
        trainer = Trainer(
            make_settings(args, len(labelled), args.steps, **more), folder, labelled, None
        )
    if trainer.has_checkpoint():
        trainer.resume()
    steps = trainer.settings.epochs * trainer.steps_per_epoch
    network = trainer.run()
    seconds = time.monotonic() - started
    dice = {name: score(network, test, args.size) for name, test in tests.items()}
    (folder / CHECKPOINT).unlink()
    return {"share": share, "seed": seed, "arm": arm, "images": len(labelled),
            "seconds": round(seconds, 1), "size": args.size, "wanted_steps": args.steps,
            "steps": steps, "dice": dice}  # fmt: skip


def write_table(path: Path, rows: list[dict], clusters: dict[str, list[str]]) -> None:
    lines = ["| labels | arm | seeds | " + " | ".join(LISTS) + " |", "|---|---|---|" + "---|" * 3]
    for share, arm in sorted({(r["share"], ARMS.index(r["arm"])) for r in rows}):
        cell = [r for r in rows if r["share"] == share and r["arm"] == ARMS[arm]]
        texts = []
        for name in LISTS:
            values = 100 * np.mean([r["dice"][name] for r in cell], axis=0)
            low, high = interval(values.tolist(), clusters[name])
            texts.append(f"{values.mean():.1f} ({low:.1f} to {high:.1f})")
        lines.append(f"| {share:.0%} | {ARMS[arm]} | {len(cell)} | " + " | ".join(texts) + " |")
    known = " | ".join(str(PUBLISHED.get(name, "")) for name in LISTS)
    lines.append(f"| 10% of 1,450 | SemiGDA, second-hand | | {known} |")
    path.write_text("\n".join(lines) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shares", type=float, nargs="+", default=SHARES)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--pretrain-steps", type=int, default=1000)
    parser.add_argument("--bottleneck", default="vqc")
    parser.add_argument("--ema", type=float, default=0.98)
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    store = args.out / "rows.jsonl"
    rows = [json.loads(line) for line in store.open()] if store.is_file() else []
    if any((row["size"], row["wanted_steps"]) != (args.size, args.steps) for row in rows):
        raise SystemExit(f"{store} has rows of another --size or --steps; name another --out")
    done = {(r["share"], r["seed"], r["arm"]) for r in rows}
    data = load_split(args.data, "train")
    tests = {name: load_split(args.data, name) for name in LISTS}
    clusters = {
        name: [origin.cluster for origin in read_origins(args.data, part.names)]
        for name, part in {"train": data, **tests}.items()
    }
    for share in args.shares:
        for seed in args.seeds:
            for arm in args.arms:
                if (share, seed, arm) in done:
                    continue
                row = run_cell(args, data, tests, clusters["train"], share, seed, arm)
                rows.append(row)
                with store.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                write_table(args.out / "table.md", rows, clusters)
                means = {name: round(100 * float(np.mean(row["dice"][name])), 1) for name in LISTS}
                print({**row, "dice": means}, flush=True)
    write_table(args.out / "table.md", rows, clusters)


if __name__ == "__main__":
    main()

"""Measures what Snap and Fit make of rough outlines.

    python bench/outlines.py --data D [--split polypgen_c5] [--limit 200] [--json FILE]

A rough outline is the true one, moved by smooth random shifts of 3, 6 or 10 pixels of an image of
480 (standard deviation). Mean Dice of the rough outline, of what each tool makes of it, and of the
network alone; the interval of each gain is by cluster.
"""

import time
from pathlib import Path

import cv2
import numpy as np
from propagation import dice, judge

from qlumen.datasets.groups import read_origins
from qlumen.datasets.pairs import read_pair
from qlumen.datasets.splits import split_pairs, spread
from qlumen.evaluation.bootstrap import interval
from qlumen.networks.bundle import read_bundle
from qlumen.realtime.annotation.fit import fit
from qlumen.realtime.annotation.propagate import LEVEL
from qlumen.realtime.annotation.snap import snap
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.engines.choose import bundle_folder
from qlumen.realtime.pixels.arrays import Mask
from qlumen.realtime.segmentation.segmenter import Segmenter

from support.common import Row, parser, report

SHIFTS, GRID, SIDE_PX = (3, 6, 10), 6, 480
TOOLS = {"snap": snap, "fit": fit}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--split", default="polypgen_c5")
    arguments.add_argument("--limit", type=int)
    options = arguments.parse_args()
    pairs = spread(split_pairs(options.data, options.split), options.limit)
    clusters = [one.cluster for one in read_origins(options.data, [pair.name for pair in pairs])]
    settings = load_settings(None, ())
    segmenter = Segmenter.open(read_bundle(bundle_folder(settings)), settings)
    scores: dict[tuple[int, str], list[float]] = {}
    times: dict[str, list[float]] = {name: [] for name in TOOLS}
    for number, pair in enumerate(pairs):
        image, truth = read_pair(pair)
        probability = judge(segmenter, image)
        for shift in SHIFTS:
            rough = move(truth, shift, number)
            found = {"rough": rough, "network": probability >= LEVEL}
            for name, tool in TOOLS.items():
                start = time.perf_counter()
                found[name] = tool(rough, image, probability)
                times[name].append(time.perf_counter() - start)
            for name, mask in found.items():
                scores.setdefault((shift, name), []).append(dice(mask, truth))
    rows: list[Row] = []
    for shift in SHIFTS:
        row: Row = {"shift": shift, "images": len(pairs)}
        row |= {
            name: round(float(np.mean(scores[shift, name])), 3) for name in ("rough", "network")
        }
        for name in TOOLS:
            gains = np.subtract(scores[shift, name], scores[shift, "rough"])
            low, high = interval(gains.tolist(), clusters)
            row[name] = round(float(np.mean(scores[shift, name])), 3)
            row[f"{name} gains"] = f"{gains.mean():+.3f} ({low:+.3f} to {high:+.3f})"
        rows.append(row)
    report(rows, {}, options.json, {f"{name}, s": float(np.median(t)) for name, t in times.items()})


def move(mask: Mask, shift: float, seed: int) -> Mask:
    height, width = mask.shape
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(GRID, GRID, 2)).astype(np.float32)
    shifts = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    shifts *= shift * max(height, width) / SIDE_PX
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return cv2.remap(mask, columns + shifts[..., 0], rows + shifts[..., 1], cv2.INTER_NEAREST)


if __name__ == "__main__":
    main()

"""Measures outlines that are carried from key frames, against the number of key frames.

    python bench/propagation.py [--data D] [--frames 200] [--json FILE]

Mean Dice over the frames that are no key and that a key reaches (a cut ends its way), at 1, 2, 5
and 10 keys in 100 frames, evenly spread and one at least: `both` (motion and network), `motion`
alone, `copy` of the nearest key, and `network` alone. Intervals by sequence, of `both` minus the
better of the last two. The scene has exact truth. With --data also the 29 sequences of ClinicDB,
whose frames are far apart; the network was trained on most of them.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qlumen.datasets.groups import read_origins
from qlumen.datasets.pairs import read_pair
from qlumen.datasets.splits import pair_of
from qlumen.evaluation.bootstrap import interval
from qlumen.networks.bundle import read_bundle
from qlumen.realtime.annotation.propagate import FLOW_PX, propagate
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.endoscope.field import find_field
from qlumen.realtime.engines.choose import bundle_folder
from qlumen.realtime.pixels.arrays import Image, Mask
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource
from qlumen.realtime.tracking.motion import Motion

from support.common import Row, parser, report

BUDGETS = 1, 2, 5, 10
WAYS = "both", "motion", "copy", "network"
SEEDS = range(60, 64)
SMALL, BLURRED = 0.02, 60.0
"""Share of a small lesion, and variance of the Laplacian (at 256 px) of a blurred frame."""
Video = tuple[str, list[Image], list[Mask]]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--data", type=Path)
    arguments.add_argument("--frames", type=int, default=200, help="of each scene")
    options = arguments.parse_args()
    settings = load_settings(None, ())
    segmenter = Segmenter.open(read_bundle(bundle_folder(settings)), settings)
    rows = measure("scene", list(make_scenes(options.frames)), segmenter)
    if options.data:
        rows += measure("ClinicDB", list(read_sequences(options.data)), segmenter)
    report(rows, {}, options.json)


def make_scenes(frames: int) -> Iterator[Video]:
    for seed in SEEDS:
        scene = list(SceneSource(SceneSettings(480, 360, Fraction(25), frames, seed)).frames())
        yield str(seed), [one.image for one in scene], [one.truth for one in scene]


def read_sequences(root: Path) -> Iterator[Video]:
    names = [f"cvc-clinicdb/{path.stem}" for path in (root / "cvc-clinicdb/images").iterdir()]
    names.sort(key=lambda name: int(name.rpartition("/")[2]))
    sequences: dict[str, list[str]] = {}
    for origin in read_origins(root, names):
        sequences.setdefault(origin.cluster, []).append(origin.name)
    for cluster, members in sequences.items():
        pairs = [read_pair(pair_of(root, name)) for name in members]
        yield cluster, [image for image, _ in pairs], [mask for _, mask in pairs]


def measure(source: str, videos: Sequence[Video], segmenter: Segmenter) -> list[Row]:
    maps = {name: [judge(segmenter, image) for image in images] for name, images, _ in videos}
    rows: list[Row] = []
    for budget in BUDGETS:
        scores: list[dict[str, float]] = []
        for name, images, truth in videos:
            scores += score(name, images, truth, maps[name], budget)
        row: Row = {"source": source, "keys in 100": budget, "frames": len(scores)}
        scores = [s for s in scores if not np.isnan(s["motion"])]
        row["reached"] = len(scores)
        row |= {way: round(float(np.mean([s[way] for s in scores])), 3) for way in WAYS}
        other = max(("copy", "network"), key=lambda way: row[way])
        gains = [s["both"] - s[other] for s in scores]
        low, high = interval(gains, [str(s["video"]) for s in scores])
        row |= {"gain over": other, "gain": f"{np.mean(gains):.3f} ({low:.3f} to {high:.3f})"}
        for kind in ("small", "blurred"):
            for way in WAYS:
                chosen = [s[way] for s in scores if s[kind]]
                row[f"{kind}: {way}"] = round(float(np.mean(chosen)), 3) if chosen else "-"
        rows.append(row)
        print(row, flush=True)
    return rows


def score(
    name: str,
    images: Sequence[Image],
    truth: Sequence[Mask],
    maps: Sequence[NDArray[np.float32]],
    budget: int,
) -> list[dict]:
    import cv2

    count = max(1, round(len(images) * budget / 100))
    keys = {int((i + 0.5) * len(images) / count) for i in range(count)}
    given = {key: truth[key] for key in keys}
    motion = Motion(FLOW_PX)
    thumbnails = [motion.reduce(BgrImage(image)) for image in images]
    found = {
        "both": dict(propagate(thumbnails, given, lambda index: maps[index])),
        "motion": dict(propagate(thumbnails, given)),
    }
    rows = []
    for index, mask in enumerate(truth):
        if index in keys:
            continue
        nearest = min(keys, key=lambda key: abs(key - index))
        row: dict = {"video": name, "copy": dice(truth[nearest], mask)}
        row["network"] = dice(maps[index] >= 0.5, mask)
        for way, ones in found.items():
            one = ones.get(index)
            row[way] = np.nan if one is None else dice(one.lesions, mask)
        row["small"] = 0 < mask.mean() < SMALL
        row["blurred"] = cv2.Laplacian(thumbnails[index], cv2.CV_64F).var() < BLURRED
        rows.append(row)
    return rows


def judge(segmenter: Segmenter, image: Image) -> NDArray[np.float32]:
    """Return the network's map of a whole frame, judged in the field alone."""
    import cv2

    x0, y0, x1, y1 = find_field(image).box
    fitted = segmenter.preprocess(BgrImage(np.ascontiguousarray(image[y0:y1, x0:x1])))
    probability = segmenter.submit_twice(fitted).result()
    whole = np.zeros(image.shape[:2], np.float32)
    whole[y0:y1, x0:x1] = cv2.resize(probability, (x1 - x0, y1 - y0))
    return whole


def dice(one: NDArray, other: NDArray) -> float:
    """Return the Dice; 1 if both are empty."""
    a, b = one > 0, other > 0
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return 2 * np.count_nonzero(a & b) / total if total else 1.0


if __name__ == "__main__":
    main()

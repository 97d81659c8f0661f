"""Measures the size of a review and the cost of its rounding: `python bench/review.py CLIP`.

It prints the bytes of a frame, the time of other thresholds against the time of the network, and
the difference between masks of rounded and exact maps, with 8, 12 and 16 bits.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from qlumen.networks.bundle import read_bundle
from qlumen.realtime.config.settings import Settings, load_settings
from qlumen.realtime.engines.choose import bundle_folder
from qlumen.realtime.frames import Segmentation
from qlumen.realtime.review.findings import find
from qlumen.realtime.review.process import process
from qlumen.realtime.review.records import FLOWS, MAPS, PICTURES
from qlumen.realtime.review.review import Review
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.realtime.sources.choose import open_source

HIGHS = (0.5, 0.6, 0.8, 0.9, 0.97)
BITS = (8, 12, 16)


def main(clip: str) -> None:
    settings = load_settings()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "review"
        began = time.process_time()
        process(clip, folder, settings)
        whole_s = time.process_time() - began
        with Review(folder) as review:
            frames = len(review.frames)
            for name in (MAPS, FLOWS, PICTURES):
                print(f"{name}: {(folder / name).stat().st_size / frames / 1000:.1f} kB a frame")
            again_s = np.median([_finding_s(review, high) for high in HIGHS])
    print(f"review: {1000 * whole_s / frames:.1f} ms of processor time a frame, with opening")
    print(f"other thresholds: {1000 * again_s / frames:.2f} ms, {whole_s / again_s:.0f} times less")
    _rounding(clip, settings)


def _finding_s(review: Review, high: float) -> float:
    own = review.manifest.thresholds
    began = time.process_time()
    find(review, own.model_copy(update={"high": high, "low": min(own.low, high)}))
    return time.process_time() - began


def _rounding(clip: str, settings: Settings) -> None:
    segmenter = Segmenter.open(read_bundle(bundle_folder(settings)), settings)
    differing, counts, boxes = (dict.fromkeys(BITS, 0) for _ in range(3))
    pixels = 0
    with open_source(clip, settings) as source:
        for frame in source.frames():
            probability = segmenter.submit(frame.pixels).result()
            own = segmenter.finish(frame, probability)
            pixels += int(own.mask.sum())
            for bits in BITS:
                most = np.float32((1 << bits) - 1)
                other = segmenter.finish(frame, np.rint(probability * most) / most)
                differing[bits] += int((own.mask != other.mask).sum())
                counts[bits] += len(own.findings) != len(other.findings)
                boxes[bits] += _boxes(own) != _boxes(other)
    segmenter.close()
    for bits in BITS:
        print(
            f"{bits} bits: {differing[bits]} of {pixels} mask pixels differ, {counts[bits]} frames "
            f"with another number of findings, {boxes[bits]} with other boxes"
        )


def _boxes(segmentation: Segmentation) -> list[tuple[int, int, int, int]]:
    return [finding.box for finding in segmentation.findings]


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python bench/review.py CLIP")
    main(sys.argv[1])

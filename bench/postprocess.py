"""Compares the post-processing of a 352x352 map for a 1080p frame: ours, OpenCV's and SciPy's.

The references follow the same definition: interpolation, hysteresis, filled holes, least area.
They return the mask, and the box, area and mean probability of each finding. OpenCV also returns
contours, SciPy does not. All run on one thread. The masks are checked first: they must agree.
"""

from collections.abc import Callable
from functools import partial
from statistics import median

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from qlumen.realtime.segmentation.geometry import Geometry
from qlumen.realtime.segmentation.postprocess import Postprocessor

from support.common import interleaved_ms, parser, report

Map = NDArray[np.float32]
Mask = NDArray[np.uint8]
Found = tuple[Mask, list[tuple[tuple[int, int, int, int], int, float]]]

FRAME_SIZE = (1920, 1080)
NETWORK_SIZE = (352, 352)
LOW, HIGH = 0.4, 0.6
MIN_AREA_FRACTION = 0.0005
MIN_AREA_PX = MIN_AREA_FRACTION * FRAME_SIZE[0] * FRAME_SIZE[1]
MASK_TOLERANCE = 1e-4
"""Share of the frame that may differ: the libraries' float weights move a few border pixels."""


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rounds", type=int, default=40, help="calls of each function")
    options = arguments.parse_args()
    cv2.setNumThreads(1)
    rows, ratios = [], {}
    for scene, probability in maps().items():
        functions = contestants(probability)
        check(functions)
        times = interleaved_ms(functions, options.rounds)
        for name, ms in times.items():
            rows.append({"name": f"{name}_{scene}", "ms_p50": median(ms), "ms_min": min(ms)})
        for name in ("opencv", "scipy"):
            ratios[f"{name}_over_ours_{scene}"] = median(times[name]) / median(times["ours"])
    report(rows, ratios, options.json)


def maps() -> dict[str, Map]:
    """Make maps: two smooth blobs on 5%, nothing, fine noise, a finding everywhere."""
    rng = np.random.default_rng(1)
    blobs = np.maximum(blob(100, 150, 37), blob(260, 220, 24))
    return {
        "blobs": blobs,
        "nothing": np.minimum(blobs, np.float32(HIGH - 0.1)) * np.float32(0.5),
        "noise": rng.random(NETWORK_SIZE[::-1], np.float32),
        "everywhere": np.full(NETWORK_SIZE[::-1], 0.9, np.float32),
    }


def blob(x: float, y: float, radius: float) -> Map:
    rows, columns = np.mgrid[: NETWORK_SIZE[1], : NETWORK_SIZE[0]]
    distance = np.hypot(columns - x, rows - y) - radius
    return (1 / (1 + np.exp(np.clip(distance / 2, -50, 50)))).astype(np.float32)


def contestants(probability: Map) -> dict[str, Callable[[], Found]]:
    post = Postprocessor(low=LOW, high=HIGH, min_area_fraction=MIN_AREA_FRACTION)
    geometry = Geometry.of(FRAME_SIZE, NETWORK_SIZE, "stretch")
    return {
        "ours": partial(ours, post, probability, geometry),
        "opencv": partial(opencv, probability),
        "scipy": partial(scipy, probability),
    }


def check(functions: dict[str, Callable[[], Found]]) -> None:
    masks = {name: function()[0] for name, function in functions.items()}
    for name, mask in masks.items():
        share = np.mean(mask != masks["ours"])
        if share > MASK_TOLERANCE:
            raise SystemExit(f"{name} and ours disagree on {share:.2%} of the frame's pixels")


def ours(post: Postprocessor, probability: Map, geometry: Geometry) -> Found:
    result = post(probability, geometry)
    return result.mask, [(f.box, f.area_px, f.score) for f in result.findings]


def opencv(probability: Map) -> Found:
    mask = np.zeros(FRAME_SIZE[::-1], np.uint8)
    if probability.max() < HIGH:
        return mask, []
    frame = cv2.resize(probability, FRAME_SIZE, interpolation=cv2.INTER_LINEAR)
    _, labels = cv2.connectedComponents((frame >= LOW).astype(np.uint8))
    kept = np.zeros(labels.max() + 1, np.uint8)
    kept[labels[frame >= HIGH]] = 1
    contours, _ = cv2.findContours(kept[labels], cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    found = []
    for contour in contours:
        x, y, w, h = cv2.boundingRect(contour)
        filled = np.zeros((h, w), np.uint8)
        cv2.drawContours(filled, [contour], 0, 1, cv2.FILLED, offset=(-x, -y))
        area = cv2.countNonZero(filled)
        if area >= MIN_AREA_PX:
            mask[y : y + h, x : x + w] |= filled
            score = cv2.mean(frame[y : y + h, x : x + w], mask=filled)[0]
            found.append(((x, y, x + w, y + h), area, score))
    return mask, sorted(found, key=lambda finding: -finding[1])


def scipy(probability: Map) -> Found:
    if probability.max() < HIGH:
        return np.zeros(FRAME_SIZE[::-1], np.uint8), []
    scale = np.array(NETWORK_SIZE[::-1]) / np.array(FRAME_SIZE[::-1])
    shape = FRAME_SIZE[::-1]
    frame = ndimage.affine_transform(
        probability, scale, scale / 2 - 0.5, shape, order=1, mode="nearest"
    )
    around = np.ones((3, 3))
    labels, count = ndimage.label(frame >= LOW, around)
    kept = np.zeros(count + 1, bool)
    kept[labels[frame >= HIGH]] = True
    labels, count = ndimage.label(ndimage.binary_fill_holes(kept[labels]), around)
    areas = np.bincount(labels.ravel())
    areas[0] = 0
    scores = ndimage.mean(frame, labels, np.arange(1, count + 1))
    found = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        if areas[number] >= MIN_AREA_PX:
            box = (columns.start, rows.start, columns.stop, rows.stop)
            found.append((box, int(areas[number]), float(scores[number - 1])))
    mask = (areas >= MIN_AREA_PX)[labels].astype(np.uint8)
    return mask, sorted(found, key=lambda finding: -finding[1])


if __name__ == "__main__":
    main()

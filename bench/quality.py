"""Measures the visible field and the judgement of real, degraded and drawn frames.

Real images come from `../shared/data` or QLUMEN_DATA. There are no real images from out of the
body: rooms, towels, faces, texts and colour bars are drawn.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from statistics import mean, median

import cv2
import numpy as np
from numpy.typing import NDArray

from qlumen.realtime.endoscope.field import FieldFinder
from qlumen.realtime.endoscope.privacy import Privacy
from qlumen.realtime.endoscope.quality import QualityJudge
from qlumen.realtime.frames import Condition, Field, Frame
from qlumen.realtime.pixels.arrays import Image, Mask
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource

from support.common import interleaved_ms, parser, report
from support.quality_images import DEGRADATIONS, OUTSIDE, degrade_field

DATA = Path(os.environ.get("QLUMEN_DATA") or Path(__file__).parents[2] / "shared" / "data")
STILLS = {
    "kvasir": "kvasir-seg/images", "clinicdb": "cvc-clinicdb/images",
    "negatives": "negatives/colitis_fullframe",
}  # fmt: skip
OUTSIDE_IMAGES = 40
LIT_LEVEL = 24
"""Level from which the reference field is lit, after a blur."""
Row = dict[str, str | int | float]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--every", type=int, default=5, help="take every n-th real image")
    arguments.add_argument("--rounds", type=int, default=60, help="calls of each function")
    options = arguments.parse_args()
    cv2.setNumThreads(1)
    rows: list[Row] = []
    figures: dict[str, float] = {}
    for name, folder in STILLS.items():
        judge_stills(name, list(read_images(folder, options.every)), rows, figures)
    for file in sorted((DATA / "clips").glob("*.mp*")):
        count("clip", file.stem, clip_conditions(file), rows)
    scene = scene_conditions()
    figures["scene_clear"] = count("scene", "1280x720", scene, rows)
    for name, draw in OUTSIDE.items():
        found = [judge_alone(draw(np.random.default_rng(i))) for i in range(OUTSIDE_IMAGES)]
        count("outside", name, found, rows, Condition.OUT_OF_BODY)
    field_figures(list(read_images(STILLS["kvasir"], options.every)), figures)
    times = interleaved_ms(steps(), options.rounds)
    rows += [
        {"name": f"ms_{name}", "p50": median(ms), "min": min(ms)} for name, ms in times.items()
    ]
    report(rows, {}, options.json, figures)


def read_images(folder: str, every: int) -> Iterator[Image]:
    files = sorted((DATA / folder).glob("*.[jp][pn]g"))
    if not files:
        raise SystemExit(f"no images in {DATA / folder}; set QLUMEN_DATA")
    for file in files[::every]:
        yield cv2.imread(str(file))


def judge_stills(
    name: str, images: list[Image], rows: list[Row], figures: dict[str, float]
) -> None:
    """Judge the images as they are, and degraded inside their field."""
    clear = count("stills", name, [judge_alone(image) for image in images], rows)
    figures[f"clear_{name}"] = clear
    for kind, strength, degrade in DEGRADATIONS:
        found = [judge_degraded(image, degrade) for image in images]
        count(f"degraded {name}", f"{kind} {strength}", found, rows)


def judge_degraded(image: Image, degrade: Callable[[Image], Image]) -> Condition:
    """Judge a degraded image with the field of the original, as in a video."""
    field = FieldFinder()(still(image))
    return QualityJudge().instant(BgrImage(degrade_field(image, field, degrade)), field)


def judge_alone(image: Image) -> Condition:
    return QualityJudge().instant(BgrImage(image), FieldFinder()(still(image)))


def still(image: Image) -> Frame:
    return Frame(0, 0, Fraction(1, 25), BgrImage(image), 0)


def clip_conditions(file: Path) -> list[Condition]:
    clip, frames = cv2.VideoCapture(str(file)), []
    while (read := clip.read())[0]:
        frames.append(Frame(len(frames), len(frames), Fraction(1, 25), BgrImage(read[1]), 0))
    return conditions(frames)


def scene_conditions() -> list[Condition]:
    source = SceneSource(SceneSettings(frame_count=None))
    return conditions(source.frame(i) for i in range(0, 1500, 10))


def conditions(frames: "Iterator[Frame] | list[Frame]") -> list[Condition]:
    finder, judge = FieldFinder(), QualityJudge()
    return [judge.instant(frame.pixels, finder(frame)) for frame in frames]


def count(
    what: str, name: str, found: list[Condition], rows: list[Row],
    wanted: Condition = Condition.CLEAR,
) -> float:  # fmt: skip
    """Add a row with the share of each condition; return that of `wanted`."""
    shares = {str(one): count / len(found) for one, count in Counter(found).most_common()}
    rows.append({"what": what, "name": name, "pictures": len(found), **shares})
    return shares.get(str(wanted), 0.0)


def field_figures(images: list[Image], figures: dict[str, float]) -> None:
    overlaps = [
        overlap(paint(FieldFinder()(still(image)), image), reference_field(image))
        for image in images
    ]
    figures["field_iou_mean"] = mean(overlaps)
    figures["field_iou_p05"] = float(np.percentile(overlaps, 5))
    figures["field_iou_min"] = min(overlaps)


def paint(field: Field, image: Image) -> Mask:
    if field.mask is not None:
        return field.mask
    x0, y0, x1, y1 = field.box
    mask = np.zeros(image.shape[:2], np.uint8)
    mask[y0:y1, x0:x1] = 1
    return mask


def reference_field(image: Image) -> Mask:
    """Return the hull of the largest lit part at full size, without the box of a scope-position
    image, which its hue gives."""
    lit = cv2.GaussianBlur(image.max(axis=2), (0, 0), 1.5) > LIT_LEVEL
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV)
    green = cv2.inRange(hsv, (75, 150, 80), (95, 255, 255)) > 0
    largest = largest_part(lit & ~green)
    hull = cv2.convexHull(cv2.findNonZero(largest))
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, hull, 1)
    if green.mean() > 0.01:
        x, y, w, h = cv2.boundingRect(largest_part(green))
        mask[y : y + h, x : x + w] = 0
    return mask


def largest_part(lit: NDArray[np.bool_]) -> Mask:
    opened = cv2.morphologyEx(lit.astype(np.uint8), cv2.MORPH_OPEN, np.ones((9, 9), np.uint8))
    _, labels, facts, _ = cv2.connectedComponentsWithStats(opened)
    return (labels == 1 + facts[1:, cv2.CC_STAT_AREA].argmax()).astype(np.uint8)


def overlap(a: Mask, b: Mask) -> float:
    return float((a & b).sum() / (a | b).sum())


def steps() -> dict[str, Callable[[], object]]:
    """Return the steps at 1080p: search for the field, no search, judgement, both privacies."""
    frame = SceneSource(SceneSettings(width=1920, height=1080)).frame(40)
    finder, judge = FieldFinder(), QualityJudge()
    field = finder(frame)
    seeking = FieldFinder(every_s=0)
    privacy = Privacy(regions=(), outside_field=True, pixelate_outside_body=True)
    return {
        "look": partial(seeking, frame),
        "no_look": partial(finder, frame),
        "judge": partial(judge, frame.pixels, field),
        "black_outside": partial(privacy, frame.image, field, Condition.CLEAR),
        "pixelate": partial(privacy, frame.image, field, Condition.OUT_OF_BODY),
    }


if __name__ == "__main__":
    main()

"""Measures the quality and the cost of motion estimation, for several sizes and methods.

    python bench/motion.py [--json FILE] [--seeds N] [--every N]

On the built-in scene at 1080p it moves the true mask of a frame to a later frame and compares it
with the truth there (IoU); it does the same with a mask that is not moved. On the real clips it
measures the change between two frames that remains when one is warped to the other.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from statistics import fmean

import cv2
import numpy as np

from qlumen.realtime.frames import Frame, Segmentation
from qlumen.realtime.pixels.arrays import Image, Mask
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.pixels.reduce import reduce
from qlumen.realtime.segmentation.geometry import Geometry
from qlumen.realtime.segmentation.postprocess import Postprocessor
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource
from qlumen.realtime.tracking.findings import move_segmentation
from qlumen.realtime.tracking.motion import GREEN, THUMBNAIL_PX, Flow, Motion, Thumbnail, mismatch

from support import clips
from support.common import Row, interleaved_ms, parser, report

WIDTH, HEIGHT = 1920, 1080
SCENE_FRAMES = 250
LAGS = (1, 2, 3)
LEAST_AREA_PX = 4000
CLIP_EVERY = 5
ROUNDS = 40
OURS, STILL = f"ours_{THUMBNAIL_PX}", "not_moved"

Estimate = Callable[[Thumbnail, Thumbnail], Flow]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--seeds", type=int, default=4, help="scenes")
    arguments.add_argument("--every", type=int, default=12, help="take each n-th frame")
    options = arguments.parse_args()
    methods = candidates()
    rows: list[Row] = []
    overlaps = scene_overlaps(methods, range(options.seeds), options.every)
    rest = photometric(methods)
    times = flow_times(methods)
    for name in [STILL, *methods]:
        row: dict[str, str | float] = {"name": name}
        row |= {f"iou_lag_{lag}": fmean(overlaps[name, lag]) for lag in LAGS}
        row |= {f"grey_levels_{clip}": fmean(rest[name, clip]) for clip in clip_names(rest)}
        row["flow_ms_min"] = min(times[name]) if name in times else 0.0
        rows.append(row)
    rows.append({"name": "pairs", "scene": len(overlaps[STILL, 1])})
    costs = step_times()
    rows += [{"name": name, "ms_min": min(ms)} for name, ms in costs.items()]
    report(rows, ratios(overlaps, costs), options.json)


def candidates() -> dict[str, tuple[int, Estimate]]:
    """Return by name the width of the thumbnails and the function that estimates flow."""
    presets = {
        "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
        "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
        "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
    }
    found: dict[str, tuple[int, Estimate]] = {OURS: (THUMBNAIL_PX, Motion().flow)}
    found |= {f"ours_{width}": (width, Motion().flow) for width in (160, 240)}
    for name, preset in presets.items():
        for width in (120, 160, 240):
            search = cv2.DISOpticalFlow.create(preset)
            found[f"dis_{name}_{width}"] = width, partial(_search, search)
    found["farneback_160"] = 160, _farneback
    found["one_shift_160"] = 160, _one_shift
    return found


def _search(search: cv2.DISOpticalFlow, earlier: Thumbnail, later: Thumbnail) -> Flow:
    return search.calc(earlier, later, None)


def _farneback(earlier: Thumbnail, later: Thumbnail) -> Flow:
    return cv2.calcOpticalFlowFarneback(earlier, later, None, 0.5, 3, 15, 3, 5, 1.2, 0)


def _one_shift(earlier: Thumbnail, later: Thumbnail) -> Flow:
    """Estimate one displacement for all pixels by phase correlation."""
    shift, _ = cv2.phaseCorrelate(earlier.astype(np.float32), later.astype(np.float32))
    return np.full((*earlier.shape, 2), shift, np.float32)


def scene_overlaps(
    methods: Mapping[str, tuple[int, Estimate]], seeds: Sequence[int], every: int
) -> dict[tuple[str, int], list[float]]:
    """Return the IoU of the moved and the true mask, for each method and lag."""
    overlaps: dict[tuple[str, int], list[float]] = defaultdict(list)
    for earlier, later, lag in scene_pairs(seeds, every):
        before, truth = segmentation_of(earlier.truth), later.truth
        overlaps[STILL, lag].append(iou(before.mask, truth))
        for name, (width, estimate) in methods.items():
            flow = estimate(thumbnail(earlier.image, width), thumbnail(later.image, width))
            overlaps[name, lag].append(iou(move_segmentation(before, flow).mask, truth))
    return overlaps


def scene_pairs(seeds: Sequence[int], every: int) -> Iterator[tuple[Frame, Frame, int]]:
    """Yield pairs of frames that both show a polyp, 1 to 3 frames of 1/25 s apart."""
    for seed in seeds:
        scene = SceneSource(SceneSettings(width=WIDTH, height=HEIGHT, seed=seed))
        for index in range(0, SCENE_FRAMES - max(LAGS), every):
            earlier = scene.frame(index)
            if earlier.truth.sum() < LEAST_AREA_PX:
                continue
            for lag in LAGS:
                later = scene.frame(index + lag)
                if later.truth.sum() >= LEAST_AREA_PX:
                    yield earlier, later, lag


def segmentation_of(mask: Mask) -> Segmentation:
    """Return the components of the mask as findings with filled holes."""
    size = mask.shape[::-1]
    post = Postprocessor(low=0.5, high=0.5, min_area_fraction=0)
    return post(mask.astype(np.float32), Geometry.of(size, size, "stretch"))


def thumbnail(image: Image, width: int) -> Thumbnail:
    size = width, round(image.shape[0] * width / image.shape[1])
    small = reduce(BgrImage(image), (0, 0, image.shape[1], image.shape[0]), size)
    return np.ascontiguousarray(small[..., GREEN])


def iou(a: Mask, b: Mask) -> float:
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0


def photometric(methods: Mapping[str, tuple[int, Estimate]]) -> dict[tuple[str, str], list[float]]:
    """Return the grey levels that remain between two frames of real clips, 160 px wide."""
    rest: dict[tuple[str, str], list[float]] = defaultdict(list)
    for clip in clips.real_clips(clips.data_folder()):
        for index in range(0, len(clip.images) - 1, CLIP_EVERY):
            earlier, later = clip.images[index : index + 2]
            pair = thumbnail(earlier, THUMBNAIL_PX), thumbnail(later, THUMBNAIL_PX)
            still = np.zeros((*pair[0].shape, 2), np.float32)
            rest[STILL, clip.name].append(mismatch(*pair, still))
            for name, (width, estimate) in methods.items():
                flow = estimate(thumbnail(earlier, width), thumbnail(later, width))
                flow = cv2.resize(flow, pair[0].shape[::-1]) * np.float32(THUMBNAIL_PX / width)
                rest[name, clip.name].append(mismatch(*pair, flow))
    return rest


def clip_names(rest: Mapping[tuple[str, str], list[float]]) -> list[str]:
    return list(dict.fromkeys(clip for _, clip in rest))


def flow_times(methods: Mapping[str, tuple[int, Estimate]]) -> dict[str, list[float]]:
    """Measure the milliseconds of each flow on one thread."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    earlier, later = two_frames()
    calls = {
        name: partial(estimate, thumbnail(earlier.image, width), thumbnail(later.image, width))
        for name, (width, estimate) in methods.items()
    }
    times = interleaved_ms(calls, ROUNDS)
    cv2.setNumThreads(threads)
    return times


def step_times() -> dict[str, list[float]]:
    """Measure our steps at 1080p, OpenCV's reduction, and the flow on all threads."""
    motion, (earlier, later) = Motion(), two_frames()
    pair = motion.reduce(earlier.pixels), motion.reduce(later.pixels)
    flow, before = motion.flow(*pair), segmentation_of(earlier.truth)
    size = pair[0].shape[::-1]
    area = cv2.INTER_AREA
    return interleaved_ms(
        {
            "reduce": lambda: motion.reduce(earlier.pixels),
            "opencv_area": lambda: cv2.resize(earlier.image, size, interpolation=area),
            "flow_all_threads": lambda: motion.flow(*pair),
            f"moved_{len(before.findings)}_findings": lambda: move_segmentation(before, flow),
            "mismatch": lambda: mismatch(*pair, flow),
        },
        ROUNDS,
    )


def two_frames() -> tuple[Frame, Frame]:
    scene = SceneSource(SceneSettings(width=WIDTH, height=HEIGHT))
    return scene.frame(60), scene.frame(61)


def ratios(
    overlaps: Mapping[tuple[str, int], list[float]], costs: Mapping[str, list[float]]
) -> dict[str, float]:
    """Return the error of moved over still masks, and our cost over OpenCV's."""
    wrong = {key: 1 - fmean(values) for key, values in overlaps.items()}
    found = {
        f"error_moved_over_not_moved_lag_{lag}": wrong[OURS, lag] / wrong[STILL, lag]
        for lag in LAGS
    }
    found["reduce_over_opencv_area"] = min(costs["reduce"]) / min(costs["opencv_area"])
    return found


if __name__ == "__main__":
    main()

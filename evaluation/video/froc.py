"""Runs all videos at several thresholds and reports the curve of alarms."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from scipy.stats import chi2

from qlumen.evaluation.bootstrap import COVERAGE, RESAMPLES, SEED
from qlumen.evaluation.video.alarms import IN_TIME_S, LesionScores, VideoScores, score_video
from qlumen.evaluation.video.videos import Video
from qlumen.networks.bundle import Bundle
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.analysis.interpret import Interpreter
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.segmentation.postprocess import Postprocessor
from qlumen.realtime.segmentation.segmenter import POSITIONS, Segmenter, thresholds

MINUTES: Mapping[str, float] = {"scene": 30.0, "panned": 10.0, "polyps": 20.0}
"""Length of the rows: scenes without polyps, panned images, scenes with polyps."""


@dataclass(frozen=True, slots=True)
class Point:
    """Holds one operating point.

    Attributes:
        position: position of `postprocess.sensitivity`; 0 for thresholds of the settings.
        own: whether it is that of the settings.
    """

    position: int
    thresholds: Mapping[str, float]
    own: bool = False


def operating_points(bundle: Bundle, settings: Settings) -> list[Point]:
    """Return the five positions of the dial, and the thresholds in use if they are no position."""
    section, own = settings.postprocess, thresholds(bundle, settings)
    points = []
    for position in POSITIONS:
        update = {"sensitivity": position, "high": None, "low": None}
        at = settings.model_copy(update={"postprocess": section.model_copy(update=update)})
        chosen = thresholds(bundle, at)
        points.append(Point(position, chosen, own=chosen == own))
    return points if any(one.own for one in points) else [*points, Point(0, own, own=True)]


def score_rows(
    rows: Mapping[str, Sequence[Video]],
    segmenter: Segmenter,
    points: Sequence[Point],
    settings: Settings,
    on_frame: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Score all videos at all operating points; return the content of `--json`."""

    def make_interpreters() -> Sequence[Interpreter]:
        fit = segmenter.preprocess.fit
        return [
            Interpreter(Postprocessor(**point.thresholds), fit, settings.temporal)
            for point in points
        ]

    def score_all(videos: Sequence[Video]) -> Iterator[list[VideoScores]]:
        for video in videos:
            analysis = FrameAnalysis(segmenter, settings, related=True)
            yield score_video(video, analysis, make_interpreters, on_frame)

    table = {row: list(zip(*score_all(videos), strict=True)) for row, videos in rows.items()}
    return {
        row: [
            {"position": p.position, **p.thresholds, "own": p.own, **summarise(scores)}
            for p, scores in zip(points, columns, strict=True)
        ]
        for row, columns in table.items()
    }


def summarise(videos: Sequence[VideoScores]) -> dict[str, Any]:
    """Summarise videos at one operating point.

    Lesions count once for each video. Intervals draw whole clusters; where there is no false
    alarm at all, the upper bound is that of a Poisson count (Garwood 1936).
    """
    free_minutes = sum(video.free_seconds for video in videos) / 60
    false = sum(len(video.false_s) for video in videos)
    lesions = [one for video in videos for one in video.lesions.values()]
    result: dict[str, Any] = {
        "minutes": sum(video.seconds for video in videos) / 60,
        "free_minutes": free_minutes,
        "false_alarms": false,
        "false_per_minute": false / free_minutes if free_minutes else None,
        "false_per_minute_95": rate_interval(videos),
        "videos": [
            {"name": v.name, "cluster": v.cluster, "false_s": v.false_s, "beside_s": v.beside_s}
            for v in videos
        ],
    }
    if lesions:
        result |= _summarise_lesions(lesions, sum(len(v.beside_s) for v in videos))
    return result


def _summarise_lesions(lesions: Sequence[LesionScores], beside: int) -> dict[str, Any]:
    lasting = [one for one in lesions if one.appeared_s is not None]
    delays = [one.delay_s for one in lasting if one.delay_s is not None]
    in_time = sum(delay <= IN_TIME_S for delay in delays)
    alarmed = [len(one.alarms_s) for one in lesions if one.alarms_s]
    frames = sum(one.frames for one in lesions)
    return {
        "lesions": len(lasting),
        "found_in_3_s": in_time / len(lasting) if lasting else None,
        "found": len(delays) / len(lasting) if lasting else None,
        "median_delay_s": median(delays) if delays else None,
        "alarms_per_found_lesion": sum(alarmed) / len(alarmed) if alarmed else None,
        "boxed_frames": sum(one.boxed for one in lesions) / frames,
        "false_alarms_beside": beside,
    }


def rate_interval(videos: Sequence[VideoScores]) -> list[float] | None:
    """Return the 95% interval of false alarms a minute; None without a minute free of lesions."""
    counts: dict[str, list[float]] = {}
    for video in videos:
        row = counts.setdefault(video.cluster, [0.0, 0.0])
        row[0] += len(video.false_s)
        row[1] += video.free_seconds / 60
    sums = np.array(list(counts.values()))
    minutes = float(sums[:, 1].sum())
    if not minutes:
        return None
    outside = (1 - COVERAGE) / 2
    if not sums[:, 0].any():
        return [0.0, float(chi2.ppf(1 - outside, 2)) / 2 / minutes]
    rng = np.random.default_rng(SEED)
    drawn = sums[rng.integers(len(sums), size=(RESAMPLES, len(sums)))].sum(axis=1)
    rates = drawn[:, 0] / np.maximum(drawn[:, 1], 1e-9)
    low, high = np.percentile(rates, (100 * outside, 100 * (1 - outside)))
    return [float(low), float(high)]

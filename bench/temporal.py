"""What smoothing and the alarm hold do to real material: the table of `docs/measurements.md`.

    python bench/temporal.py [--json FILE] [--write] [--sweep] [--set KEY=VALUE]

The bundle judges every frame of the clips once; then the variants run on the same maps.
`--write` puts the figures into the page, `--sweep` tries other limits than the settings' own.
"""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from qlumen.networks.bundle import Bundle, read_bundle
from qlumen.realtime.analysis.frame_analysis import FrameAnalysis
from qlumen.realtime.analysis.interpret import Interpreter
from qlumen.realtime.analysis.look_ahead import LookAhead
from qlumen.realtime.analysis.observe import ignore_laps
from qlumen.realtime.config.network import TemporalSettings
from qlumen.realtime.config.settings import Settings, load_settings
from qlumen.realtime.engines.choose import bundle_folder
from qlumen.realtime.frames import Finding, Frame, Observation, Segmentation
from qlumen.realtime.pixels.arrays import Mask
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.segmentation.segmenter import Segmenter
from qlumen.realtime.tracking.findings import move_segmentation

from support import clips
from support.clips import Clip
from support.common import Row, parser, report

PAGE = Path(__file__).resolve().parents[1] / "docs" / "measurements.md"
BEGIN, END = "<!-- figures of bench/temporal.py -->", "<!-- end of figures -->"
OFF: Mapping[str, float] = {"hold_s": 0.0, "release_s": 0.0, "gap_s": 0.0, "remember_s": 0.0}
NEITHER, SMOOTHING, HOLD, BOTH = "neither", "smoothing", "alarm hold", "both"
AHEAD = "both, looking ahead"
SWEEP: Mapping[str, Sequence[float]] = {
    "smoothing": (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
    "hold_s": (0.0, 0.12, 0.24, 0.4),
    "release_s": (0.0, 0.12, 0.24, 0.4, 0.6),
    "gap_s": (0.0, 0.04, 0.08),
    "min_overlap": (0.01, 0.1, 0.3, 0.5),
    "max_distance": (0.0, 0.5, 1.0, 1.5),
}


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Holds a clip without its images, the observations of its frames and the network's maps.

    `motion` is the median of the mean displacement from frame to frame, as a share of the width.
    """

    clip: Clip
    seen: list[Observation]
    maps: list[NDArray[np.float32] | None]
    motion: float


@dataclass(slots=True)
class Score:
    """Counts the results of one variant on one clip.

    A frame is a hit if the centre of a shown finding lies on a true polyp.

    Attributes:
        changes: 1 - IoU of each shown mask and the mask before, moved; two empty masks give no
            value.
        first_s, found_s: time of the first frame with a polyp, and of the first hit.
    """

    frames: int = 0
    alarms: int = 0
    shown: int = 0
    positive: int = 0
    hits: int = 0
    first_s: float | None = None
    found_s: float | None = None
    changes: list[float] = field(default_factory=list)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--write", action="store_true", help=f"write into {PAGE.name}")
    arguments.add_argument("--sweep", action="store_true", help="also try other limits")
    arguments.add_argument("--set", action="append", default=[], help="one setting")
    options = arguments.parse_args()
    settings = load_settings(None, options.set)
    bundle = read_bundle(bundle_folder(settings))
    segmenter = Segmenter.open(bundle, settings)
    judged = [judge(clip, segmenter, settings) for clip in clips.all_clips(clips.data_folder())]
    rows = compare_variants(variants(settings.temporal), judged, segmenter)
    report(rows, ratios(rows), options.json)
    if options.write:
        write(rows, bundle, settings.temporal)
    if options.sweep:
        report(compare_variants(sweep(settings.temporal), judged, segmenter), {}, None)
    segmenter.close()


@dataclass(frozen=True, slots=True)
class Variant:
    temporal: TemporalSettings
    look_ahead: bool = False


def variants(settings: TemporalSettings) -> dict[str, Variant]:
    still = settings.model_copy(update={"smoothing": 0.0})
    return {
        NEITHER: Variant(still.model_copy(update=OFF)),
        SMOOTHING: Variant(settings.model_copy(update=OFF)),
        HOLD: Variant(still),
        BOTH: Variant(settings),
        AHEAD: Variant(settings, look_ahead=True),
    }


def sweep(settings: TemporalSettings) -> dict[str, Variant]:
    return {
        f"{key} {value}": Variant(settings.model_copy(update={key: value}))
        for key, values in SWEEP.items()
        for value in values
    }


def judge(clip: Clip, segmenter: Segmenter, settings: Settings) -> Judged:
    """Run the network on all frames, and estimate the motion between them."""
    analysis = FrameAnalysis(segmenter, settings, related=True)
    time_base = 1 / Fraction(clip.fps).limit_denominator(1000)
    frames = (
        Frame(index, index, time_base, BgrImage(image), 0)
        for index, image in enumerate(clip.images)
    )
    judgements = [judgement for _, judgement in analysis.judge_all(frames)]
    seen = [judgement.seen for judgement in judgements]
    flows = [(one.flow, one.flow.shape[1]) for one in seen if one.flow is not None]
    far = [float(np.linalg.norm(flow, axis=-1).mean()) / width for flow, width in flows]
    maps = [judgement.probability for judgement in judgements]
    return Judged(replace(clip, images=[]), seen, maps, float(np.median(far)))


def compare_variants(
    chosen: Mapping[str, Variant], judged: Sequence[Judged], segmenter: Segmenter
) -> list[Row]:
    """Return a row for each group of clips and each variant."""
    groups: dict[str, list[Judged]] = {}
    for one in judged:
        groups.setdefault(one.clip.group, []).append(one)
    return [
        row_of(group, name, [(one, run(one, variant, segmenter)) for one in members])
        for group, members in groups.items()
        for name, variant in chosen.items()
    ]


def run(judged: Judged, variant: Variant, segmenter: Segmenter) -> Score:
    """Run smoothing, post-processing and tracks on the maps of a clip, and score it."""
    kind = LookAhead if variant.look_ahead else Interpreter
    interpreter = kind(segmenter.postprocess, segmenter.preprocess.fit, variant.temporal)
    laps = itertools.repeat(ignore_laps)
    frames = zip(itertools.count(), judged.seen, judged.maps, laps)
    score, before = Score(), None
    for index, judgement in interpreter.interpret_all(frames):
        now, flow = judgement.segmentation, judgement.seen.flow
        score.alarms += sum(track.new for track in judgement.tracks)
        count(score, judged.clip, index, now)
        if before is not None and flow is not None:
            compare(score, move_segmentation(before, flow).mask, now.mask)
        before = now
    return score


def count(score: Score, clip: Clip, index: int, now: Segmentation) -> None:
    score.frames += 1
    score.shown += bool(now.findings)
    truth, followed = clip.truth[index], clip.followed[index]
    if truth is not None and truth.any():
        score.positive += 1
        score.hits += hits(now.findings, truth)
    if followed is None or not followed.any():
        return
    if score.first_s is None:
        score.first_s = index / clip.fps
    if score.found_s is None and hits(now.findings, followed):
        score.found_s = index / clip.fps


def hits(findings: Sequence[Finding], truth: Mask) -> bool:
    boxes = (finding.box for finding in findings)
    return any(truth[(y0 + y1) // 2, (x0 + x1) // 2] for x0, y0, x1, y1 in boxes)


def compare(score: Score, expected: Mask, now: Mask) -> None:
    union = np.count_nonzero(expected | now)
    if union:
        score.changes.append(1 - np.count_nonzero(expected & now) / union)


def row_of(group: str, variant: str, scored: Sequence[tuple[Judged, Score]]) -> Row:
    """Return means over frames; the delay is a mean over the clips with a hit."""
    scores = [score for _, score in scored]
    minutes = sum(one.clip.seconds for one, _ in scored) / 60
    positive = sum(score.positive for score in scores)
    changes = list(itertools.chain.from_iterable(score.changes for score in scores))
    row: dict[str, str | int | float] = {
        "group": group,
        "variant": variant,
        "motion": fmean(one.motion for one, _ in scored),
        "flicker": fmean(changes) if changes else 0.0,
        "alarms_per_min": sum(score.alarms for score in scores) / minutes,
        "frames_shown": sum(score.shown for score in scores) / sum(s.frames for s in scores),
    }
    if positive:
        row["sensitivity"] = sum(score.hits for score in scores) / positive
        row["positive_frames"] = positive
        row["clips"] = sum(score.first_s is not None for score in scores)
        row["clips_found"] = sum(score.found_s is not None for score in scores)
        row["delay_s"] = fmean(delays(scores)) if row["clips_found"] else float("nan")
    return row


def delays(scores: Sequence[Score]) -> Iterator[float]:
    for score in scores:
        if score.first_s is not None and score.found_s is not None:
            yield score.found_s - score.first_s


def ratios(rows: Sequence[Row]) -> dict[str, float]:
    """Return the ratios of both together to neither."""
    found = {(row["group"], row["variant"]): row for row in rows}
    return {
        f"{key}_both_over_neither, {group}": float(row[key]) / float(found[group, NEITHER][key])
        for (group, variant), row in found.items()
        for key in ("flicker", "alarms_per_min", "sensitivity")
        if variant == BOTH and key in row
    }


def write(rows: Sequence[Row], bundle: Bundle, settings: TemporalSettings) -> None:
    """Write the figures between the page's two marks."""
    values = ", ".join(f"`{key}` {value}" for key, value in settings.model_dump().items())
    manifest = bundle.manifest
    about = f"Bundle {manifest.name} ({bundle.sha256[:12]}), settings {values}."
    text = "\n\n".join([BEGIN, about, table(rows), END])
    page = PAGE.read_text(encoding="utf-8")
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    if not pattern.search(page):
        raise SystemExit(f"{PAGE} lacks the marks {BEGIN} and {END}; put them in")
    PAGE.write_text(pattern.sub(lambda _: text, page), encoding="utf-8")


def table(rows: Sequence[Row]) -> str:
    lines = [
        "| | | flicker | sensitivity | alarms a minute | frames with a finding | first hit after |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        first = f"{row['group']} ({row['motion']:.1%})" if row["variant"] == NEITHER else ""
        hit = found = ""
        if "sensitivity" in row:
            hit = f"{row['sensitivity']:.1%}"
            found = f"{row['delay_s']:.2f} s ({row['clips_found']} of {row['clips']} clips)"
        cells = [
            first, row["variant"], f"{row['flicker']:.3f}", hit,
            f"{row['alarms_per_min']:.1f}", f"{row['frames_shown']:.1%}", found,
        ]  # fmt: skip
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

"""Builds the facts of a report from a review and its findings."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from fractions import Fraction
from itertools import groupby
from typing import Any

from qlumen.networks.bundle import file_sha256
from qlumen.realtime.config.outputs import ReportSettings
from qlumen.realtime.frames import Condition
from qlumen.realtime.report.facts import (
    ConditionRow,
    Facts,
    LatencyRow,
    Row,
    Section,
    TimeSpan,
    clock,
    percent,
    size_on_disk,
)
from qlumen.realtime.report.lesions import mean_step_s, most_seen, track_facts
from qlumen.realtime.review.findings import Findings
from qlumen.realtime.review.records import MANIFEST
from qlumen.realtime.review.review import Review

CARD_SECTIONS = ("Scores", "Limits", "Terms of the data")
"""Sections of a model card that a report shows."""
MAX_NOTES = 8
MAX_POINTS = 600
"""Limit for the curve over the whole recording."""
STAGES = {
    "decode": "decoding",
    "preprocess": "preprocessing",
    "inference": "network",
    "postprocess": "findings from the map",
    "end to end": "decoded frame to findings",
}
LIMITS = (
    "The network misses lesions and marks places without a lesion, in hospitals that it was not "
    "trained on more often than the scores in this report say. A finding is not a diagnosis. "
    "A report without a lesion does not prove that there was no lesion.",
    "Sizes are in pixels and in shares of the visible field. An endoscope image has no scale, so "
    "the report gives no millimetres.",
    "A score is the network's mean probability over the finding's pixels. It is not the "
    "probability that the finding is a polyp.",
    "A lesion that leaves the view and comes back is counted again.",
    "Findings on frames that cannot be judged are left out of the lesions.",
)


def gather(review: Review, findings: Findings, chosen: ReportSettings | None = None) -> Facts:
    """Collect the facts of a report; `chosen` replaces the review's own report settings.

    Raises:
        ReviewError: the review is damaged.
    """
    settings = chosen or review.settings.report
    shown = most_seen(findings, settings.max_tracks)
    step_s = mean_step_s(review)
    manifest, frames = review.manifest, review.frames
    whole = TimeSpan(frames[0].time_s, frames[-1].time_s + step_s)
    return Facts(
        title="Colonoscopy recording: findings",
        recording=manifest.source.name,
        institution=settings.institution,
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        persons=(),
        headline=tuple(_headline(review, findings)),
        procedure=tuple(_procedure(review, whole)),
        warnings=tuple(_warnings(manifest.summary)),
        span=whole if manifest.source.sequence else None,
        tracks=tuple(track_facts(review, one, step_s) for one in shown),
        omitted=len(findings.tracks) - len(shown),
        brief=findings.brief,
        best_scores=tuple(_best_scores(review, findings)),
        conditions=tuple(_conditions(review, step_s)),
        quality=tuple(_quality(review)),
        latency=tuple(_latency(manifest.summary)),
        latency_note=_latency_note(review),
        model=tuple(_model(review, findings)),
        card=_sections(manifest.model.card),
        hashes=tuple(_hashes(review)),
        limits=LIMITS,
    )


def _headline(review: Review, findings: Findings) -> Iterator[Row]:
    total = len(review.frames)
    found = sum(bool(frame) for frame in findings.frames)
    clear = sum(record.condition is Condition.CLEAR for record in review.frames)
    still = not review.manifest.source.sequence
    yield str(len(findings.tracks)), "findings" if still else "lesions followed"
    yield f"{total:,}", "images" if still else "frames"
    yield percent(found / total), "with a finding"
    yield percent(clear / total), "can be judged"


def _procedure(review: Review, whole: TimeSpan) -> Iterator[Row]:
    source, frames = review.manifest.source, review.frames
    sizes = Counter(record.size for record in frames)
    (width, height), _ = sizes.most_common(1)[0]
    others = f", and {len(sizes) - 1} other sizes" if len(sizes) > 1 else ""
    yield "File", source.name
    if source.bytes is not None:
        yield "File size", size_on_disk(source.bytes)
    if source.sequence:
        yield "Duration", clock(whole.end_s - whole.start_s)
    yield ("Frames" if source.sequence else "Images"), f"{len(frames):,}"
    yield ("Frame size" if source.sequence else "Image size"), f"{width} x {height} px{others}"
    if source.sequence and source.fps:
        yield "Frame rate", f"{float(Fraction(source.fps)):.2f} frames/s"
    yield "Reviewed", review.manifest.created.replace("T", " ").replace("+00:00", " UTC")


def _warnings(summary: dict[str, Any]) -> Iterator[str]:
    if summary.get("error"):
        yield f"The recording ended early: {summary['error']}"
    for cause, count in summary.get("drops", {}).items():
        yield f"{count} frames could not be read ({cause.replace('_', ' ')})."
    notes = summary.get("notes", ())
    for note in notes[:MAX_NOTES]:
        yield f"{note[:1].upper()}{note[1:]}."
    if len(notes) > MAX_NOTES:
        yield f"{len(notes) - MAX_NOTES} more notes are in the review."


def _best_scores(review: Review, findings: Findings) -> Iterator[tuple[float, float]]:
    """Yield time and highest score of each frame, or of groups of frames beyond `MAX_POINTS`."""
    if not review.manifest.source.sequence:
        return
    group = -(-len(findings.frames) // MAX_POINTS)
    for start in range(0, len(findings.frames), group):
        found = [one.score for frame in findings.frames[start : start + group] for one in frame]
        yield review.frames[start].time_s, max(found, default=0.0)


def _conditions(review: Review, step_s: float) -> Iterator[tuple[Condition, TimeSpan]]:
    if not review.manifest.source.sequence:
        return
    for condition, group in groupby(review.frames, key=lambda record: record.condition):
        records = list(group)
        yield condition, TimeSpan(records[0].time_s, records[-1].time_s + step_s)


def _quality(review: Review) -> Iterator[ConditionRow]:
    counts = Counter(record.condition for record in review.frames)
    for condition in Condition:
        count = counts[condition]
        yield ConditionRow(condition, condition.label, count, count / len(review.frames))


def _latency(summary: dict[str, Any]) -> Iterator[LatencyRow]:
    stages = summary["stages_ms"] | {"end to end": summary["end_to_end_ms"]}
    for key, label in STAGES.items():
        if row := stages.get(key):
            yield LatencyRow(label, row["p50"], row["p95"], row["p99"], row["max"])


def _latency_note(review: Review) -> str:
    summary, cores = review.manifest.summary, review.manifest.cores
    engine = summary["engine"].get("name", "engine")
    return (
        f"{summary['frames']:,} frames in {summary['seconds']:.1f} s ({summary['fps']:.1f} "
        f"frames/s) on {engine} and {cores} cores. A review waits for every frame, so these are "
        "not the delays of live video."
    )


def _model(review: Review, findings: Findings) -> Iterator[Row]:
    model, used = review.manifest.model, findings.thresholds
    yield "Network", f"{model.name}, version {model.version}"
    yield "Created", model.created.replace("T", " ").replace("+00:00", " UTC")
    yield "Quantum circuit", model.circuit or "not used"
    yield "Thresholds", f"a finding reaches {used.high:g}; its border is at {used.low:g}"
    yield "Smallest area", f"{100 * used.min_area_fraction:g}% of the frame"
    if used != review.manifest.thresholds:
        own = review.manifest.thresholds
        yield "Changed", f"made with {own.high:g}, {own.low:g}; findings recomputed from its maps"
    yield "Software", f"qlumen {review.manifest.qlumen}"


def _hashes(review: Review) -> Iterator[Row]:
    if review.manifest.source.sha256:
        yield "Recording", review.manifest.source.sha256
    yield "Model bundle", review.manifest.model.sha256
    yield "Configuration", review.manifest.config_sha256
    yield "Review", file_sha256(review.folder / MANIFEST)


def _sections(card: str) -> tuple[Section, ...]:
    """Parse the `CARD_SECTIONS` of a card in Markdown with `##` headings and pipe tables."""
    parts = (part.partition("\n") for part in ("\n" + card).split("\n## ")[1:])
    return tuple(
        _section(title.strip(), body) for title, _, body in parts if title in CARD_SECTIONS
    )


def _section(title: str, body: str) -> Section:
    blocks = [block.strip() for block in body.split("\n\n") if block.strip()]
    # Each block becomes one line without the marks of code and emphasis.
    text = [
        " ".join(block.replace("`", "").replace("**", "").split())
        for block in blocks
        if not block.startswith("|")
    ]
    rows = [_cells(line) for b in blocks if b.startswith("|") for line in b.splitlines()]
    whole = [row for row in rows if not all(set(cell) <= set("-: ") for cell in row)]
    return Section(title, tuple(text), tuple(row for row in whole if len(row) == len(whole[0])))


def _cells(line: str) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in line.strip().strip("|").split("|"))

"""What is made of a review: checked before work starts, written one after the other."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from fractions import Fraction

from qlumen.realtime.config.outputs import ReportSettings
from qlumen.realtime.frames import FrameResult
from qlumen.realtime.report.best import BestFrames, best_frames
from qlumen.realtime.report.build_facts import gather
from qlumen.realtime.report.coco import coco
from qlumen.realtime.report.files import ReportOutputs
from qlumen.realtime.report.html import html
from qlumen.realtime.report.results import check_recording, drawn_results, records
from qlumen.realtime.report.table import findings_csv
from qlumen.realtime.review.findings import Findings
from qlumen.realtime.review.review import Review
from qlumen.realtime.sinks.base import Sink
from qlumen.realtime.sinks.events import EventsWriter
from qlumen.realtime.sinks.images import MaskWriter
from qlumen.realtime.sinks.recorder import Recorder
from qlumen.realtime.sources.base import SourceInfo
from qlumen.realtime.tracking.findings import fill_findings
from qlumen.system.files import write_bytes, write_json

Tell = Callable[[int, int | None], None]


def write_all(
    review: Review,
    findings: Findings,
    outputs: ReportOutputs,
    *,
    patient: str | None = None,
    operator: str | None = None,
    chosen: ReportSettings | None = None,
    tell: Tell = lambda done, expected: None,
) -> None:
    """Write all outputs. `patient` and `operator` of the report: see `Facts.with_persons`;
    `chosen`: see `gather`.

    Raises:
        QlumenError: the review is damaged, the recording changed, an output not writable.
            What was written before is whole.
    """
    if outputs.needs_recording:
        check_recording(review)
    if outputs.csv:
        write_bytes(outputs.csv, findings_csv(review, findings).encode())
    if outputs.coco:
        write_json(outputs.coco, coco(review, findings))
    if outputs.html or outputs.pdf:
        facts = gather(review, findings, chosen).with_persons(patient, operator)
        if outputs.html:
            write_bytes(outputs.html, html(facts).encode())
        if outputs.pdf:
            from qlumen.realtime.report.pdf.document import pdf

            write_bytes(outputs.pdf, pdf(facts))
    if outputs.events:
        with EventsWriter(outputs.events) as events:
            for record in records(review, findings):
                events.write(record)
    if outputs.masks:
        with MaskWriter(outputs.masks) as masks:
            for record in records(review, findings):
                masks.add(record, fill_findings(record.findings, record.size))
    if outputs.needs_recording:
        count = len(review.frames)
        sinks = list(_drawn_sinks(review, findings, outputs, patient or ""))
        _run(drawn_results(review, findings), sinks, lambda done: tell(done, count))


def _drawn_sinks(
    review: Review, findings: Findings, outputs: ReportOutputs, patient: str
) -> Iterator[Sink]:
    settings = review.settings.recorder
    if outputs.video:
        encoding = settings.model_dump(include={"crf", "preset", "threads"})
        yield Recorder(outputs.video, _info(review), **encoding)
    if outputs.snapshots:
        yield BestFrames(outputs.snapshots, best_frames(findings))
    if outputs.dicom:
        from qlumen.realtime.report.dicom import DicomFolder

        best = best_frames(findings)
        yield DicomFolder(outputs.dicom, review.manifest, review.frames, best, patient)


def _run(frames: Iterator[FrameResult], sinks: list[Sink], tell: Callable[[int], None]) -> None:
    with ExitStack() as stack:
        for sink in sinks:
            stack.enter_context(sink)
        for done, result in enumerate(frames, start=1):
            for sink in sinks:
                sink.write(result)
            tell(done)


def _info(review: Review) -> SourceInfo:
    source = review.manifest.source
    rate = Fraction(source.fps) if source.fps else None
    return SourceInfo(source.name, None, None, rate, len(review.frames), source.sequence)

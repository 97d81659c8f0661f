"""Checks the outputs of a review before work starts, and writes them one after the other."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

from qlumen.errors import UsageError
from qlumen.realtime.config.outputs import ReportSettings
from qlumen.realtime.report.build_facts import gather
from qlumen.realtime.report.html import html
from qlumen.realtime.report.results import (
    BestFrames,
    best_frames,
    check_recording,
    draw_results,
    records,
)
from qlumen.realtime.report.tables import coco, findings_csv
from qlumen.realtime.review.findings import Findings
from qlumen.realtime.review.review import Review
from qlumen.realtime.sinks.base import Sink
from qlumen.realtime.sinks.events import EventsWriter
from qlumen.realtime.sinks.images import MaskWriter
from qlumen.realtime.sinks.recorder import Recorder
from qlumen.realtime.sources.base import SourceInfo
from qlumen.realtime.tracking.findings import fill_findings
from qlumen.system.files import write_bytes, write_json
from qlumen.system.output_paths import VIDEO_SUFFIXES, check_paths

OnProgress = Callable[[int, int | None], None]
FOLDERS = ("masks", "snapshots", "dicom")


@dataclass(frozen=True, slots=True)
class ReportOutputs:
    """Holds the paths of the outputs, files or `FOLDERS`; None leaves an output out."""

    html: Path | None = None
    pdf: Path | None = None
    csv: Path | None = None
    coco: Path | None = None
    events: Path | None = None
    video: Path | None = None
    masks: Path | None = None
    snapshots: Path | None = None
    dicom: Path | None = None

    def check(
        self, inputs: list[Path], review: Path | None = None, patient: str | None = None
    ) -> None:
        """Raise an error for outputs that cannot be written.

        Args:
            inputs: files that are read.
            review: folder that is also written.
            patient: name for the DICOM files.

        Raises:
            UsageError: there is no output, or one cannot be written or would destroy an input;
                or DICOM cannot hold the name.
            MissingExtraError: the libraries for DICOM are missing.
        """
        named = {name: path for name, path in asdict(self).items() if path}
        if not named:
            raise UsageError("nothing to write; name an output, such as --html report.html")
        files = [(f"--{name}", path) for name, path in named.items() if name not in FOLDERS]
        folders = [(f"--{name}", path) for name, path in named.items() if name in FOLDERS]
        folders += [("--review", review)] if review else []
        check_paths(inputs, files, folders)
        if self.video and self.video.suffix.lower() not in VIDEO_SUFFIXES:
            raise UsageError(f"--video {self.video} is an MP4 file; give it the ending .mp4")
        if self.dicom:
            from qlumen.realtime.report.dicom import check_patient

            check_patient(patient or "")

    @property
    def needs_recording(self) -> bool:
        return bool(self.video or self.snapshots or self.dicom)


def write_all(
    review: Review,
    findings: Findings,
    outputs: ReportOutputs,
    *,
    patient: str | None = None,
    operator: str | None = None,
    chosen: ReportSettings | None = None,
    tell: OnProgress = lambda done, expected: None,
) -> None:
    """Write all wanted outputs.

    Args:
        patient, operator: see `Facts.with_persons`.
        chosen: see `gather`.

    Raises:
        QlumenError: the review is damaged, the recording has changed, or an output cannot be
            written. Outputs that were written before are complete.
    """
    if outputs.dicom:
        from qlumen.realtime.report.dicom import check_patient

        check_patient(patient or "")
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
        with ExitStack() as stack:
            opened = _open_drawn_sinks(review, findings, outputs, patient or "")
            sinks = [stack.enter_context(sink) for sink in opened]
            for done, result in enumerate(draw_results(review, findings), start=1):
                for sink in sinks:
                    sink.write(result)
                tell(done, count)


def _open_drawn_sinks(
    review: Review, findings: Findings, outputs: ReportOutputs, patient: str
) -> Iterator[Sink]:
    settings = review.settings.recorder
    if outputs.video:
        encoding = settings.model_dump(include={"crf", "preset", "threads"})
        source = review.manifest.source
        rate = Fraction(source.fps) if source.fps else None
        info = SourceInfo(
            source.name, None, None, rate, len(review.frames), source.sequence,
            pixel_aspect=Fraction(source.pixel_aspect),
        )  # fmt: skip
        yield Recorder(outputs.video, info, **encoding)
    if outputs.snapshots:
        yield BestFrames(outputs.snapshots, best_frames(findings))
    if outputs.dicom:
        from qlumen.realtime.report.dicom import DicomFolder

        best = best_frames(findings)
        yield DicomFolder(outputs.dicom, review, best, patient)

"""What is made of a review: checked before work starts, written one after the other."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

from qlumen.realtime.errors import SinkError, UsageError
from qlumen.realtime.frames import Finding, FrameResult
from qlumen.realtime.jsonfile import write_json
from qlumen.realtime.outputs import VIDEO_SUFFIXES, check_paths
from qlumen.realtime.report.coco import coco
from qlumen.realtime.report.gather import gather
from qlumen.realtime.report.html import html
from qlumen.realtime.report.replayed import check_recording, drawn_results, results
from qlumen.realtime.report.table import findings_csv
from qlumen.realtime.review.findings import Findings
from qlumen.realtime.review.review import Review
from qlumen.realtime.sinks.base import Sink
from qlumen.realtime.sinks.events import EventsWriter
from qlumen.realtime.sinks.masks import MaskWriter
from qlumen.realtime.sinks.png import PngFolder
from qlumen.realtime.sinks.recorder import Recorder
from qlumen.realtime.sources.base import SourceInfo

Tell = Callable[[int, int | None], None]


FOLDERS = ("masks", "snapshots", "dicom")


@dataclass(frozen=True, slots=True)
class ReportOutputs:
    """Where to write what; None leaves it out. `masks`, `snapshots` and `dicom` are folders.
    `video`, `snapshots` and `dicom` need the recording itself."""

    html: Path | None = None
    pdf: Path | None = None
    csv: Path | None = None
    coco: Path | None = None
    events: Path | None = None
    video: Path | None = None
    masks: Path | None = None
    snapshots: Path | None = None
    dicom: Path | None = None

    def check(self, inputs: list[Path], review: Path | None = None) -> None:
        """`review`: a folder that will be written, too. Raise UsageError for an output that cannot be written or would destroy an input, and
        for none at all; MissingExtraError for DICOM without its libraries."""
        named = {name: path for name, path in asdict(self).items() if path}
        if not named:
            raise UsageError("nothing to write; name an output, such as --html report.html")
        files = [(f"--{name}", path) for name, path in named.items() if name not in FOLDERS]
        folders = [(f"--{name}", path) for name, path in named.items() if name in FOLDERS]
        folders += [("--review", review)] if review else []
        check_paths(inputs, files, folders)
        if self.video and self.video.suffix.lower() not in VIDEO_SUFFIXES:
            raise UsageError(f"--video {self.video} will be an MP4; give it the ending .mp4")
        if self.dicom:
            from qlumen.realtime.report import dicom  # noqa: F401 - raises without its libraries

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
    tell: Tell = lambda done, expected: None,
) -> None:
    """Write all outputs. `patient` and `operator` of the report: see `Facts.with_persons`.

    Raises:
        QlumenError: the review is damaged, the recording changed, an output not writable.
            What was written before is whole.
    """
    if outputs.needs_recording:
        check_recording(review)
    if outputs.csv:
        _write(outputs.csv, findings_csv(review, findings).encode())
    if outputs.coco:
        write_json(outputs.coco, coco(review, findings))
    if outputs.html or outputs.pdf:
        facts = gather(review, findings).with_persons(patient, operator)
        if outputs.html:
            _write(outputs.html, html(facts).encode())
        if outputs.pdf:
            from qlumen.realtime.report.pdf import pdf

            _write(outputs.pdf, pdf(facts))
    _run(results(review, findings), list(_plain_sinks(outputs)), lambda done: None)
    if outputs.needs_recording:
        count = len(review.frames)
        sinks = list(_drawn_sinks(review, findings, outputs, patient or ""))
        _run(drawn_results(review, findings), sinks, lambda done: tell(done, count))


def _plain_sinks(outputs: ReportOutputs) -> Iterator[Sink]:
    if outputs.events:
        yield EventsWriter(outputs.events)
    if outputs.masks:
        yield MaskWriter(outputs.masks)


def _drawn_sinks(
    review: Review, findings: Findings, outputs: ReportOutputs, patient: str
) -> Iterator[Sink]:
    settings = review.settings.recorder
    if outputs.video:
        encoding = settings.model_dump(include={"crf", "preset", "threads"})
        yield Recorder(outputs.video, _info(review), **encoding)
    if outputs.snapshots:
        yield BestFrames(outputs.snapshots, _best(findings))
    if outputs.dicom:
        from qlumen.realtime.report.dicom import DicomFolder

        best = _best(findings)
        yield DicomFolder(outputs.dicom, review.manifest, review.frames, best, patient)


def _run(frames: Iterator[FrameResult], sinks: list[Sink], tell: Callable[[int], None]) -> None:
    if not sinks:
        return
    with ExitStack() as stack:
        for sink in sinks:
            stack.enter_context(sink)
        for done, result in enumerate(frames, start=1):
            for sink in sinks:
                sink.write(result)
            tell(done)


Best = dict[int, list[tuple[int, Finding]]]
"""By place in the review: the lesions whose best frame it is."""


def _best(findings: Findings) -> Best:
    found: Best = {}
    for track in findings.tracks:
        found.setdefault(track.best.place, []).append((track.number, track.best.finding))
    return found


class BestFrames(Sink):
    """A PNG file of each lesion's best frame with the overlay: `lesion_01_frame_000155.png`."""

    wants_overlay = True

    def __init__(self, folder: Path, best: Best) -> None:
        self._folder, self._best, self._place = PngFolder(folder), best, -1

    def write(self, result: FrameResult) -> None:
        self._place += 1
        for number, _ in self._best.get(self._place, ()):
            image = result.frame.image if result.drawn is None else result.drawn
            name = f"lesion_{number:02d}_frame_{result.frame.index:06d}.png"
            self._folder.write(result.frame, image, name)

    def close(self) -> None:
        pass


def _info(review: Review) -> SourceInfo:
    source = review.manifest.source
    rate = Fraction(source.fps) if source.fps else None
    return SourceInfo(source.name, None, None, rate, len(review.frames), source.sequence)


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise SinkError(f"{path} cannot be written: {error.strerror}") from None

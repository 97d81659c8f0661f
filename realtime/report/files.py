"""Where the outputs of a report go, checked before work starts."""

from dataclasses import asdict, dataclass
from pathlib import Path

from qlumen.errors import UsageError
from qlumen.system.output_paths import VIDEO_SUFFIXES, check_paths

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
        """Raise UsageError for an output that cannot be written or would destroy an input, and
        for none at all; MissingExtraError for DICOM without its libraries.

        Args:
            inputs: what is read.
            review: a folder that will be written, too.
        """
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

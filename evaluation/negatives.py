"""Images without a lesion: what is found in them is false."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from qlumen.datasets.pairs import read_picture
from qlumen.evaluation.bootstrap import interval
from qlumen.realtime.engines.base import Ticket
from qlumen.realtime.frames import Segmentation
from qlumen.realtime.pixels.bgr_image import BgrImage
from qlumen.realtime.segmentation.geometry import Geometry
from qlumen.realtime.segmentation.segmenter import Segmenter


@dataclass(frozen=True, slots=True)
class NegativeScores:
    """Of one picture without a lesion.

    Attributes:
        findings: all false. area_share: of the picture, covered by them.
        largest_probability: of any pixel.
    """

    name: str
    findings: int
    area_share: float
    largest_probability: float


def evaluate_negatives(
    files: Sequence[Path],
    segmenter: Segmenter,
    on_image: Callable[[int], None] = lambda done: None,
) -> list[NegativeScores]:
    """Segment pictures in which there is nothing to find.

    Raises:
        DatasetError: a file cannot be read.
    """
    rows = []
    for file, segmentation in _segmented(files, segmenter):
        rows.append(
            NegativeScores(
                file.name,
                len(segmentation.findings),
                float(segmentation.mask.mean()),
                float(segmentation.probability.max()),
            )
        )
        on_image(len(rows))
    return rows


def summary(rows: Sequence[NegativeScores]) -> dict[str, float | list[float]]:
    """Share of pictures with a finding, its 95% interval, findings a picture."""
    hit = [float(row.findings > 0) for row in rows]
    return {
        "with_findings": sum(hit) / len(rows),
        "with_findings_95": list(interval(hit)),
        "findings_per_image": sum(row.findings for row in rows) / len(rows),
    }


def _segmented(files: Sequence[Path], segmenter: Segmenter) -> Iterator[tuple[Path, Segmentation]]:
    """Read and submit pictures while the network works on those before."""
    flying: deque[tuple[Path, tuple[int, int], Ticket]] = deque()
    for file in files:
        if len(flying) == segmenter.engine.requests:
            yield _landed(segmenter, *flying.popleft())
        image = read_picture(file)
        size = (image.shape[1], image.shape[0])
        flying.append((file, size, segmenter.submit(BgrImage(image))))
    while flying:
        yield _landed(segmenter, *flying.popleft())


def _landed(
    segmenter: Segmenter, file: Path, size: tuple[int, int], ticket: Ticket
) -> tuple[Path, Segmentation]:
    geometry = Geometry.of(size, segmenter.engine.output_size, segmenter.preprocess.fit)
    return file, segmenter.postprocess(ticket.result(), geometry)

"""Propagates or exports the outlines of an annotator, in a worker that may be killed."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from qlumen.errors import UsageError
from qlumen.realtime.annotation.clip import read_clip, read_map
from qlumen.realtime.annotation.export import Outline, Source, write_data
from qlumen.realtime.annotation.project import MADE, PROPAGATED, Made, Mark, Project, encode
from qlumen.realtime.annotation.propagate import propagate
from qlumen.realtime.review.review import Review
from qlumen.realtime.review.worker import OnProgress
from qlumen.system.files import replacing

SOURCES = {mark: Source(mark) for mark in (Mark.KEY, Mark.NETWORK, Mark.PROPAGATED)}


def run(given: dict[str, Any], on_progress: OnProgress) -> None:
    """Propagate outlines, or export them to the data folder `data` if there is one.

    Args:
        given: `clip`, folder of the clip's outlines; `who`; `review`, folder; and perhaps `data`.

    Raises:
        UsageError: there is no outline.
        QlumenError: see `read_clip` and `write_data`.
    """
    clip, who = Path(given["clip"]), given["who"]
    project = Project(clip, who)
    with Review(Path(given["review"])) as review:
        if "data" in given:
            _export(project, review, Path(given["data"]), clip.name, on_progress)
        else:
            _propagate(project, review, on_progress)


def _propagate(project: Project, review: Review, on_progress: OnProgress) -> None:
    stamps, keys = project.stamps, project.outlines(Mark.KEY, Mark.NETWORK)
    if not keys:
        raise UsageError("there is no outline yet; outline a frame first")
    count = len(review.frames)
    clip = read_clip(review, lambda done: on_progress(done, 2 * count))
    made = Made(keys=stamps, history=project.made.history)
    with replacing(project.folder / PROPAGATED) as part:
        part.mkdir()
        for index, found in propagate(clip.thumbnails, keys, partial(read_map, review)):
            (part / f"{index:06}.png").write_bytes(encode(found.lesions))
            if found.disagreement is not None:
                made.disagreement[index] = round(found.disagreement, 4)
            on_progress(count + index, 2 * count)
        if made.disagreement:
            mean = float(np.mean(list(made.disagreement.values())))
            made.history.append((len(keys), round(mean, 4)))
        (part / MADE).write_text(made.model_dump_json(), "utf-8")


def _export(
    project: Project, review: Review, data: Path, name: str, on_progress: OnProgress
) -> None:
    marks = {index: mark for index, mark in sorted(project.marks.items()) if mark in SOURCES}
    if not marks:
        raise UsageError("there is no outline yet; outline a frame first")

    def read() -> Iterator[Outline]:
        for done, (index, mark) in enumerate(marks.items()):
            outline = project.outline(index)
            if outline is not None:
                yield Outline(index, SOURCES[mark], outline)
            on_progress(done, len(marks))

    data.mkdir()
    write_data(data, name, review, read())

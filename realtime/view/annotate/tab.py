"""Serves the tab where people outline lesions in the recording that the session has open.

Paths begin with the clip's folder, so that an outline never lands in another recording.
"""

import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import cv2
import numpy as np
from fastapi import APIRouter, Body, Depends, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from numpy.typing import NDArray
from pydantic import Field

from qlumen.errors import QlumenError, UsageError
from qlumen.realtime.analysis.interpret import Interpreter
from qlumen.realtime.annotation.agreement import compare, join
from qlumen.realtime.annotation.clip import read_map
from qlumen.realtime.annotation.fit import fit
from qlumen.realtime.annotation.project import (
    MAX_LESIONS,
    Mark,
    Project,
    check_outline,
    encode,
    list_annotators,
)
from qlumen.realtime.annotation.snap import snap
from qlumen.realtime.pixels.arrays import Image, Mask
from qlumen.realtime.pixels.jpeg import jpeg_bytes
from qlumen.realtime.review.drawing import JPEG_QUALITY
from qlumen.realtime.review.review import Review
from qlumen.realtime.segmentation.postprocess import Postprocessor
from qlumen.realtime.view.reviews.job import Recording
from qlumen.realtime.view.reviews.open_recordings import OpenRecordings
from qlumen.realtime.view.reviews.tab import find_open, session_of
from qlumen.realtime.view.security.sessions import Session
from qlumen.realtime.view.tabs import PageContext, Tab, add_files, build_html

PREFIX = "/annotate/"
HEAD = (
    '<link rel="stylesheet" href="annotate/static/annotate.css">'
    '<script type="module" src="annotate/static/annotate.js"></script>'
)
KINDS = {"annotate.js": "text/javascript", "annotate.css": "text/css"}
MAJORITY = "majority"
"""Annotator whose outlines are what most of the others outlined."""
PROPAGATE, DATA = "propagate", "data"
TOOLS: dict[str, Callable[[Mask, Image, NDArray[np.float32]], Mask]] = {"snap": snap, "fit": fit}
HASH_DIGITS, NAME_CHARACTERS = 8, 40
Class = Annotated[str, Field(max_length=60)]
Lesion = Annotated[int, Field(ge=1, le=MAX_LESIONS)]
T = TypeVar("T")


def annotate_tab(context: PageContext, recordings: OpenRecordings) -> Tab:
    """Make the tab; raise UsageError if the folder of the outlines cannot be made."""
    root = context.settings.view.annotations
    if root is not None:
        try:
            root.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            text = f"{root} cannot be made: {error.strerror}; choose another view.annotations"
            raise UsageError(text) from None
    routes = annotate_routes(recordings, root)
    return Tab("Annotate", partial(build_html, "annotate"), PREFIX, routes, HEAD)


def annotate_routes(recordings: OpenRecordings, root: Path | None) -> APIRouter:
    """Make the tab's routes. All who open the same recording share its outlines.

    Args:
        root: folder of the outlines; without it there is no route that writes.
    """

    def refuse() -> Iterator[None]:
        try:
            yield
        except QlumenError as error:
            raise HTTPException(400, str(error).replace(f"{root}/", "")) from None
        except OSError as error:
            raise HTTPException(507, f"this cannot be stored: {error.strerror}") from None

    routes = APIRouter(prefix=PREFIX.rstrip("/"), dependencies=[Depends(refuse)])
    refining = threading.Lock()
    add_files(routes, "/static/", KINDS)

    @routes.get("/state")
    def state(session: Annotated[Session, Depends(session_of)]) -> dict[str, Any]:
        recording = recordings.find(session)
        stage = recording.state()["state"] if recording else "none"
        about = recording.read(describe) if recording else None
        return {"folder": root is not None, "state": stage, "clip": None} | (about or {})

    if root is None:
        return routes

    def clip_of(clip: str, recording: Annotated[Recording, Depends(find_open(recordings))]) -> Path:
        if clip != read(recording, describe)["clip"]:
            raise HTTPException(409, "another recording is open; open this one again")
        return root / clip

    def project_of(who: str, clip: Annotated[Path, Depends(clip_of)]) -> Project:
        return Project(clip, who)

    def frame_of(
        index: int, recording: Annotated[Recording, Depends(find_open(recordings))]
    ) -> int:
        count = read(recording, lambda review: len(review.frames))
        if not 0 <= index < count:
            raise UsageError(f"there is no frame {index}; the last one is {count - 1}")
        return index

    Open = Annotated[Recording, Depends(find_open(recordings))]
    Clip = Annotated[Path, Depends(clip_of)]
    Own = Annotated[Project, Depends(project_of)]
    Index = Annotated[int, Depends(frame_of)]

    @routes.get("/{clip}/state/{who}")
    def look(project: Own, clip: Clip, recording: Open) -> dict[str, Any]:
        count = read(recording, lambda review: len(review.frames))
        marks, made = project.marks, project.made
        return {
            "marks": "".join(marks[i][0] if i in marks else "." for i in range(count)),
            "disagreement": made.disagreement,
            "history": made.history,
            "stale": project.stamps != made.keys,
            "next": project.next_frame(count),
            "classes": project.classes,
            "annotators": list_annotators(clip),
            "work": recording.outlines.state(),
        }

    @routes.get("/{clip}/frame/{index}")
    def frame(clip: Clip, index: Index, recording: Open) -> Response:
        image = read(recording, lambda review: review.image(index))
        return Response(jpeg_bytes(image, JPEG_QUALITY), media_type="image/jpeg")

    @routes.get("/{clip}/network/{index}")
    def network(clip: Clip, index: Index, recording: Open) -> Response:
        return _png(read(recording, lambda review: find_outlines(review, index)))

    @routes.post("/{clip}/refine/{tool}/{index}")
    async def refine(
        request: Request, clip: Clip, tool: Literal["snap", "fit"], index: Index, recording: Open
    ) -> Response:
        return _png(await run_in_threadpool(change, recording, tool, index, await request.body()))

    def change(recording: Recording, tool: str, index: int, png: bytes) -> Mask:
        def look(review: Review) -> tuple[tuple[int, int], Image, NDArray[np.float32] | None]:
            return review.frames[index].size, review.image(index), read_map(review, index)

        size, image, probability = read(recording, look)
        if probability is None:
            raise UsageError(f"the network did not judge frame {index}; correct it by hand")
        outline = check_outline(png, size)
        with refining:
            return TOOLS[tool](outline, np.asarray(cv2.resize(image, size)), probability)

    @routes.get("/{clip}/outline/{who}/{index}")
    def outline(project: Own, index: Index) -> Response:
        found = project.outline(index)
        return _png(found) if found is not None else Response(status_code=204)

    @routes.put("/{clip}/outline/{who}/{index}")
    async def write(
        request: Request,
        project: Own,
        index: Index,
        recording: Open,
        mark: Literal["key", "network"],
    ) -> None:
        size = read(recording, lambda review: review.frames[index].size)
        content = check_outline(await request.body(), size)
        await run_in_threadpool(project.write, index, content, Mark(mark))

    @routes.post("/{clip}/mark/{who}/{index}")
    def mark(project: Own, index: Index, mark: Annotated[Literal["skipped", ""], Body()]) -> None:
        project.write(index, None, Mark(mark) if mark else None)

    @routes.put("/{clip}/classes/{who}")
    def classes(project: Own, names: dict[Lesion, Class]) -> None:
        project.name_classes(names)

    @routes.get("/{clip}/agreement/{who}")
    def agreement(project: Own, clip: Clip) -> dict[str, Any]:
        found = {}
        for one in list_annotators(clip):
            other = Project(clip, one)
            both = sorted(project.stamps.keys() & other.stamps.keys())
            pairs = ((project.outline(index), other.outline(index)) for index in both)
            if other.folder != project.folder:
                found[one] = compare((a, b) for a, b in pairs if a is not None and b is not None)
        return found

    @routes.post("/{clip}/majority")
    def majority(clip: Clip) -> dict[str, int]:
        projects = [Project(clip, who) for who in list_annotators(clip) if who != MAJORITY]
        drawn = {index for project in projects for index in project.stamps}
        given = {index: [p for p in projects if index in p.stamps] for index in drawn}
        given = {index: found for index, found in given.items() if len(found) > 1}
        if not given:
            raise UsageError("no frame has outlines of two annotators; outline one under two names")
        for index, found in given.items():
            outlines = [one for p in found if (one := p.outline(index)) is not None]
            Project(clip, MAJORITY).write(index, join(outlines), Mark.KEY)
        return {"frames": len(given)}

    @routes.post("/{clip}/work/{who}")
    def work(
        project: Own,
        clip: Clip,
        recording: Open,
        do: Annotated[Literal["propagate", "data"], Body()],
    ) -> None:
        review = read(recording, lambda review: str(review.folder))
        given = {"clip": str(clip), "who": project.folder.name, "review": review}

        def arguments(path: Path) -> dict[str, Any]:
            return given | ({"data": str(path)} if do == DATA else {})

        recording.outlines.begin(do, do, arguments, "annotate")

    @routes.post("/{clip}/stop")
    def stop(clip: Clip, recording: Open) -> None:
        recording.outlines.forget()

    @routes.get("/{clip}/data.zip")
    def data(clip: Clip, recording: Open) -> Response:
        found = recording.outlines.file(DATA)
        if found is None:
            raise UsageError("nothing is exported yet; export first")
        return FileResponse(found[0], filename=f"{clip.name}.zip")

    return routes


def describe(review: Review) -> dict[str, Any]:
    """Return the name of the clip's folder and its size, as JSON.

    The name is None where the recording is no video of one size, which cannot be annotated.
    """
    source, sizes = review.manifest.source, {frame.size for frame in review.frames}
    if not review.is_sequence or len(sizes) > 1:
        return {"clip": None}
    stem = re.sub("[^A-Za-z0-9_-]", "_", Path(source.name).stem).lstrip("_-")[:NAME_CHARACTERS]
    clip = f"{stem or 'clip'}-{(source.sha256 or '')[:HASH_DIGITS]}"
    return {"clip": clip, "size": sizes.pop()}


def read(recording: Recording, work: Callable[[Review], T]) -> T:
    """Do `work` with a recording's review; refuse before the network has ended."""
    found = recording.read(work)
    if found is None:
        raise HTTPException(404, "the network has not seen the recording yet; wait")
    return found


def find_outlines(review: Review, index: int) -> Mask:
    """Return the network's findings in a frame as a person would outline them, numbered from 1."""
    find = Postprocessor(**review.manifest.thresholds.model_dump())
    seen, probability = review.observation(index), review.probability(index)
    found = Interpreter(find, review.manifest.fit, None).interpret(seen, probability)
    outline = np.zeros(seen.size[::-1], np.uint8)
    for number, one in enumerate(found.segmentation.findings[:MAX_LESIONS], start=1):
        cv2.fillPoly(outline, [one.contour], number)
    return outline


def _png(outline: Mask) -> Response:
    return Response(encode(outline), media_type="image/png")

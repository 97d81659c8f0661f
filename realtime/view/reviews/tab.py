"""Serves the tab with recordings: open one, look at its findings, export them."""

import shutil
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from qlumen.errors import RefusedError
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.review.intake.limits import MIB, Limits
from qlumen.realtime.review.intake.sniff import sniff
from qlumen.realtime.view.reviews.exports import FILES
from qlumen.realtime.view.reviews.job import Recording
from qlumen.realtime.view.reviews.open_recordings import (
    OpenRecordings,
    list_files,
    pick_file,
    printable_name,
)
from qlumen.realtime.view.security.middleware import SESSION_KEY
from qlumen.realtime.view.security.sessions import Session
from qlumen.realtime.view.tabs import PageContext, Tab, add_files, build_html

T = TypeVar("T")
PREFIX = "/recordings/"
HEAD = (
    '<link rel="stylesheet" href="recordings/static/recordings.css">'
    '<script type="module" src="recordings/static/recordings.js"></script>'
)
KINDS = {
    "recordings.js": "text/javascript",
    "timeline.js": "text/javascript",
    "recordings.css": "text/css",
}
MAX_FIELD_CHARACTERS = 200
THRESHOLD_BOUNDS = (0.05, 0.99)


class Pick(BaseModel, extra="forbid"):
    """Asks to open this file of the configured folder."""

    name: str = Field(max_length=4096)


class Find(BaseModel, extra="forbid"):
    """Asks to find again with this threshold."""

    high: float = Field(ge=THRESHOLD_BOUNDS[0], le=THRESHOLD_BOUNDS[1])


class Export(BaseModel, extra="forbid", str_strip_whitespace=True):
    """Asks for this kind of file; a person's field is left out where it is null."""

    kind: str
    patient: str | None = Field(None, max_length=MAX_FIELD_CHARACTERS)
    operator: str | None = Field(None, max_length=MAX_FIELD_CHARACTERS)


def recordings_tab(context: PageContext, recordings: OpenRecordings) -> Tab:
    routes = recording_routes(recordings, context.settings)
    return Tab("Recordings", partial(build_html, "recordings"), PREFIX, routes, HEAD)


def session_of(request: Request) -> Session:
    session: Session = request.scope[SESSION_KEY]
    return session


def find_open(recordings: OpenRecordings) -> Callable[[Session], Recording]:
    """Make the dependency of routes that need the recording that the session has open."""

    def recording_of(session: Annotated[Session, Depends(session_of)]) -> Recording:
        recording = recordings.find(session)
        if recording is None:
            raise HTTPException(404, "no recording is open; open one first")
        return recording

    return recording_of


def recording_routes(recordings: OpenRecordings, settings: Settings) -> APIRouter:
    """Make the tab's routes; each answer is for the request's own session."""
    routes = APIRouter(prefix=PREFIX.rstrip("/"))
    limits = Limits.from_settings(settings)
    folder = settings.view.folder

    Mine = Annotated[Session, Depends(session_of)]
    Open = Annotated[Recording, Depends(find_open(recordings))]

    @routes.get("/state")
    def state(session: Mine) -> dict[str, Any]:
        recording = recordings.find(session)
        return recording.state() if recording else {"state": "none"}

    @routes.get("/choices")
    def choices() -> dict[str, Any]:
        return {
            "files": list_files(folder) if folder else [],
            "folder": folder is not None,
            "upload_mib": limits.max_bytes // MIB,
            "upload_minutes": settings.view.upload_minutes,
            "threshold_bounds": THRESHOLD_BOUNDS,
            "person_fields": settings.report.person_fields,
        }

    @routes.post("/upload")
    async def upload(request: Request, session: Mine, name: str = "") -> dict[str, Any]:
        own = await run_in_threadpool(recordings.new_folder)
        kept = False
        try:
            await _receive(request.stream(), own / "upload", limits)
            kind = await run_in_threadpool(sniff, own / "upload")
            file = (own / "upload").rename(own / f"upload{kind.suffix}")
            shown = printable_name(name)
            await run_in_threadpool(recordings.open, session, file, shown, own)
            kept = True
        except RefusedError as error:
            raise HTTPException(400, str(error)) from None
        except OSError as error:
            raise HTTPException(507, f"the upload cannot be stored: {error.strerror}") from None
        finally:
            if not kept:
                await run_in_threadpool(shutil.rmtree, own, ignore_errors=True)
        return {"opened": shown}

    @routes.post("/pick")
    def pick(asked: Pick, session: Mine) -> dict[str, Any]:
        if folder is None:
            raise HTTPException(400, "there is no folder to choose from; set view.folder")
        try:
            file = pick_file(folder, asked.name)
            name = asked.name.rpartition("/")[2]
            recordings.open(session, file, name, recordings.new_folder())
        except RefusedError as error:
            raise HTTPException(400, str(error)) from None
        return {"opened": asked.name}

    @routes.post("/leave")
    def leave(session: Mine) -> dict[str, Any]:
        recordings.leave(session)
        return {"state": "none"}

    @routes.post("/find")
    def find(asked: Find, recording: Open) -> dict[str, Any]:
        recording.find(asked.high)
        return recording.state()

    @routes.get("/findings")
    def findings(recording: Open) -> dict[str, Any]:
        return _require(recording.findings())

    @routes.get("/frame/{place}")
    def frame(place: int, recording: Open, overlay: bool = False) -> Response:
        return Response(_require(recording.frame_jpeg(place, overlay)), media_type="image/jpeg")

    @routes.get("/track/{number}")
    def track(number: int, recording: Open) -> Response:
        return Response(_require(recording.track_jpeg(number)), media_type="image/jpeg")

    @routes.post("/export")
    def export(asked: Export, recording: Open) -> dict[str, Any]:
        if asked.kind not in FILES:
            raise HTTPException(400, f"there is no such export; use one of {', '.join(FILES)}")
        recording.export(asked.kind, asked.patient, asked.operator)
        return recording.state()

    @routes.get("/file/{kind}")
    def file(kind: str, recording: Open) -> Response:
        path, name = _require(recording.exports.file(kind))
        return FileResponse(path, filename=name)

    add_files(routes, "/static/", KINDS)
    return routes


async def _receive(stream: AsyncIterator[bytes], file: Path, limits: Limits) -> None:
    """Store an upload; raise RefusedError as soon as it is too large."""
    size = 0
    with file.open("xb") as target:
        async for chunk in stream:
            size += len(chunk)
            limits.check_bytes(size)
            await run_in_threadpool(target.write, chunk)


def _require(found: T | None) -> T:
    if found is None:
        raise HTTPException(404, "this is not available, or not yet")
    return found

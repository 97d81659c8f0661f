"""The tab with recordings: open one, look at what was found, take it home."""

import shutil
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from qlumen.errors import RefusedError
from qlumen.realtime.config.settings import Settings
from qlumen.realtime.live.control import THRESHOLD_BOUNDS
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
from qlumen.realtime.view.tabs import Surroundings, Tab, add_files, build_html

T = TypeVar("T")
PREFIX = "/recordings/"
HEAD = (
    '<link rel="stylesheet" href="/recordings/static/recordings.css">'
    '<script type="module" src="/recordings/static/recordings.js"></script>'
)
KINDS = {
    "recordings.js": "text/javascript",
    "timeline.js": "text/javascript",
    "recordings.css": "text/css",
}
MAX_FIELD_CHARACTERS = 200


class Pick(BaseModel, extra="forbid"):
    """Open this file of the configured folder."""

    name: str = Field(max_length=4096)


class Find(BaseModel, extra="forbid"):
    """Find anew."""

    high: float = Field(ge=THRESHOLD_BOUNDS[0], le=THRESHOLD_BOUNDS[1])


class Export(BaseModel, extra="forbid"):
    """Make this kind of file; a field for a person is left out where it is null."""

    kind: str
    patient: str | None = Field(None, max_length=MAX_FIELD_CHARACTERS)
    operator: str | None = Field(None, max_length=MAX_FIELD_CHARACTERS)


def recordings_tab(surroundings: Surroundings) -> Tab:
    visits = OpenRecordings(surroundings.settings, surroundings.sessions)
    routes = recording_routes(visits, surroundings.settings)
    return Tab("Recordings", partial(build_html, "recordings"), PREFIX, routes, HEAD, visits.close)


def recording_routes(visits: OpenRecordings, settings: Settings) -> APIRouter:
    """All that the tab asks of the server; each answer is for the request's own session."""
    routes = APIRouter(prefix=PREFIX.rstrip("/"))
    limits = Limits.of(settings)
    folder = settings.view.folder

    def session_of(request: Request) -> Session:
        session: Session = request.scope[SESSION_KEY]
        return session

    def recording_of(session: Annotated[Session, Depends(session_of)]) -> Recording:
        recording = visits.of(session)
        if recording is None:
            raise HTTPException(404, "no recording is open")
        return recording

    Mine = Annotated[Session, Depends(session_of)]
    Open = Annotated[Recording, Depends(recording_of)]

    @routes.get("/state")
    def state(session: Mine) -> dict[str, Any]:
        recording = visits.of(session)
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
        own = await run_in_threadpool(visits.new_folder)
        opened = False
        try:
            await _receive(request.stream(), own / "upload", limits)
            kind = await run_in_threadpool(sniff, own / "upload")
            file = (own / "upload").rename(own / f"upload{kind.suffix}")
            await run_in_threadpool(visits.open, session, file, name, own)
            opened = True
        except RefusedError as error:
            raise HTTPException(400, str(error)) from None
        except OSError as error:
            raise HTTPException(507, f"cannot be stored: {error.strerror}") from None
        finally:
            if not opened:
                await run_in_threadpool(shutil.rmtree, own, ignore_errors=True)
        return {"opened": printable_name(name)}

    @routes.post("/pick")
    def pick(asked: Pick, session: Mine) -> dict[str, Any]:
        if folder is None:
            raise HTTPException(400, "there is no folder to pick from")
        try:
            visits.open(session, pick_file(folder, asked.name), asked.name, visits.new_folder())
        except RefusedError as error:
            raise HTTPException(400, str(error)) from None
        return {"opened": asked.name}

    @routes.post("/leave")
    def leave(session: Mine) -> dict[str, Any]:
        visits.leave(session)
        return {"state": "none"}

    @routes.post("/find")
    def find(asked: Find, recording: Open) -> dict[str, Any]:
        recording.find(asked.high)
        return recording.state()

    @routes.get("/findings")
    def findings(recording: Open) -> dict[str, Any]:
        return _there(recording.findings())

    @routes.get("/frame/{place}")
    def frame(place: int, recording: Open, overlay: bool = False) -> Response:
        return Response(_there(recording.picture(place, overlay)), media_type="image/jpeg")

    @routes.get("/track/{number}")
    def track(number: int, recording: Open) -> Response:
        return Response(_there(recording.track_image(number)), media_type="image/jpeg")

    @routes.post("/export")
    def export(asked: Export, recording: Open) -> dict[str, Any]:
        if asked.kind not in FILES:
            raise HTTPException(400, f"no such export; there are {', '.join(FILES)}")
        recording.export(asked.kind, asked.patient, asked.operator)
        return recording.state()

    @routes.get("/file/{kind}")
    def file(kind: str, recording: Open) -> Response:
        path, name = _there(recording.exports.file(kind))
        return FileResponse(path, filename=name)

    add_files(routes, "/static/", KINDS)
    return routes


async def _receive(stream: AsyncIterator[bytes], file: Path, limits: Limits) -> None:
    """Store what comes. Raises RefusedError as soon as it is too much."""
    size = 0
    with file.open("xb") as opened:
        async for chunk in stream:
            size += len(chunk)
            limits.check_bytes(size)
            await run_in_threadpool(opened.write, chunk)


def _there(found: T | None) -> T:
    if found is None:
        raise HTTPException(404, "there is no such thing, or not yet")
    return found

"""Checks the recordings' routes behind the gate, as two browsers use and misuse them."""

import io
import os
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from qlumen.errors import RefusedError
from qlumen.realtime.config.settings import Settings, load_settings
from qlumen.realtime.view.reviews.open_recordings import (
    OpenRecordings,
    list_files,
    pick_file,
    printable_name,
    remove_leftovers,
)
from qlumen.realtime.view.reviews.tab import PREFIX, recording_routes
from qlumen.realtime.view.security.middleware import Gate
from qlumen.realtime.view.security.sessions import Sessions

from support.media import write_image
from support.reviews import ALWAYS_CLEAR, make_recording, png_of

FRAMES = 8
EAGER = ["postprocess.low=0.02", "postprocess.high=0.05", "temporal.hold_s=0"]
WAIT_S = 240
BUSY = {"waiting", "reading", "finding"}


class Page:
    """Serves the routes to browsers; all kept files are below `root`."""

    def __init__(self, settings: Settings, root: Path) -> None:
        self.sessions = Sessions(1)
        self.root = root
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tempfile, "tempdir", str(root))
            self.recordings = OpenRecordings(settings, self.sessions)
        app = FastAPI()
        app.include_router(recording_routes(self.recordings, settings))
        self.gate = Gate(
            app, prefixes=(PREFIX,), sessions=self.sessions, cookie="c", secure=False,
            password=False, upload_bytes=settings.view.upload_mib << 20,
        )  # fmt: skip

    def folders(self) -> set[Path]:
        """List the folders of the open recordings."""
        return set(self.root.glob("*/*"))

    def browser(self) -> TestClient:
        """Make a browser with cookies of its own."""
        return TestClient(
            self.gate, base_url="http://127.0.0.1/recordings", raise_server_exceptions=False
        )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder with files that can be picked and files that cannot."""
    root = tmp_path_factory.mktemp("clips")
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.mp4").write_bytes(b"secret")
    (root / "deep").mkdir()
    make_recording(root / "deep" / "clip2.mp4", 4)
    make_recording(root / "clip10.mp4", 4)
    (root / ".hidden.mp4").write_bytes(b"hidden")
    (root / "link.mp4").symlink_to(outside / "secret.mp4")
    (root / "linked").symlink_to(outside, target_is_directory=True)
    (root / "inside.mp4").symlink_to(root / "clip10.mp4")
    return root


@pytest.fixture(scope="module")
def page(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    settings = [f"view.folder={folder}", "view.upload_mib=4", *ALWAYS_CLEAR, *EAGER]
    served = Page(load_settings(None, settings), tmp_path_factory.mktemp("kept"))
    yield served
    served.recordings.close()


def upload(browser: TestClient, file: Path, name: str) -> dict[str, Any]:
    """Upload a file and return the state after all work is done."""
    answer = browser.post("/upload", params={"name": name}, content=file.read_bytes())
    assert answer.status_code == 200, answer.text
    return wait_for_end(browser)


def wait_for_end(browser: TestClient) -> dict[str, Any]:
    deadline = time.monotonic() + WAIT_S
    while (state := browser.get("/state").json())["state"] in BUSY:
        assert time.monotonic() < deadline, state
        time.sleep(0.05)
    return state


@pytest.fixture(scope="module")
def owner(page: Page, tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    """Open and review a bright recording with an odd name in a browser."""
    recording = make_recording(tmp_path_factory.mktemp("up") / "clip.mp4", FRAMES)
    browser = page.browser()
    state = upload(browser, recording, "../../\x07<b>clip</b>.png")
    assert state["state"] == "ready", state
    assert state["name"] == "b>.png"
    return browser


def test_an_upload_is_reviewed(owner: TestClient) -> None:
    """Each frame has its time, score and condition, and its image has the frame's size."""
    found = owner.get("/findings").json()
    assert len(found["times_s"]) == len(found["scores"]) == len(found["conditions"]) == FRAMES
    assert set(found["conditions"]) <= set(found["looks"])
    assert found["looks"]["red_out"] == {"label": "red-out", "colour": "#d55e00"}
    assert found["times_s"] == [round(i * 0.04, 3) for i in range(FRAMES)]
    for query in ("", "?overlay=true"):
        jpeg = owner.get(f"/frame/3{query}").content
        assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1).shape == (240, 320, 3)


def test_another_threshold_is_applied_without_reading_the_recording(owner: TestClient) -> None:
    """The findings change without the upload, and come back with the first threshold."""
    before = owner.get("/findings").json()
    assert owner.post("/find", json={"high": 0.99}).status_code == 200
    wait_for_end(owner)
    none = owner.get("/findings").json()
    assert none["version"] > before["version"]
    assert none["high"] == 0.99
    owner.post("/find", json={"high": before["high"]})
    wait_for_end(owner)
    again = owner.get("/findings").json()
    assert {**again, "version": 0} == {**before, "version": 0}


def test_exports_are_made_and_downloaded(owner: TestClient) -> None:
    """A table and a folder of masks are complete, and unknown kinds are refused."""
    for kind in ("csv", "masks"):
        assert owner.post("/export", json={"kind": kind}).status_code == 200
    deadline = time.monotonic() + WAIT_S
    while any(one["state"] == "working" for one in owner.get("/state").json()["exports"].values()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert owner.get("/file/csv").text.startswith("frame,time_s,")
    archive = zipfile.ZipFile(io.BytesIO(owner.get("/file/masks").content))
    assert len(archive.namelist()) >= FRAMES
    assert archive.testzip() is None
    assert owner.post("/export", json={"kind": "../x"}).status_code == 400
    assert owner.get("/file/pdf").status_code == 404


def test_nothing_of_one_browser_is_seen_by_another(page: Page, owner: TestClient) -> None:
    """Another session gets nothing of the recording at any address; the owner keeps it."""
    other = page.browser()
    assert other.get("/state").json() == {"state": "none"}
    for path in ("findings", "frame/0", "track/1", "file/csv"):
        assert other.get(f"/{path}").status_code == 404
    assert other.post("/find", json={"high": 0.5}).status_code == 404
    assert other.post("/leave").json() == {"state": "none"}
    assert owner.get("/frame/0").status_code == 200


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.mp4", b""), ("a.mp4", b"#EXTM3U\nfile:///etc/passwd\n"), ("a.png", b"<svg/>"),
     ("a.exe", b"MZ"), ("a.mp4", bytes(5 << 20))],
)  # fmt: skip
def test_bad_uploads_are_refused_and_leave_nothing(page: Page, name: str, content: bytes) -> None:
    """Empty, mislabelled and oversized uploads are refused, and no file is kept."""
    browser = page.browser()
    before = page.folders()
    answer = browser.post("/upload", params={"name": name}, content=content)
    assert answer.status_code in (400, 413)
    assert "Traceback" not in answer.text
    assert "/tmp" not in answer.text
    assert page.folders() == before
    assert browser.get("/state").json() == {"state": "none"}


def cut_image(tmp_path: Path) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    return write_image(tmp_path / "a.png", noise).read_bytes()[:60]


def make_bomb(tmp_path: Path) -> bytes:
    return png_of(65535, 65535)


def damage_video_index(tmp_path: Path) -> bytes:
    whole = make_recording(tmp_path / "a.mp4", 4).read_bytes()
    return whole.replace(b"stts", b"junk").replace(b"stsz", b"junk")


@pytest.mark.parametrize("make", [cut_image, make_bomb, damage_video_index])
def test_damaged_uploads_fail_in_their_worker(
    page: Page, tmp_path: Path, make: Callable[[Path], bytes]
) -> None:
    """A cut image, a decompression bomb and a damaged video end as failed.

    The message has no path of the server, and the page still answers.
    """
    file = tmp_path / "damaged"
    file.write_bytes(make(tmp_path))
    browser = page.browser()
    state = upload(browser, file, "damaged.jpg")
    assert state["state"] == "failed"
    assert state["message"]
    assert str(page.root) not in state["message"]
    assert browser.get("/findings").status_code == 404
    assert browser.post("/leave").json() == {"state": "none"}


def test_a_fuzzed_video_is_read_or_refused(page: Page, tmp_path: Path) -> None:
    """Changed bytes in a video give a result or a failure with a message."""
    rng = np.random.default_rng(5)
    content = bytearray(make_recording(tmp_path / "a.mp4", FRAMES).read_bytes())
    for at in rng.integers(48, len(content), 200):
        content[at] = rng.integers(256)
    file = tmp_path / "fuzzed"
    file.write_bytes(content)
    browser = page.browser()
    state = upload(browser, file, "fuzzed.mp4")
    assert state["state"] == "ready" or state["message"]
    assert "Traceback" not in state["message"]
    browser.post("/leave")


@pytest.mark.parametrize("name", ["../../../../tmp/climbed", "/tmp/climbed", "..%2fx", "a\0b"])
def test_an_upload_cannot_choose_its_place(page: Page, name: str, tmp_path: Path) -> None:
    """An upload with any name is stored in its own folder under the server's name."""
    browser = page.browser()
    before = page.folders()
    content = write_image(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8)).read_bytes()
    assert browser.post("/upload", params={"name": name}, content=content).status_code == 200
    (own,) = page.folders() - before
    assert (own / "upload.png").read_bytes() == content
    browser.post("/leave")


def test_leaving_ends_the_worker_and_removes_the_files(page: Page, tmp_path: Path) -> None:
    """Nothing of a recording stays after it is closed, also during the work."""
    recording = make_recording(tmp_path / "clip.mp4", 20)
    browser = page.browser()
    before = page.folders()
    browser.post("/upload", params={"name": "x"}, content=recording.read_bytes())
    assert page.folders() - before
    browser.post("/leave")
    assert page.folders() == before


def test_the_end_of_a_session_removes_its_files(page: Page, tmp_path: Path) -> None:
    """When a browser's session ends, its recording is also removed."""
    browser = page.browser()
    before = page.folders()
    recording = make_recording(tmp_path / "clip.mp4", 4)
    browser.post("/upload", params={"name": "x"}, content=recording.read_bytes())
    session = page.sessions.find(browser.cookies["c"])
    assert session is not None
    assert page.recordings.find(session) is not None
    page.sessions.end(session)
    page.recordings.remove_ended()
    assert page.folders() == before


def test_what_a_killed_page_left_is_removed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The next page removes only the folders of pages that are gone."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ended = subprocess.Popen(["true"])
    ended.wait()
    gone = tmp_path / f"qlumen-recordings-{ended.pid}-abc"
    kept = [tmp_path / f"qlumen-recordings-{os.getpid()}-abc", tmp_path / "qlumen-recordings-x-y"]
    for folder in (gone, *kept):
        folder.mkdir()
        (folder / "image").write_bytes(b"x")
    remove_leftovers()
    assert sorted(tmp_path.iterdir()) == sorted(kept)


def test_the_folder_offers_what_lies_in_it(page: Page, folder: Path) -> None:
    """Files are in natural order; hidden files and links that lead out are left out."""
    offered = page.browser().get("/choices").json()["files"]
    assert offered == list_files(folder) == ["clip10.mp4", "deep/clip2.mp4", "inside.mp4"]


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../outside", "link.mp4", "linked/secret.mp4", ".hidden.mp4", "/etc/passwd",
     "deep/../clip10.mp4", "deep", "clip10.mp4\0", "deep//clip2.mp4", "x" * 4000, "..\\x"],
)  # fmt: skip
def test_nothing_beyond_the_folder_can_be_picked(page: Page, folder: Path, name: str) -> None:
    """Traversal, links, hidden files and folders are refused."""
    with pytest.raises(RefusedError):
        pick_file(folder, name)
    answer = page.browser().post("/pick", json={"name": name})
    assert answer.status_code == 400
    assert "outside" not in answer.text or name == "../outside"


def test_a_file_of_the_folder_is_opened_and_stays(page: Page, folder: Path) -> None:
    """A picked file is used in its place, and closing removes the results but not the file."""
    browser = page.browser()
    assert browser.post("/pick", json={"name": "deep/clip2.mp4"}).status_code == 200
    assert wait_for_end(browser)["state"] == "ready"
    browser.post("/leave")
    assert (folder / "deep" / "clip2.mp4").stat().st_size > 0


@pytest.mark.parametrize(
    ("path", "content"),
    [("find", {"high": 2}), ("find", {"high": "x"}), ("find", {}), ("pick", {"name": 3}),
     ("export", {"kind": "pdf", "patient": "x" * 300}), ("export", {"kind": "pdf", "more": 1})],
)  # fmt: skip
def test_nonsense_is_refused(owner: TestClient, path: str, content: dict[str, Any]) -> None:
    """Values out of bounds, other types and unknown keys are refused before any work."""
    assert owner.post(f"/{path}", json=content).status_code == 422


@pytest.mark.parametrize(
    ("name", "printable"),
    [("", "recording"), ("a/b\\c.mp4", "c.mp4"), ("\x00\x1b[31m.mp4", "[31m.mp4"),
     ("x" * 300 + ".mp4", "x" * 116 + ".mp4"), ("\u202egpj.exe", "gpj.exe")],
)  # fmt: skip
def test_printable_names(name: str, printable: str) -> None:
    """The last part of a browser's name stays, without control characters."""
    assert printable_name(name) == printable

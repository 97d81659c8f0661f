"""Checks the tab's routes behind the gate, as browsers use and misuse them."""

import io
import json
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from qlumen.errors import UsageError
from qlumen.realtime.annotation.project import encode
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.review.review import Review
from qlumen.realtime.view.annotate.tab import PREFIX, annotate_routes, annotate_tab, find_outlines
from qlumen.realtime.view.app import _refuse_invalid
from qlumen.realtime.view.reviews.open_recordings import OpenRecordings
from qlumen.realtime.view.reviews.tab import PREFIX as RECORDINGS
from qlumen.realtime.view.reviews.tab import recording_routes
from qlumen.realtime.view.security.middleware import MAX_BODY_BYTES, Gate
from qlumen.realtime.view.security.sessions import Sessions
from qlumen.realtime.view.tabs import PageContext

from support.media import write_image
from support.reviews import ALWAYS_CLEAR, FRAMES, SEEN, SIZE, make_recording, make_review, png_of
from support.small_network import small_network

LEAKS = ("Traceback", "site-packages", "/tmp", ".py")
WAIT_S = 120
OUTLINE = np.zeros(SIZE[::-1], np.uint8)
OUTLINE[60:120, 80:180] = 1
PNG = encode(OUTLINE)


@dataclass(frozen=True)
class Served:
    """Serves both tabs; `page` is a browser that has `clip` open, and `root` holds outlines."""

    gate: Gate
    page: TestClient
    clip: str
    root: Path

    def of(self, path: str) -> str:
        return f"/annotate/{self.clip}/{path}"

    def state(self, who: str) -> dict[str, Any]:
        return self.page.get(self.of(f"state/{who}")).json()

    def work(self, do: str, who: str) -> dict[str, Any]:
        assert self.page.post(self.of(f"work/{who}"), json=do).status_code == 200
        return wait(lambda: self.state(who)["work"][do], lambda one: one["state"] != "working")


def wait(look: Any, done: Any) -> dict[str, Any]:
    deadline = time.monotonic() + WAIT_S
    while not done(found := look()):
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
    return found


def browse(gate: Gate) -> TestClient:
    return TestClient(gate, base_url="http://127.0.0.1", raise_server_exceptions=False)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root, clips = tmp_path_factory.mktemp("root"), tmp_path_factory.mktemp("clips")
    make_recording(clips / "a clip.mp4")
    write_image(clips / "still.png", np.zeros((90, 90, 3), np.uint8))
    given = [f"view.annotations={root}", f"view.folder={clips}", *ALWAYS_CLEAR]
    chosen, app = load_settings(None, [*given, small_network(), "engine.threads=1"]), FastAPI()
    app.exception_handler(RequestValidationError)(_refuse_invalid)
    sessions = Sessions(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("open")))
        recordings = OpenRecordings(chosen, sessions)
    with recordings:
        app.include_router(recording_routes(recordings, chosen))
        app.include_router(annotate_routes(recordings, root))
        gate = Gate(
            app, prefixes=(PREFIX, RECORDINGS), sessions=sessions, cookie="c", secure=False,
            password=False, upload_bytes=4 << 20,
        )  # fmt: skip
        page = browse(gate)
        assert page.get("/annotate/state").json() == {"folder": True, "state": "none", "clip": None}
        page.post("/recordings/pick", json={"name": "a clip.mp4"})
        found = wait(lambda: page.get("/annotate/state").json(), lambda one: one["clip"])
        assert found["size"] == list(SIZE)
        yield Served(gate, page, found["clip"], root)


def test_outlines_are_kept_propagated_and_exported(served: Served) -> None:
    """Two keys and a skip become marks of all frames, and data that holds the keys."""
    page = served.page
    assert served.clip.startswith("a_clip-")
    for index, mark in ((3, "key"), (9, "network")):
        answer = page.put(served.of(f"outline/anna/{index}?mark={mark}"), content=PNG)
        assert answer.status_code == 200, answer.text
    assert page.post(served.of("mark/anna/5"), json="skipped").status_code == 200
    assert served.work("propagate", "anna")["state"] == "ready"
    state = served.state("anna")
    assert state["marks"][3:10] == "kpspppn"
    assert not state["stale"]
    assert [one[0] for one in state["history"]] == [2]
    assert page.get(served.of("outline/anna/3")).content == PNG
    assert page.get(served.of("outline/anna/6")).status_code == 200
    assert served.work("data", "anna")["state"] == "ready"
    archive = zipfile.ZipFile(io.BytesIO(page.get(served.of("data.zip")).content))
    png = archive.read(f"{served.clip}/masks/000003.png")
    assert np.array_equal(cv2.imdecode(np.frombuffer(png, np.uint8), 0) > 0, OUTLINE > 0)
    assert f"{served.clip}/masks/000005.png" not in archive.namelist()
    listed = archive.read(f"splits/{served.clip}_key_train.txt").decode().split()
    assert listed == [f"{served.clip}/000003"]
    assert "000009,a_clip" in archive.read(f"{served.clip}/index.csv").decode()
    page.post(served.of("mark/anna/3"), json="")
    assert served.state("anna")["marks"][3] == "."
    assert served.state("anna")["stale"]


def test_work_without_an_outline_tells_why(served: Served) -> None:
    found = served.work("propagate", "nobody")
    assert (found["state"], "outline a frame first" in found["message"]) == ("failed", True)
    assert not (served.root / served.clip / "nobody").exists()


def test_network_outlines_what_its_map_holds(tmp_path: Path) -> None:
    """The finding covers the disc of the made-up map, and other frames have none."""
    with Review(make_review(tmp_path / "r", make_recording(tmp_path / "c.mp4"))) as review:
        found, none = find_outlines(review, SEEN[0]), find_outlines(review, 0)
    assert found.shape == SIZE[::-1]
    x, y = (round(place * side / 44) for place, side in zip((17.2, 20), SIZE, strict=True))
    assert found[y, x] == 1
    assert not none.any()


def test_frames_and_tools_answer_with_images(served: Served) -> None:
    page = served.page
    jpeg = page.get(served.of("frame/7")).content
    assert cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1).shape == (*SIZE[::-1], 3)
    for tool in ("snap", "fit"):
        answer = page.post(served.of(f"refine/{tool}/7"), content=PNG)
        assert answer.status_code == 200, answer.text
        found = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_UNCHANGED)
        assert found.shape == OUTLINE.shape
        assert set(np.unique(found)) == {0, 1}
    assert page.get(served.of("network/7")).headers["content-type"] == "image/png"


def test_annotators_stand_beside_each_other(served: Served) -> None:
    """Three annotators agree as their masks do, and the majority is where two of them are."""
    page, shifted = served.page, np.roll(OUTLINE, 10, axis=1)
    for who, mask in (("cora", OUTLINE), ("dora", OUTLINE), ("eva", shifted)):
        page.put(served.of(f"outline/{who}/7?mark=key"), content=encode(mask))
    agreement = page.get(served.of("agreement/cora")).json()
    assert agreement["dora"] == [1, 1.0, 1.0]
    assert agreement["eva"][1] == pytest.approx(0.9)
    assert page.post(served.of("majority")).json()["frames"] >= 1
    assert page.get(served.of("outline/majority/7")).content == PNG
    assert page.put(served.of("classes/cora"), json={"2": "adenoma"}).status_code == 200
    assert served.state("cora")["classes"] == {"2": "adenoma"}


def test_outlines_never_land_in_another_recording(served: Served) -> None:
    """A browser that has opened something else, or nothing, is refused and may try again."""
    other = browse(served.gate)
    path = served.of("outline/anna/0?mark=key")
    assert other.put(path, content=PNG).status_code == 404
    other.post("/recordings/pick", json={"name": "still.png"})
    ready = lambda one: one["state"] in ("ready", "failed")  # noqa: E731
    assert wait(lambda: other.get("/annotate/state").json(), ready)["clip"] is None
    assert other.put(path, content=PNG).status_code == 409
    assert not (served.root / served.clip / "anna" / "000000.png").exists()


BAD = [
    ("PUT", "outline/anna/0?mark=key", b""),
    ("PUT", "outline/anna/0?mark=key", png_of(60000, 60000)),
    ("PUT", "outline/anna/0?mark=key", encode(OUTLINE[1:])),
    ("PUT", "outline/anna/0?mark=key", encode(OUTLINE * 21)),
    ("PUT", "outline/anna/0?mark=propagated", PNG),
    ("PUT", "outline/anna/0", PNG),
    ("PUT", f"outline/anna/{FRAMES}?mark=key", PNG),
    ("PUT", "outline/anna/-1?mark=key", PNG),
    ("PUT", "outline/anna/x?mark=key", PNG),
    ("PUT", "outline/..%2f..%2fx/0?mark=key", PNG),
    ("PUT", "outline/.hidden/0?mark=key", PNG),
    ("PUT", f"outline/{'x' * 65}/0?mark=key", PNG),
    ("PUT", "outline/anna/0?mark=key", bytes(MAX_BODY_BYTES + 1)),
    ("PUT", "../none/outline/anna/0?mark=key", PNG),
    ("PUT", "..%2fclip/outline/anna/0?mark=key", PNG),
    ("POST", "mark/anna/0", b'"key"'),
    ("POST", "mark/anna/99", b'"skipped"'),
    ("POST", "work/anna", b'"review"'),
    ("POST", "work/..%2fanna", b'"data"'),
    ("POST", "refine/other/3", PNG),
    ("POST", "refine/snap/3", PNG[:-9]),
    ("POST", "refine/fit/99", PNG),
    ("PUT", "classes/anna", b'{"0": "polyp"}'),
    ("PUT", "classes/anna", b'{"1": ["polyp"]}'),
    ("PUT", "classes/anna", json.dumps({"1": "x" * 61}).encode()),
    ("GET", "state/..", b""),
    ("GET", "state", b""),
    ("GET", "frame/20", b""),
]


@pytest.mark.parametrize(("method", "path", "content"), BAD)
def test_bad_requests_are_refused_and_change_nothing(
    served: Served, method: str, path: str, content: bytes
) -> None:
    before = sorted(served.root.rglob("*"))
    answer = served.page.request(method, served.of(path), content=content)
    assert 400 <= answer.status_code < 500
    assert not any(leak in answer.text for leak in LEAKS), answer.text
    assert sorted(served.root.rglob("*")) == before


@given(
    path=st.sampled_from(
        ["outline/a/0?mark=key", "mark/a/0", "work/a", "classes/a", "refine/fit/0"]
    ),
    body=st.binary(max_size=200) | st.text(max_size=80).map(str.encode),
)  # fmt: skip
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_body_makes_the_server_fail(served: Served, path: str, body: bytes) -> None:
    """Any content is refused or taken, and the answer tells nothing of the server."""
    method = "PUT" if "outline" in path or "classes" in path else "POST"
    for kind in ("application/json", "image/png"):
        answer = served.page.request(
            method, served.of(path), content=body, headers={"Content-Type": kind}
        )
        assert answer.status_code < 500
        assert not any(leak in answer.text for leak in LEAKS)


def test_a_folder_that_cannot_be_made_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    chosen = load_settings(None, [f"view.annotations={tmp_path / 'file'}"])
    with (
        OpenRecordings(chosen, Sessions(1)) as recordings,
        pytest.raises(UsageError, match="choose another view"),
    ):
        annotate_tab(PageContext(chosen, Sessions(1), tmp_path), recordings)


def test_nothing_is_kept_without_a_folder(served: Served) -> None:
    """Without `view.annotations` the tab says so, and has no other routes."""
    app, sessions = FastAPI(), Sessions(1)
    with OpenRecordings(load_settings(None, []), sessions) as recordings:
        app.include_router(annotate_routes(recordings, None))
        page = browse(Gate(
            app, prefixes=(PREFIX,), sessions=sessions, cookie="c", secure=False, password=False,
            upload_bytes=1,
        ))  # fmt: skip
        assert page.get("/annotate/state").json()["folder"] is False
        assert page.put(served.of("outline/anna/0?mark=key"), content=PNG).status_code == 404

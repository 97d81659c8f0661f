"""The page tells what went wrong, works under a path of a proxy, and is dark as a whole."""

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from urllib.parse import urlsplit

import av
import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By

from qlumen.errors import ConfigError, RefusedError, WorkerError
from qlumen.realtime.config.settings import Settings, load_settings
from qlumen.realtime.report import export_job
from qlumen.realtime.report.outputs import ReportOutputs
from qlumen.realtime.review.intake.limits import Limits
from qlumen.realtime.review.intake.probe import check_announced
from qlumen.realtime.review.intake.sniff import sniff
from qlumen.realtime.review.worker_process import WorkerProcess
from qlumen.realtime.sources.choose import open_source
from qlumen.realtime.view.reviews.exports import Exports
from qlumen.realtime.view.security.passwords import read_password, write_password

from support.browser import chromium, console_errors, missing, network_log, requested_addresses
from support.live_process import start_live, wait_until
from support.media import make_images
from support.page import open_page
from support.reviews import THRESHOLDS, make_recording, make_review
from support.senders import free_port

LIMITS = Limits.from_settings(Settings())
WAIT_S = 60


def test_the_page_tells_why_an_export_failed(tmp_path: Path) -> None:
    """A backslash in a patient's name is the reason that the page shows, not a limit.

    Whoever types a name that DICOM cannot hold was told of 14,400 s of processor time.
    """
    pytest.importorskip("highdicom", reason="pip install 'qlumen[dicom]'")
    review = make_review(tmp_path / "review", make_recording(tmp_path / "clip.mp4"))
    with Exports(tmp_path / "exports", "clip", LIMITS, threading.Semaphore(1)) as exports:
        exports.begin("dicom", "dicom", lambda path: export_job.arguments(
            review, THRESHOLDS, ReportOutputs(dicom=path), "A\\B", None), "exports")  # fmt: skip
        deadline = time.monotonic() + WAIT_S
        while exports.state()["dicom"]["state"] == "working" and time.monotonic() < deadline:
            time.sleep(0.05)
        state = exports.state()["dicom"]
    assert state["state"] == "failed"
    assert "has a backslash" in state["message"]


def test_any_failure_of_a_worker_is_told() -> None:
    """An error that nobody foresaw is told by its name and its text."""
    work = WorkerProcess("exports", {"outputs": {}}, LIMITS)
    with pytest.raises(WorkerError, match="worker failed: KeyError: 'review'"):
        work.result()


@pytest.mark.parametrize(
    ("number", "message"),
    [(signal.SIGKILL, "may have run out of memory"), (signal.SIGSEGV, "was ended by SIGSEGV")],
)
def test_what_ended_a_worker_is_told(tmp_path: Path, number: int, message: str) -> None:
    """A signal that ended a worker is not taken for the limit of processor time."""
    pipe = tmp_path / "review"
    os.mkfifo(pipe)
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "review.json").symlink_to(pipe)
    given = {"review": str(tmp_path / "r"), "outputs": {}, "thresholds": THRESHOLDS.model_dump()}
    work = WorkerProcess("exports", given, LIMITS)
    with pipe.open("wb"):  # the worker has begun: it waits for the review's content
        os.kill(work._process.pid, number)
        with pytest.raises(WorkerError, match=message) as error:
            work.result()
    assert "processor time" not in str(error.value)


PASSWORD = "a secret place"
NGINX = """
pid {folder}/pid; error_log {folder}/errors; daemon off; master_process off; events {{}}
http {{
  access_log off; client_max_body_size 600m;
  client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
  server {{
    listen 127.0.0.1:{port};
    location /endo/ {{
      proxy_pass {target};
      proxy_http_version 1.1;
      proxy_set_header Host $http_host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
    }}
  }}
}}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    if reason := missing():
        pytest.skip(reason)
    with chromium() as opened:
        yield opened


@contextmanager
def nginx(folder: Path, target: str) -> Iterator[str]:
    """Pass `/endo/` on to the target on another port while the block runs; yield the address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder.mkdir()
    (folder / "conf").write_text(NGINX.format(folder=folder, port=port, target=target))
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    assert program is not None
    with subprocess.Popen([program, "-p", folder, "-c", folder / "conf"]) as process:
        try:
            wait_until(lambda: answers(port), "nginx does not answer")
            yield f"http://127.0.0.1:{port}/endo/"
        finally:
            process.terminate()


def answers(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.skipif(
    shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin") is None,
    reason="apt install nginx-light",
)
@pytest.mark.parametrize("keep", [False, True])
def test_the_page_works_under_a_path(browser: webdriver.Chrome, tmp_path: Path, keep: bool) -> None:
    """Behind nginx at /endo/, which may keep or remove the path, all of the page works.

    Asked for by gradio #7520 and deepbeepmeep/Wan2GP #1415.
    """
    write_password(tmp_path / "password", PASSWORD)
    password = read_password(tmp_path / "password")
    with open_page(tmp_path, ["view.root_path=endo/"], password) as page:
        parts = urlsplit(page.url)
        assert parts.path == "/endo"
        target = f"http://{parts.netloc}" + ("" if keep else "/")
        with nginx(tmp_path / "nginx", target) as address, page.live():
            network_log(browser)
            console_errors(browser)
            browser.get(address)
            assert browser.current_url == f"{address}login"
            browser.find_element(By.ID, "password").send_keys(PASSWORD)
            browser.find_element(By.TAG_NAME, "button").click()
            drawn = "return Number(document.getElementById('live')?.dataset.drawn || 0)"
            wait_until(lambda: browser.execute_script(drawn) > 2, "no frame was drawn")
            assert browser.current_url == address
            tab = "//button[@role='tab' and normalize-space()='Recordings']"
            browser.find_element(By.XPATH, tab).click()
            limits = "return document.querySelector('.rec-limits')?.textContent || ''"
            wait_until(lambda: "MiB" in browser.execute_script(limits), "no answer for the tab")
            cookie = browser.get_cookie(f"qlumen_{parts.port}")
            asked = {urlsplit(one) for one in requested_addresses(network_log(browser))}
            assert not console_errors(browser)
            browser.get("about:blank")
    assert cookie is not None
    assert cookie["path"] == "/endo/"
    own = [one for one in asked if one.scheme in ("http", "ws")]
    assert len(own) > 10
    assert {one.path for one in own if not one.path.startswith("/endo/")} == set()


@pytest.mark.parametrize("given", ["endo", "/endo", "/endo/", "endo/"])
def test_the_path_may_be_written_with_any_slashes(given: str) -> None:
    """Slashes at the ends of `view.root_path` do not matter; a URL is refused."""
    assert load_settings(None, [f"view.root_path={given}"]).view.root_path == "/endo"
    with pytest.raises(ConfigError, match=r"view\.root_path"):
        load_settings(None, [f"view.root_path=http://host/{given}"])


def test_scroll_bars_are_dark(browser: webdriver.Chrome, tmp_path: Path) -> None:
    """The browser draws its own parts for a dark page, so no bar is white in a dark room."""
    with open_page(tmp_path) as page:
        browser.get(page.url)
        scheme = "return getComputedStyle(document.documentElement).colorScheme"
        wait_until(lambda: browser.execute_script(scheme) == "dark", "the page is not dark")
        browser.get("about:blank")


KINDS = [
    ("dv", "dvvideo", "yuv420p"), ("mxf", "mpeg2video", "yuv422p"), ("h264", "libx264", "yuv420p"),
    ("hevc", "libx265", "yuv420p"), ("ogg", "libvpx", "yuv420p"), ("flv", "libx264", "yuv420p"),
    ("ivf", "libvpx-vp9", "yuv420p"), ("gif", "gif", "rgb8"), ("m4v", "mpeg4", "yuv420p"),
    ("yuv4mpegpipe", "wrapped_avframe", "yuv420p"), ("asf", "wmv2", "yuv420p"),
    ("3gp", "mpeg4", "yuv420p"), ("vob", "mpeg2video", "yuv420p"), ("avi", "dvvideo", "yuv420p"),
    ("mov", "prores_ks", "yuv422p10le"), ("webm", "libvpx-vp9", "yuva420p"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "codec", "pixels"), KINDS, ids=[kind for kind, *_ in KINDS])
def test_the_page_takes_what_replay_reads(
    tmp_path: Path, kind: str, codec: str, pixels: str
) -> None:
    """What recorders and grabbers write is read by `replay` and passes the page's checks.

    Asked for by kylemcdonald/ofxBlackmagic #9, PlusToolkit/PlusLib #413 and bavc/qctools #141.
    """
    file = tmp_path / "upload"
    with av.open(str(file), "w", format=kind) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 720, 576, pixels
        for image in make_images(3, 720, 576):
            shown = av.VideoFrame.from_ndarray(image, "bgr24").reformat(format=pixels)
            container.mux(stream.encode(shown))
        container.mux(stream.encode(None))
    with open_source(str(file), Settings()) as source:
        assert len(list(source.frames())) == 3
    found = sniff(file)
    named = file.rename(tmp_path / f"upload{found.suffix}")
    check_announced(named, found, LIMITS)
    with open_source(str(named), Settings()) as source:
        assert len(list(source.frames())) == 3


def test_a_refusal_names_the_way_out(tmp_path: Path) -> None:
    """A playlist could name other files, so it stays refused; the line says how to convert it."""
    file = tmp_path / "upload"
    file.write_bytes(b"#EXTM3U\n#EXTINF:1,\na.ts\n")
    with pytest.raises(RefusedError, match=r"convert it: ffmpeg -i FILE -c copy NEW\.mkv"):
        sniff(file)


def test_the_page_stretches_pixels_that_are_not_square(
    browser: webdriver.Chrome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Live video of a PAL recording has the shape 16:9 on the page (nagadomi/nunif #561)."""
    file = tmp_path / "pal.mpg"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 720, 576, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(64, 45)
        for image in make_images(10, 720, 576):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "bgr24")))
        container.mux(stream.encode(None))
    monkeypatch.setattr("support.page.SOURCES", (str(file),))
    with open_page(tmp_path) as page, page.live():
        browser.get(page.url)
        size = (
            "const canvas = document.querySelector('.live-picture canvas');"
            "return document.getElementById('live')?.dataset.drawn > 3 && "
            "[canvas.width, canvas.height]"
        )
        wait_until(lambda: browser.execute_script(size) == [1024, 576], "the shape is wrong")
        browser.get("about:blank")


def test_a_page_without_news_says_so(browser: webdriver.Chrome, tmp_path: Path) -> None:
    """Where the server hangs or the network breaks off, which closes no connection, the page does
    not keep the last picture as if it were live (themactep/thingino-firmware #1595,
    tiny-pilot/tinypilot #61); it goes on when the server does.
    """
    drawn = "return Number(document.getElementById('live')?.dataset.drawn || 0)"
    message = "return document.querySelector('.live-message')?.textContent || ''"
    port = free_port()
    process = start_live(tmp_path, "pattern", "--view", settings=(f"view.port={port}",))
    try:
        wait_until(lambda: answers(port), "no page")
        browser.get(f"http://127.0.0.1:{port}")
        wait_until(lambda: browser.execute_script(drawn) > 2, "no frame was drawn")
        wait_until(lambda: browser.execute_script(message) == "", "a message stays")
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: "No connection" in browser.execute_script(message), "nothing is said")
        before = browser.execute_script(drawn)
        process.send_signal(signal.SIGCONT)
        wait_until(lambda: browser.execute_script(drawn) > before + 2, "it does not go on")
        wait_until(lambda: browser.execute_script(message) == "", "the message stays")
        browser.get("about:blank")
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.communicate(timeout=WAIT_S)

"""Checks what the commands refuse before they start, and whole runs in their own process."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from selenium import webdriver
from selenium.webdriver.common.by import By

from qlumen.errors import UsageError
from qlumen.realtime.commands.view import command
from qlumen.realtime.view.security.passwords import read_password, write_password

from support.live_process import LIVE, SMALL, wait_until
from support.small_network import small_network

SECRET = "correct horse"
URL = re.compile(r"http://127\.0\.0\.1:\d+")
WRONG = "Wrong password."
ALERT = "return document.querySelector('[role=alert]')?.textContent"
DRAWN = "return Number(document.getElementById('live')?.dataset.drawn || 0)"


@pytest.fixture(scope="module")
def password_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("password") / "p"
    write_password(file, SECRET)
    return file


@contextmanager
def run_command(scratch: Path, *arguments: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """Run a qlumen command that serves the page, and wait until it prints the address."""
    small = (*SMALL, small_network(), "view.port=0")
    settings = [part for setting in small for part in ("--set", setting)]
    log = scratch / "log.txt"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", LIVE, *arguments, *settings],
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            text=True,
            env=os.environ | {"TMPDIR": str(scratch)},
        )
    try:
        wait_until(lambda: URL.search(log.read_text()) is not None, "no address was printed")
        found = URL.search(log.read_text())
        assert found is not None
        yield found.group(), process
    finally:
        process.kill()
        process.wait(60)


def check_end(process: "subprocess.Popen[str]", scratch: Path) -> None:
    """Check that SIGTERM ends the process in order, with nothing left in the scratch folder."""
    process.terminate()
    assert process.wait(60) == 0
    assert [path.name for path in scratch.glob("qlumen-view-*")] == []


def test_view_asks_for_the_password_and_shows_the_video(
    tmp_path: Path, password_file: Path, browser: webdriver.Chrome
) -> None:
    """In the browser a wrong password is refused and the right one opens; SIGTERM ends all."""
    arguments = ("view", "--source", "scene", "--loop", "--password-file", str(password_file))
    with run_command(tmp_path, *arguments) as (url, process):
        browser.get(url)
        for password in ("wrong horse", SECRET):
            browser.find_element(By.NAME, "password").send_keys(password)
            browser.find_element(By.TAG_NAME, "button").click()
            if password != SECRET:
                wait_until(lambda: browser.execute_script(ALERT) == WRONG, "it was not refused")
        wait_until(lambda: browser.execute_script(DRAWN) > 5, "no frame after the login")
        browser.get("about:blank")
        check_end(process, tmp_path)


def test_ctrl_c_twice_ends_view_in_order(tmp_path: Path) -> None:
    """A second Ctrl-C during the end leaves no traceback and no file."""
    with run_command(tmp_path, "view", "--source", "scene", "--loop") as (_, process):
        process.send_signal(signal.SIGINT)
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        check_end(process, tmp_path)
    assert "Traceback" not in (tmp_path / "log.txt").read_text()


def test_live_serves_the_page_beside_its_recording(
    tmp_path: Path, browser: webdriver.Chrome
) -> None:
    """Both show one session, and the page has no choice of sources."""
    record = tmp_path / "o.mp4"
    with run_command(tmp_path, "live", "scene", "--loop", "--view", "--record", str(record)) as (
        url,
        process,
    ):
        browser.get(url)
        wait_until(lambda: browser.execute_script(DRAWN) > 5, "no frame")
        assert not browser.find_element(By.CSS_SELECTOR, "[data-source]").is_displayed()
        browser.get("about:blank")
        check_end(process, tmp_path)
    assert record.stat().st_size > 10_000


def test_other_hosts_need_a_password() -> None:
    """Any address other than the loopback is refused before anything starts."""
    for host in ("0.0.0.0", "192.0.2.1", "::", "example.org"):
        result = CliRunner().invoke(command, ["--host", host])
        assert isinstance(result.exception, UsageError)
        assert "--set-password" in str(result.exception)


def test_a_used_port_is_reported(tmp_path: Path) -> None:
    """The error says what to do."""
    with socket.socket() as used:
        used.bind(("127.0.0.1", 0))
        used.listen()
        result = CliRunner().invoke(command, ["--port", str(used.getsockname()[1])])
    assert isinstance(result.exception, UsageError)
    assert "choose another" in str(result.exception)


def test_a_certificate_needs_its_key(tmp_path: Path) -> None:
    """A certificate without a key, or an invalid one, is refused."""
    nonsense = tmp_path / "c.pem"
    nonsense.write_text("no certificate")
    for more in ([], [f"view.key={nonsense}"]):
        sets = [p for s in (f"view.certificate={nonsense}", *more) for p in ("--set", s)]
        assert isinstance(CliRunner().invoke(command, sets).exception, UsageError)


def test_a_password_is_set_from_the_standard_input(tmp_path: Path) -> None:
    """A script can set the password through the standard input."""
    file = tmp_path / "p"
    result = CliRunner().invoke(command, ["--set-password", str(file)], input=f"{SECRET}\n")
    assert result.exit_code == 0
    assert read_password(file).matches(SECRET)


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    """The error comes before anything starts."""
    file = tmp_path / "file"
    file.touch()
    for option in ("--recordings", "--snapshots"):
        result = CliRunner().invoke(command, [option, str(file)])
        assert isinstance(result.exception, UsageError)

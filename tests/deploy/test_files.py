"""Checks the files of deploy/: Docker, Compose, Prometheus, Grafana and systemd."""

import fnmatch
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from qlumen.realtime.commands.live import command as live
from qlumen.realtime.view.security.passwords import write_password
from qlumen.system.threads import LIVE_NICENESS

from support.live_process import LIVE, SMALL, lines, wait_until
from support.senders import free_port
from support.small_network import small_network

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
FILES = sorted(path for path in DEPLOY.rglob("*") if path.is_file())
NEEDED = ("LICENSE", "NOTICE", "README.md", "constraints.txt", "models/LICENSE.md",
          "pyproject.toml", "setup.py", "api/__init__.py")  # fmt: skip
CAGES = ("MemoryDenyWriteExecute", "PrivateDevices", "ProcSubset", "RestrictRealtime")
"""Options of systemd that end compiled kernels, hide cameras and processors, or take the real-time
priority away."""


def read(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text("utf-8"))


def test_compose_has_the_form_of_its_specification() -> None:
    """The Compose project's JSON schema accepts the file."""
    check_schema("vendor.compose-spec", DEPLOY / "compose.yaml")


def test_schema_refuses_a_wrong_file(tmp_path: Path) -> None:
    """The schema is not so wide that all passes."""
    wrong = read("compose.yaml")
    wrong["services"]["qlumen"]["port"] = wrong["services"]["qlumen"].pop("ports")
    (tmp_path / "compose.yaml").write_text(yaml.safe_dump(wrong))
    with pytest.raises(AssertionError, match="port"):
        check_schema("vendor.compose-spec", tmp_path / "compose.yaml")


def test_what_compose_mounts_exists() -> None:
    """Each file that a service mounts is in the repository, read-only; volumes have a name."""
    compose = read("compose.yaml")
    for service in compose["services"].values():
        for mount in service["volumes"]:
            source, _, options = mount.partition(":")
            if source.startswith("."):
                assert (DEPLOY / source).resolve().is_file(), mount
                assert options.endswith(":ro"), mount
            else:
                assert source in compose["volumes"], mount
    build = compose["services"]["qlumen"]["build"]
    assert (DEPLOY / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()


def test_only_this_computer_reaches_the_services() -> None:
    """Published ports listen on the loopback; the metrics, which have no password, are not."""
    services = read("compose.yaml")["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert sorted(ports) == ["127.0.0.1:3000:3000", "127.0.0.1:7860:7860"]


def test_prometheus_and_grafana_find_each_other() -> None:
    """Prometheus asks the session's port, Grafana asks Prometheus and finds the dashboard."""
    services = read("compose.yaml")["services"]
    (job,) = read("prometheus.yml")["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    host, _, port = target.partition(":")
    assert f"--metrics={port}" in services[host]["command"]
    (source,) = read("grafana/datasources.yaml")["datasources"]
    assert source["isDefault"]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in services
    (provider,) = read("grafana/dashboards.yaml")["providers"]
    targets = [mount.split(":")[1] for mount in services["grafana"]["volumes"]]
    assert f"{provider['options']['path']}/qlumen.json" in targets


def test_command_of_compose_runs(tmp_path: Path) -> None:
    """The command judges the scene, is healthy by the image's check, and ends when stopped."""
    write_password(tmp_path / "password", "a long password")
    page, metrics = free_port(), free_port()
    words = [word.replace("${QLUMEN_SOURCE:-scene}", "scene").replace("/data", str(tmp_path))
             for word in read("compose.yaml")["services"]["qlumen"]["command"]]  # fmt: skip
    words = [word.replace("=9100", f"={metrics}").replace("0.0.0.0", "127.0.0.1") for word in words]
    for setting in (f"view.port={page}", *SMALL, small_network()):
        words += ["--set", setting]
    process = subprocess.Popen([sys.executable, "-c", LIVE, *words], stderr=subprocess.PIPE)
    try:
        events = tmp_path / "events.jsonl"
        wait_until(lambda: events.exists() and any("frame" in line for line in lines(events)),
                   "no frame was judged")  # fmt: skip
        check = [word.replace("9100", str(metrics)) for word in health_check()]
        assert subprocess.run([sys.executable, *check[1:]], timeout=30).returncode == 0
        with urllib.request.urlopen(f"http://127.0.0.1:{page}/", timeout=30) as answer:
            assert answer.url.endswith("/login")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert subprocess.run([sys.executable, *check[1:]], capture_output=True).returncode == 1
    finally:
        process.kill()
        process.communicate()


def test_image_gets_what_the_wheel_needs() -> None:
    """What the build leaves out is not in the wheel, and the user of the image is not root."""
    left_out = (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").split()
    assert not [file for file in NEEDED for one in left_out if fnmatch.fnmatch(file, f"{one}*")]
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    (user,) = re.findall(r"^USER (\w+)", text, re.MULTILINE)
    assert re.search(rf"useradd .*\b{user}\b", text)
    assert "-c /constraints.txt /wheels/" in text


def test_files_name_no_registry() -> None:
    """Images have short names and packages no address: each room has its own mirror."""
    hosts = r"https?://(?!127\.0\.0\.1|prometheus:)\S+|\b(?:FROM|image:) +[\w-]+\.[\w.-]+/\S*"
    for file in FILES:
        assert not re.findall(hosts, file.read_text("utf-8")), file


def test_unit_is_valid(tmp_path: Path) -> None:
    """`systemd-analyze verify` accepts the unit, with a program that exists here."""
    unit = tmp_path / "qlumen.service"
    unit.write_text(unit_text().replace("/opt/qlumen/bin/qlumen", sys.executable))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_unit_starts_a_command_that_exists() -> None:
    """qlumen live knows each option of the unit, and the unit leaves it what it needs."""
    text = unit_text()
    (start,) = re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE)
    program, name, *words = shlex.split(start.replace("${SOURCE}", "/dev/video0"))
    assert (Path(program).name, name) == ("qlumen", "live")
    context = live.make_context("live", words)
    assert context.params["sources"] == ("/dev/video0",)
    assert context.params["view"]
    keys = {line.partition("=")[0] for line in text.splitlines() if re.match(r"\w+=", line)}
    assert not keys & set(CAGES)
    assert "LimitRTPRIO=1" in text
    assert f"LimitNICE={LIVE_NICENESS}" in text
    assert "DeviceAllow=char-video4linux rw" in text


def unit_text() -> str:
    return (DEPLOY / "qlumen.service").read_text("utf-8").replace("\\\n", " ")


def health_check() -> list[str]:
    text = (DEPLOY / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    (command,) = re.findall(r"^HEALTHCHECK .* CMD (\[.*\])$", text, re.MULTILINE)
    words: list[str] = yaml.safe_load(command)
    return words


def check_schema(schema: str, file: Path) -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(file)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr

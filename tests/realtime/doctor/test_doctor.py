import json
import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from qlumen.networks.bundle import MODEL, find_bundle
from qlumen.realtime.cli import commands
from qlumen.realtime.config.settings import load_settings
from qlumen.realtime.doctor import video
from qlumen.realtime.doctor.machine import cpu_flags, library_checks, machine_checks
from qlumen.realtime.doctor.model import cache_checks, model_checks

CPUINFO = (
    "processor\t: 0\nflags\t\t: fpu avx2 avx512_bf16\nbugs\t\t:\n\nprocessor\t: 1\nflags\t: x\n"
)
SECTIONS = ["machine", "graphics", "model", "engines", "video", "plugins", "libraries", "caches"]


def broken_bundle(folder: Path) -> Path:
    shutil.copytree(find_bundle(), folder)
    model = folder / MODEL
    model.write_bytes(model.read_bytes() + b" ")
    return folder


def test_report_says_what_runs_and_what_adds_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table and the file agree; everything needed is here, so the exit code is 0."""
    monkeypatch.setenv("COLUMNS", "200")
    file = tmp_path / "doctor.json"
    result = CliRunner().invoke(commands, ["doctor", "--json", str(file)], catch_exceptions=False)
    assert result.exit_code == 0
    report = json.loads(file.read_text())
    assert list(report) == SECTIONS
    checks = [check for section in report.values() for check in section]
    assert all(check["detail"] for check in checks)
    assert all(check["state"] != "ok" or not check["command"] for check in checks)
    assert report["engines"][-1]["name"] == "used"
    assert "all hashes are correct" in report["model"][0]["detail"]
    for check in checks:
        assert check["name"] in result.output


def test_broken_bundle_ends_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The report names the file, and still has all other sections."""
    monkeypatch.setattr(video, "check_display", lambda: None)
    folder = broken_bundle(tmp_path / "bundle")
    file = tmp_path / "doctor.json"
    arguments = ["doctor", "--json", str(file), "--set", f"model.bundle={folder}"]
    assert CliRunner().invoke(commands, arguments, standalone_mode=False).return_value == 1
    report = json.loads(file.read_text())
    assert list(report) == SECTIONS
    (check,) = report["model"]
    assert check["state"] == "failed"
    assert MODEL in check["detail"]


def test_the_named_engine_is_used() -> None:
    """A named engine replaces the choice of `auto`."""
    _, engines = model_checks(load_settings(None, ["engine.name=torch"]))
    assert engines[-1].detail == "torch, as engine.name says"


def test_caches_that_cannot_be_written_are_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file replaces the folder; the command names the variable that moves the cache."""
    (tmp_path / "file").touch()
    monkeypatch.setenv("QLUMEN_CACHE", str(tmp_path / "file"))
    checks = {check.name: check for check in cache_checks()}
    assert checks["cache openvino"].state == "absent"
    assert "QLUMEN_CACHE" in checks["cache openvino"].command


def test_missing_packages_name_their_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing needed package is a failure; a missing package of an extra is absent. The test
    makes the metadata of an installation, which Python finds before the real one."""
    installation = tmp_path / "qlumen-9.dist-info"
    installation.mkdir()
    (installation / "METADATA").write_text(
        "Metadata-Version: 2.4\nName: qlumen\nVersion: 9\n"
        "Requires-Dist: no-such-package<3,>=2\n"
        'Requires-Dist: no-such-extra>=0.45; extra == "gpu"\n'
        'Requires-Dist: no-such-tool; extra == "dev"\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    checks = {check.name: check for check in library_checks()}
    assert checks["no-such-package"].state == "failed"
    assert checks["no-such-extra"].state == "absent"
    assert checks["no-such-extra"].command == "pip install 'qlumen[gpu]'"
    assert "no-such-tool" not in checks


def test_every_package_of_the_base_is_looked_for() -> None:
    """The checks include the packages that the page, the report and the settings import."""
    checks = {check.name: check.state for check in library_checks()}
    names = ("gradio", "fastapi", "uvicorn", "reportlab", "PyYAML", "hdrhistogram", "Jinja2")
    assert {name: checks.get(name) for name in names} == dict.fromkeys(names, "ok")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_features_are_those_of_the_system() -> None:
    """The checks agree with the words of the file."""
    words = set(Path("/proc/cpuinfo").read_text().split())
    checks = {check.name: check for check in machine_checks()}
    assert (checks["avx2"].state == "ok") == ("avx2" in words)
    assert (checks["avx512_bf16"].state == "ok") == ("avx512_bf16" in words)


def test_flags_are_the_first_processor_s() -> None:
    """Only the flags of the first processor count; an empty text has no flags."""
    assert cpu_flags(CPUINFO) == {"fpu", "avx2", "avx512_bf16"}
    assert cpu_flags("") == frozenset()


@given(st.text())
def test_any_cpuinfo_is_read_without_an_error(text: str) -> None:
    """The format differs from system to system."""
    assert all(flag.strip() for flag in cpu_flags(text))

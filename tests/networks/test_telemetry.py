"""Checks that OpenVINO sends nothing, in a new process, since its first import decides this."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution

import pytest

WATCHED = """
import sys

def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "subprocess.Popen", "os.posix_spawn"):
        print("REACHED", event)

sys.addaudithook(watch)
{imported}
from openvino.tools.ovc import telemetry_utils

telemetry_utils.send_conversion_result("success", need_shutdown=True)
print("SENDS", telemetry_utils.tm.__name__)
"""


def _has_telemetry() -> bool:
    try:
        distribution("openvino-telemetry")
    except PackageNotFoundError:
        return False
    return True


def run_import(imported: str) -> str:
    code = WATCHED.format(imported=imported)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.skipif(not _has_telemetry(), reason="this OpenVINO has no telemetry package")
@pytest.mark.parametrize(
    "module",
    [
        "networks.openvino",
        "networks.graph",
        "realtime.engines.openvino",
        "calibration.quantise",
        "evaluation.measure",
    ],
)
def test_openvino_sends_nothing(module: str) -> None:
    """OpenVINO uses the stand-in, whichever part of qlumen imports it first.

    Neither the import nor the end of a conversion reaches for the network. Lint refuses imports
    of OpenVINO elsewhere.
    """
    output = run_import(f"import qlumen.{module}")
    assert output.split() == ["SENDS", "openvino.tools.ovc.telemetry_stub"]

"""What OpenVINO would send, in a process of its own, since it is decided at the first import."""

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


def _installed() -> bool:
    try:
        distribution("openvino-telemetry")
    except PackageNotFoundError:
        return False
    return True


def said(imported: str) -> str:
    code = WATCHED.format(imported=imported)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.skipif(not _installed(), reason="this OpenVINO comes without what sends")
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
def test_openvino_tells_nobody(module: str) -> None:
    """Whichever part of qlumen imports it first, what sends is the stand-in, and neither the
    import nor a conversion's end reaches for the network. Lint refuses imports past the door."""
    output = said(f"import qlumen.{module}")
    assert output.split() == ["SENDS", "openvino.tools.ovc.telemetry_stub"]

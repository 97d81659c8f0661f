"""The door through which everything imports OpenVINO, which sends nothing from here.

    from qlumen.networks.openvino import ops, ov

OpenVINO reports to its makers over the network that it was imported, and what it converts.
Nothing may go out of an examination room.
"""

import sys
from types import ModuleType

TELEMETRY = "openvino_telemetry"


def silence_telemetry() -> None:
    """Put an empty module in the place of the package that sends.

    OpenVINO then takes its own stand-in for a missing one. Has to be called before OpenVINO
    is imported.
    """
    sys.modules.setdefault(TELEMETRY, ModuleType(TELEMETRY))


silence_telemetry()

import openvino as ov  # noqa: E402
from openvino import opset13 as ops  # noqa: E402

__all__ = ["ops", "ov"]

"""Imports OpenVINO, with its telemetry off, for all of qlumen.

    from qlumen.networks.openvino import ops, ov

OpenVINO reports its import and its conversions to its makers over the network. Nothing may leave
an examination room.
"""

import sys
from types import ModuleType

TELEMETRY = "openvino_telemetry"


def silence_telemetry() -> None:
    """Put an empty module in place of the telemetry package, before OpenVINO is imported.

    OpenVINO then uses its own stand-in for a missing package.
    """
    sys.modules.setdefault(TELEMETRY, ModuleType(TELEMETRY))


silence_telemetry()

import openvino as ov  # noqa: E402
from openvino import opset13 as ops  # noqa: E402

__all__ = ["ops", "ov"]

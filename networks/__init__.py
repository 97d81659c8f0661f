"""The network, and the bundles that hold it.

OpenVINO tells its makers over the network that it was imported, and what it converts. Nothing
of an examination room goes out, so the package that sends is given an empty one's place before
anything imports OpenVINO, which then takes its own stand-in for a missing one. `realtime` and
`calibration` import this package first.
"""

import sys
from types import ModuleType

TELEMETRY = "openvino_telemetry"

sys.modules.setdefault(TELEMETRY, ModuleType(TELEMETRY))

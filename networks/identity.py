"""Which network a bundle holds, whatever its name, thresholds and papers are. Needs no torch."""

import hashlib
import json

from safetensors import SafetensorError, safe_open

from qlumen.networks.bundle import TABLES, WEIGHTS, Bundle

DEPLOYMENT = 1
"""Of `networks/deploy.py`: another arithmetic gets another number."""
A_WEIGHT = "head.weight"
"""Every network of `networks/unet.py` has it."""
NETWORK_KEY = "qlumen.network"
"""Metadata of a file: the `network_sha256` of the bundle that it was made from."""
PRECISION_KEY = "qlumen.precision"


def network_sha256(bundle: Bundle) -> str:
    """Hash of all that what is made from a bundle's weights depends on: these, its tables, its
    architecture, its input's size, and how it is made."""
    manifest = bundle.manifest
    parts = {
        "files": [manifest.files.get(name) for name in (WEIGHTS, TABLES)],
        "network": manifest.network,
        "input": manifest.input.model_dump(),
        "deployment": DEPLOYMENT,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def origin(bundle: Bundle, precision: str = "") -> dict[str, str]:
    """Metadata of a file that is made from `bundle` for another runtime."""
    known = {NETWORK_KEY: network_sha256(bundle)}
    return known | ({PRECISION_KEY: precision} if precision else {})


def has_torch_weights(bundle: Bundle) -> bool:
    """Whether other engines than OpenVINO can be given the network: a quantised bundle may
    hold it in its compiled form alone."""
    try:
        with safe_open(bundle.folder / WEIGHTS, framework="numpy") as file:
            return A_WEIGHT in file.keys()  # noqa: SIM118 -- no mapping
    except (OSError, SafetensorError):
        return False

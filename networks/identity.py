"""Identifies the network of a bundle, not its name, thresholds or provenance, without torch."""

import hashlib
import json

from safetensors import SafetensorError, safe_open

from qlumen.networks.bundle import TABLES, WEIGHTS, Bundle

DEPLOYMENT = 1
"""Number of the arithmetic in `networks/deploy.py`; another arithmetic gets another number."""
A_WEIGHT = "head.weight"
"""Weight that every network of `networks/unet.py` has."""
NETWORK_KEY = "qlumen.network"
"""Metadata key of a file: `network_sha256` of the bundle that it was made from."""
PRECISION_KEY = "qlumen.precision"


def network_sha256(bundle: Bundle) -> str:
    """Hash everything that a file made from a bundle's weights depends on: weights, tables,
    architecture, input size and the way it is made."""
    manifest = bundle.manifest
    parts = {
        "files": [manifest.files.get(name) for name in (WEIGHTS, TABLES)],
        "network": manifest.network,
        "input": manifest.input.model_dump(),
        "deployment": DEPLOYMENT,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def origin(bundle: Bundle, precision: str = "") -> dict[str, str]:
    """Return the metadata of a file that is made from `bundle` for another runtime."""
    known = {NETWORK_KEY: network_sha256(bundle)}
    return known | ({PRECISION_KEY: precision} if precision else {})


def has_torch_weights(bundle: Bundle) -> bool:
    """Check whether the bundle holds torch weights; an INT8 one may be a compiled form only."""
    if bundle.manifest.imported:
        return False
    try:
        with safe_open(bundle.folder / WEIGHTS, framework="numpy") as file:
            return A_WEIGHT in file.keys()  # noqa: SIM118 -- no mapping
    except (OSError, SafetensorError):
        return False

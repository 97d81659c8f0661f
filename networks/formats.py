"""A bundle's network in files that other runtimes read. What needs torch is in
`networks/torch_formats.py`."""

from pathlib import Path

from qlumen.networks.bundle import Bundle
from qlumen.networks.identity import network_sha256
from qlumen.networks.openvino import ov

NETWORK_KEY = "qlumen.network"
"""Metadata of a file: the `network_sha256` of the bundle that it was made from."""
PRECISION_KEY = "qlumen.precision"


def write_openvino(bundle: Bundle, path: Path) -> None:
    """The compiled form that lies in the bundle, quantised or not, as `path` and its `.bin`.

    Raises:
        RuntimeError: it cannot be read or written.
    """
    model = ov.Core().read_model(bundle.model)
    for key, value in origin(bundle).items():
        model.set_rt_info(value, key)
    ov.save_model(model, path, compress_to_fp16=False)


def origin(bundle: Bundle, precision: str = "") -> dict[str, str]:
    """Metadata of a file that is made from `bundle`."""
    known = {NETWORK_KEY: network_sha256(bundle)}
    return known | ({PRECISION_KEY: precision} if precision else {})

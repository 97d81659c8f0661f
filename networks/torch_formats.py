"""A bundle's network as ONNX and as torch-export, made with torch from its weights."""

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from qlumen.networks.bundle import Bundle, Precision
from qlumen.networks.deploy import deploy_network, export_program
from qlumen.networks.identity import origin

INPUT, OUTPUT = "image", "map"


def write_onnx(bundle: Bundle, path: Path, precision: Precision = "f32") -> None:
    """One file, weights included; input `image (1, H, W, 3) uint8`, output `map` as the engines'.

    Raises:
        BundleError: the bundle holds no torch weights.
        ImportError: without `onnx` or `onnxscript`.
        OSError: the file cannot be written.
    """
    network = deploy_network(bundle, precision)
    program = export_program(network, _size(bundle))
    with _quiet():
        made = torch.onnx.export(
            program, dynamo=True, verbose=False, input_names=[INPUT], output_names=[OUTPUT]
        )
    if made is None:
        raise RuntimeError("torch.onnx.export returned nothing")
    made.model.metadata_props.update(origin(bundle, precision))
    made.save(path)


def write_torch_export(bundle: Bundle, path: Path, precision: Precision = "f32") -> None:
    """What `torch.export.load` reads: the graph of one static shape, weights included.

    Raises:
        BundleError: the bundle holds no torch weights.
        OSError: the file cannot be written.
    """
    network = deploy_network(bundle, precision)
    program = export_program(network, _size(bundle))
    torch.export.save(program, path, extra_files=origin(bundle, precision))


def read_torch_export(path: Path) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """The network of a file that `write_torch_export` wrote, from `(H, W, 3)` to `(h, w)`."""
    network = torch.export.load(path).module()

    def run(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.no_grad():
            map_: NDArray[np.float32] = network(torch.from_numpy(image)[None])[0, 0].numpy()
        return map_

    return run


def _size(bundle: Bundle) -> tuple[int, int]:
    return bundle.manifest.input.width, bundle.manifest.input.height


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on libraries that are not wanted here."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        log.setLevel(level)

"""Writes a bundle's network as ONNX and as torch-export, with torch from its weights."""

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
from qlumen.networks.eightbit import eight_bit_network
from qlumen.networks.identity import origin

INPUT, OUTPUT = "image", "map"


def write_onnx(
    bundle: Bundle, path: Path, precision: Precision = "f32", *, eight_bit: bool = False
) -> None:
    """Write one file with weights, from `image (1, H, W, 3) uint8` to `map` as engines give it.

    Args:
        eight_bit: True for convolutions in 8 bits, by the bundle's ranges.

    Raises:
        BundleError: the bundle holds no torch weights, or no ranges.
        ImportError: `onnx` or `onnxscript` is not installed.
        OSError: the file cannot be written.
    """
    network = (eight_bit_network if eight_bit else deploy_network)(bundle, precision)
    program = export_program(network, _size(bundle))
    with _quiet():
        export = torch.onnx.export(
            program, dynamo=True, verbose=False, input_names=[INPUT], output_names=[OUTPUT]
        )
    if export is None:
        raise RuntimeError("torch.onnx.export returned nothing")
    label = f"int8 and {precision}" if eight_bit else precision
    export.model.metadata_props.update(origin(bundle, label))
    export.save(path)


def write_torch_export(bundle: Bundle, path: Path, precision: Precision = "f32") -> None:
    """Write a file for `torch.export.load`: a graph of one static shape, with weights.

    Raises:
        BundleError: the bundle holds no torch weights.
        OSError: the file cannot be written.
    """
    network = deploy_network(bundle, precision)
    program = export_program(network, _size(bundle))
    torch.export.save(program, path, extra_files=origin(bundle, precision))


def read_torch_export(path: Path) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Load a file of `write_torch_export` as a function from `(H, W, 3)` to `(h, w)`."""
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
    """Silence the exporter's warnings about libraries that are not needed here."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        log.setLevel(level)

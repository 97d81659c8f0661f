"""A bundle's network at another input size: the same weights and tables, compiled anew."""

import shutil
from pathlib import Path

from qlumen.networks.bundle import MODEL, RESIZED_FROM, TABLES, WEIGHTS, Bundle, write_manifest
from qlumen.networks.deploy import stored_surrogate
from qlumen.networks.export import (
    Deployed,
    emptied,
    load_network,
    network_config,
    write_model,
)
from qlumen.networks.unet import check_input_size
from qlumen.quantum.modules import freeze
from qlumen.quantum.surrogate import FloatArray


def resized_bundle(source: Bundle, folder: Path, side: int) -> Bundle:
    """Write the network of `source` to `folder`, for squares of `side` px.

    Thresholds and papers come along; metrics and 8-bit ranges, which were measured at another
    size, do not, and there is no card yet.

    Raises:
        BundleError: `source` is an INT8 bundle, or `folder` holds something that is no bundle.
        ValueError: the network does not take that side.
    """
    check_input_size(side, side)
    network = load_network(source.weights, network_config(source.manifest.network))
    emptied(folder)
    shutil.copyfile(source.weights, folder / WEIGHTS)
    tables: tuple[FloatArray, ...] = ()
    if source.manifest.quantum:
        surrogate = stored_surrogate(source)
        network.bottleneck.core, tables = freeze(surrogate), surrogate.tables
        shutil.copyfile(source.folder / TABLES, folder / TABLES)
    write_model(folder / MODEL, Deployed(network).eval(), side, tables)
    manifest = source.manifest
    changed = {
        "name": f"{manifest.name}-{side}",
        "input": manifest.input.model_copy(update={"width": side, "height": side}),
        "provenance": manifest.provenance | {RESIZED_FROM: source.sha256},
        "metrics": {},
        "ranges": None,
    }
    return write_manifest(folder, manifest.model_copy(update=changed))

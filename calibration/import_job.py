"""Imports a network in a worker process: reads it, converts it, and compares it with itself."""

import os
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from qlumen.calibration.export import compare, scene_frames
from qlumen.errors import EngineError
from qlumen.evaluation.model_card import write_records
from qlumen.networks.bundle import (
    FORMAT,
    MODEL,
    WEIGHTS,
    ImportedRecord,
    InputSpec,
    Manifest,
    Thresholds,
    write_manifest,
)
from qlumen.networks.foreign.description import Facts, Foreign, complete, parse_normalisation
from qlumen.networks.foreign.files import hash_source, refusing
from qlumen.networks.foreign.graph import convert
from qlumen.networks.foreign.read import read_foreign
from qlumen.networks.openvino import ov
from qlumen.realtime.engines.base import Engine, Probability
from qlumen.realtime.engines.openvino import OpenVinoEngine
from qlumen.realtime.pixels.arrays import Image

MAX_DIFFERING_SHARE = 1e-4
"""Largest share of pixels whose mask may differ from the original's."""
THRESHOLDS = Thresholds(low=0.5, high=0.5, min_area_fraction=0.0005)
STEPS = 3
OnProgress = Callable[[int, int | None], None]


def run(arguments: dict[str, Any], on_progress: OnProgress) -> Any:
    """Import `arguments["model"]` as `import_network` does; return the record as plain types."""
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # what libraries print about a damaged file
        os.dup2(silence, stream)
    model, folder = Path(arguments["model"]), Path(arguments["folder"])
    answers, name = Facts(**arguments["answers"]), arguments["name"]
    return import_network(model, folder, answers, name, on_progress).model_dump(mode="json")


def import_network(
    path: Path,
    folder: Path,
    answers: Facts,
    name: str,
    on_progress: OnProgress = lambda done, expected: None,
) -> ImportedRecord:
    """Write the network at `path` as a bundle to the new folder `folder`.

    Args:
        answers: what the files do not say
        name: name of the bundle

    Raises:
        UsageError: something is not said
        BundleError: the network is damaged, refused or cannot be converted
        EngineError: the converted network draws other masks than the original
        MissingExtraError: a library is not installed
    """
    with refusing(path):
        foreign = read_foreign(path, answers)
        facts = complete(foreign, answers)
        on_progress(1, STEPS)
        model, facts, original = convert(foreign, facts)
        manifest = _describe(foreign, facts, path, name)
    on_progress(2, STEPS)
    folder.mkdir()
    ov.save_model(model, folder / MODEL, compress_to_fp16=False)
    if isinstance(foreign.network, nn.Module):
        weights = foreign.network.state_dict().items()
        save_file({key: one.contiguous().clone() for key, one in weights}, folder / WEIGHTS)
        (folder / WEIGHTS).chmod((folder / MODEL).stat().st_mode)
    bundle = write_manifest(folder, manifest)
    with refusing(path), OpenVinoEngine(bundle.model) as engine:
        parity = compare(bundle, scene_frames(), partial(_drawn_map, engine), original)
    if not parity.differing_share <= MAX_DIFFERING_SHARE:
        raise EngineError(
            f"the converted network differs from the original in {parity.differing_share:.1e} of "
            f"the pixels; at most {MAX_DIFFERING_SHARE:.0e} may differ; the bundle is not written"
        )
    assert manifest.imported
    record = manifest.imported.model_copy(update={"parity": asdict(parity)})
    write_records(folder, manifest.model_copy(update={"imported": record}))
    on_progress(STEPS, STEPS)
    return record


def _drawn_map(engine: Engine, image: Image) -> Probability:
    maps = engine.infer(image)
    return maps if maps.ndim == 2 else maps[0]


def _describe(foreign: Foreign, facts: Facts, path: Path, name: str) -> Manifest:
    """Describe a bundle whose parity is not yet measured."""
    assert facts.size
    mean, std = parse_normalisation(facts) or (None, None)
    sha256 = hash_source(path)
    return Manifest(
        format=FORMAT,
        name=name,
        version="1",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        network={"kind": foreign.kind, **foreign.details, "source_sha256": sha256},
        input=InputSpec(
            width=facts.size[0],
            height=facts.size[1],
            fit=facts.fit or "stretch",
            mean=mean,
            std=std,
        ),
        thresholds=THRESHOLDS,
        quantum=None,
        provenance={
            "by": "qlumen import",
            "libraries": {one: version(one) for one in ("qlumen", "openvino", "torch", "onnx")},
        },
        metrics={},
        files={},
        imported=ImportedRecord(
            kind=foreign.kind,
            source=path.resolve().name,
            source_sha256=sha256,
            licence=facts.licence or "",
            drawn_class=facts.target or ("", 0),
            others=facts.others,
            preparation=facts.model_dump(include={"channels", "normalise", "activation", "axes"}),
            left_out=foreign.left_out,
        ),
    )

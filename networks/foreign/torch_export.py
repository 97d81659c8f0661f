"""Reads a program of `torch.export.save`: a graph of torch's own operators, with weights.

torch's loader trusts a file: it unpickles, and evaluates expressions of sizes. So the archive is
checked first. It may hold tensors and one graph of static shape, of operators of `torch.ops.aten`.
"""

import json
import os
import re
import zipfile
from pathlib import Path

import torch

from qlumen.errors import BundleError
from qlumen.networks.foreign.description import Facts, Foreign
from qlumen.networks.foreign.files import find_dicts, read_file

PARTS = re.compile(
    r"[^/]+/(archive_format|archive_version|byteorder|version|\.data/\w+|models/model\.json|"
    r"data/weights/(weight_\d+|model_weights_config\.json)|data/sample_inputs/model\.pt|"
    r"data/constants/(tensor_\d+|model_constants_config\.json)|extra/[\w.-]+)"
)
"""Names of what an archive may hold."""
OPERATORS = re.compile(r"torch\.ops\.aten\.\w+\.\w+|_operator\.getitem")
MAX_JSON = 64 << 20
PROBABILITIES = ("aten.sigmoid.default", "aten.softmax.int", "aten._softmax.default")
WEIGHTS_ONLY = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"


def read_torch_export(path: Path, answers: Facts) -> Foreign:
    """Read a `.pt2` file; refuse all but tensors and a static graph of torch's own operators."""
    read_file(path)
    _check_archive(path)
    os.environ[WEIGHTS_ONLY] = "1"  # its loader falls back to whole pickles otherwise
    try:
        program = torch.export.load(path)
    finally:
        os.environ.pop(WEIGHTS_ONLY)
    nodes = {node.name: node for node in program.graph.nodes}
    signature = program.graph_signature
    (image,), (result,) = (
        [nodes[str(name)] for name in names]
        for names in (signature.user_inputs, signature.user_outputs)
    )
    shape, given = (list(node.meta["val"].shape) for node in (image, result))
    last = shape[1] not in (1, 3) and shape[3] in (1, 3)
    height, width = shape[1:3] if last else shape[2:]
    return Foreign(
        kind="torch-export",
        network=program.module(),
        facts=Facts(
            size=(width, height),
            activation="none" if str(result.target) in PROBABILITIES else None,
        ),
        channels=shape[3 if last else 1],
        seen=f"input {shape}, output {given} of {result.target}",
        channels_last=last,
    )


def _check_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        if other := [name for name in archive.namelist() if not PARTS.fullmatch(name)]:
            raise BundleError(f"{path} holds {other[0][:80]!r}, not only tensors and one graph")
        configs = [info for info in archive.infolist() if info.filename.endswith(".json")]
        if sum(info.file_size for info in configs) > MAX_JSON:
            raise BundleError(f"{path}: its graph has more than {MAX_JSON:,} bytes")
        contents = [json.loads(archive.read(info)) for info in configs]
    for part in find_dicts(contents):
        if part.get("use_pickle"):
            raise BundleError(f"{path} holds a pickle; write it with torch.export.save")
        if part.keys() & {"expr_str", "as_expr"} or part.get("range_constraints"):
            raise BundleError(f"{path} has sizes that are not fixed; export it for one size")
        target = str(part.get("target", ""))
        if "target" in part and not OPERATORS.fullmatch(target):
            raise BundleError(f"{path} calls {target!r:.80}, no operator of torch.ops.aten")

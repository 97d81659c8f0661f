"""Reads files of other makers without running what they say."""

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from qlumen.errors import BundleError, MissingExtraError, QlumenError

MAX_BYTES = 1 << 30
"""Most bytes of a file."""
SCALAR = np.float64(0).__reduce__()[0]
NUMBERS: list[Any] = [
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "bool")),
    *((SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("_core", "core")),
]
"""Types in nnU-Net's logs; nothing else is allowed beyond torch's own list."""
NESTED = ("state_dict", "model_state_dict", "network_weights", "model", "network")
"""Keys under which training programs store the weights."""
PREFIXES = ("_orig_mod.", "module.", "model.", "net.", "network.")


@contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Turn whatever a library raises on a damaged file into a BundleError of one line."""
    try:
        yield
    except (QlumenError, MemoryError):
        raise
    except ImportError as error:
        raise MissingExtraError(f"{path}: {error}: pip install 'qlumen[import]'") from None
    except Exception as error:  # noqa: BLE001 - libraries raise errors of all types
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise BundleError(f"{path} is damaged or cannot be imported: {reason[:400]}") from None


def read_file(path: Path) -> bytes:
    """Read a file of at most `MAX_BYTES`."""
    size = path.stat().st_size
    if not path.is_file() or not 0 < size <= MAX_BYTES:
        raise BundleError(f"{path} has {size:,} bytes; the limit is {MAX_BYTES:,}, and 1 or more")
    return path.read_bytes()


def read_json(path: Path) -> dict[str, Any]:
    """Read an object of JSON."""
    return dict(json.loads(read_file(path)))


def find_dicts(content: Any) -> Iterator[dict[str, Any]]:
    """Yield all objects of a JSON content, the outer ones first."""
    if isinstance(content, dict):
        yield content
    for one in content.values() if isinstance(content, dict) else content:
        if isinstance(one, dict | list):
            yield from find_dicts(one)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Load safetensors, or a pickle of tensors and plain values alone."""
    read_file(path)
    if path.suffix == ".safetensors":
        return load_file(path)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("constants.pkl") for name in archive.namelist()):
                raise BundleError(f"{path} is TorchScript, a program; save the state_dict")
    with torch.serialization.safe_globals(NUMBERS):
        return dict(torch.load(path, map_location="cpu", weights_only=True))


def find_weights(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint, also those that a training program nests."""
    inner = next((content[key] for key in NESTED if isinstance(content.get(key), dict)), content)
    return {str(name): value for name, value in inner.items() if isinstance(value, Tensor)}


def fill(network: nn.Module, weights: Mapping[str, Tensor]) -> nn.Module:
    """Load the weights, whose names may have prefixes of wrappers; return it to evaluate."""
    for name, value in weights.items():
        if value.is_floating_point() and not value.isfinite().all():
            raise BundleError(f"the weights {name} are not finite")
    own = network.state_dict().keys()
    for prefix in PREFIXES:
        if not weights.keys() & own and all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): value for name, value in weights.items()}
    network.load_state_dict(dict(weights))
    return network.float().eval().requires_grad_(False)


def hash_source(path: Path) -> str:
    """Hash a file, or the names and contents of the files of a folder."""
    total = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            total.update(file.relative_to(path).as_posix().encode() if file != path else b"")
            total.update(read_file(file))
    return total.hexdigest()

"""Writes and reads the weights of an encoder that was trained without masks."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load, save

from qlumen.errors import TrainingError
from qlumen.networks.encoder import Encoder
from qlumen.system.files import write_bytes

PROVENANCE = "provenance"


def write_encoder(path: Path, encoder: Encoder, provenance: Mapping[str, Any]) -> None:
    """Write the weights of an encoder and how they came; `load_encoder` reads them."""
    weights = {name: value.cpu().contiguous() for name, value in encoder.state_dict().items()}
    write_bytes(path, save(weights, {PROVENANCE: json.dumps(provenance)}))


def load_encoder(encoder: Encoder, path: Path) -> dict[str, Any]:
    """Load the weights that `train --pretrain` wrote; return how they came, with their SHA-256.

    Raises:
        TrainingError: the file is missing or damaged, or is of another encoder
    """
    try:
        content = path.read_bytes()
        weights = load(content)
        with safe_open(path, "pt") as file:
            provenance = json.loads((file.metadata() or {}).get(PROVENANCE, "{}"))
    except OSError as error:
        raise TrainingError(f"cannot read start_encoder {path}: {error.strerror}") from None
    except (SafetensorError, ValueError) as error:
        raise TrainingError(
            f"start_encoder {path} is damaged: {error}; write it with train --pretrain"
        ) from None
    try:
        encoder.load_state_dict(weights)
    except RuntimeError:
        raise TrainingError(
            f"start_encoder {path} does not fit the encoder {encoder.name}; "
            "use a file that train --pretrain wrote with the same encoder"
        ) from None
    return {"sha256": hashlib.sha256(content).hexdigest(), **provenance}

"""Reads the start weights of an encoder."""

import hashlib
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load

from qlumen.errors import TrainingError
from qlumen.networks.encoder import Encoder


def load_encoder(encoder: Encoder, path: Path) -> str:
    """Load the weights that `train --pretrain` wrote; return the file's SHA-256.

    Raises:
        TrainingError: the file is missing or damaged, or is of another encoder
    """
    try:
        content = path.read_bytes()
        weights = load(content)
    except OSError as error:
        raise TrainingError(f"cannot read start_encoder {path}: {error.strerror}") from None
    except SafetensorError as error:
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
    return hashlib.sha256(content).hexdigest()

"""Reads a checkpoint of segmentation_models.pytorch.

It is a folder of `save_pretrained` (`config.json` and `model.safetensors`), or a file with the
weights: a state_dict, also inside of a checkpoint of Lightning. Nothing is downloaded.
"""

import re
from pathlib import Path
from typing import Any

from qlumen.errors import BundleError, UsageError
from qlumen.networks.foreign.description import Facts, Foreign
from qlumen.networks.foreign.files import fill, find_weights, load_checkpoint, read_json
from qlumen.networks.foreign.torchvision_operators import declare

NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
"""Names of encoders; those with a colon or a slash would be looked up on the network."""
ARCHITECTURES = ("arch", "architecture", "model_name", "_model_class")
ENCODERS = ("encoder_name", "encoder")
CLASSES = ("classes", "out_classes", "num_classes")
OTHERS = ("decoder_", "encoder_depth", "encoder_output_stride", "upsampling")
"""Beginnings of the other names that a network is built with."""


def read_smp(path: Path, answers: Facts) -> Foreign:
    """Build the network that a checkpoint names, and load its weights."""
    if path.is_dir():
        config = read_json(path / "config.json")
        content = load_checkpoint(path / "model.safetensors")
    else:
        content = load_checkpoint(path)
        config = dict(content.get("hyper_parameters") or content.get("config") or {})
    weights = find_weights(content)

    def first(names: tuple[str, ...], default: Any) -> Any:
        return next((config[name] for name in names if config.get(name)), default)

    architecture = str(answers.architecture or first(ARCHITECTURES, ""))
    encoder = str(answers.encoder or first(ENCODERS, ""))
    if not architecture or not encoder:
        raise UsageError(
            f"{path} names no architecture or encoder of segmentation_models.pytorch (seen: "
            f"{len(weights)} tensors); give --architecture Unet and --encoder resnet34, for example"
        )
    kernels = [value for value in weights.values() if value.ndim == 4]
    channels = int(config.get("in_channels") or kernels[0].shape[1])
    classes = int(first(CLASSES, kernels[-1].shape[0]))
    activation = config.get("activation")
    if activation not in (None, "sigmoid", "softmax", "softmax2d"):
        raise BundleError(f"{path}: activation {activation!r:.60} is not sigmoid or softmax")
    declare()
    import segmentation_models_pytorch as smp

    known = {name.lower(): one for name, one in smp.MODEL_ARCHITECTURES_MAPPING.items()}
    if architecture.lower() not in known:
        raise UsageError(f"architecture {architecture!r:.60}; one of {', '.join(sorted(known))}")
    if not NAME.fullmatch(encoder) or not encoder.startswith(("tu-", *smp.encoders.encoders)):
        raise UsageError(f"encoder {encoder!r:.60} is none of segmentation_models.pytorch")
    network = known[architecture.lower()](
        encoder_name=encoder, encoder_weights=None, in_channels=channels, classes=classes,
        activation=activation,
        **{name: value for name, value in config.items() if name.startswith(OTHERS)},
    )  # fmt: skip
    logits = "sigmoid" if classes == 1 else None
    return Foreign(
        kind="smp",
        network=fill(network, {k: v for k, v in weights.items() if "classification_" not in k}),
        facts=Facts(activation="none" if activation else logits),
        channels=channels,
        seen=f"{architecture} with {encoder}, {channels} channels, {classes} classes",
        details={"architecture": architecture, "encoder": encoder},
    )

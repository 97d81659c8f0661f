"""Reads a result folder of nnU-Net v2 with the configuration `2d` (Isensee et al. 2021).

The folder holds `plans.json`, `dataset.json` and `fold_N/checkpoint_final.pth`. The network is
built by dynamic-network-architectures, as nnU-Net does. nnU-Net itself is not needed.
"""

from pathlib import Path
from typing import Any

from torch import nn

from qlumen.errors import BundleError
from qlumen.networks.foreign.description import Facts, Foreign
from qlumen.networks.foreign.files import fill, find_weights, load_checkpoint, read_json

NETWORKS = ("PlainConvUNet", "ResidualEncoderUNet")
PACKAGE = "dynamic_network_architectures.architectures.unet"
LAYERS = {
    one.__name__: one
    for one in (nn.Conv2d, nn.InstanceNorm2d, nn.BatchNorm2d, nn.Dropout2d, nn.LeakyReLU, nn.ReLU)
}
SCHEMES = {"ZScoreNormalization": "image", "RGBTo01Normalization": "unit",
           "NoNormalization": "none"}  # fmt: skip
MOST_STAGES, MOST_FEATURES = 10, 2048
LEFT_OUT = (
    "frames are resized to one patch; nnU-Net resamples them to the spacing of its plans",
    "one patch is computed; nnU-Net joins overlapping tiles with Gaussian weights",
    "mirrored images and other folds are not averaged",
    "nnU-Net's own post-processing is not applied",
)


def read_nnunet(path: Path, answers: Facts) -> Foreign:
    """Build the network of the plans, and load the weights of the only fold or of the given one."""
    folder = path if (path / "plans.json").is_file() else path.parent
    plans, dataset = read_json(folder / "plans.json"), read_json(folder / "dataset.json")
    folds = [path] if path != folder else sorted(folder.glob("fold_*"))
    if len(folds) != 1:
        listed = ", ".join(one.name for one in folds[:10]) or "none"
        raise BundleError(f"{folder} has the folds {listed}; name one: {folder}/fold_0")
    final, best = (folds[0] / f"checkpoint_{name}.pth" for name in ("final", "best"))
    checkpoint = final if final.is_file() else best
    plan = plans["configurations"]["2d"]
    height, width = (int(side) for side in plan["patch_size"])
    channels = [str(name).lower() for name in dataset["channel_names"].values()]
    order = "".join(name[:1] for name in channels)
    labels = [(name, value) for name, value in dataset["labels"].items() if name != "ignore"]
    regions = any(isinstance(value, list) for _, value in labels)
    if regions:
        labels = [one for one in labels if one[0] != "background"]
    else:
        labels.sort(key=lambda one: one[1])
    schemes = set(plan["normalization_schemes"])
    network = _build(plan["architecture"], len(channels), len(labels))
    return Foreign(
        kind="nnunet",
        network=fill(network, find_weights(load_checkpoint(checkpoint))),
        facts=Facts(
            size=(width, height),
            channels=order if order in ("rgb", "bgr") else None,
            normalise=SCHEMES.get(schemes.pop()) if len(schemes) == 1 else None,
            activation="sigmoid" if regions else "softmax",
            licence=dataset.get("licence"),
        ),
        channels=len(channels),
        seen=f"patches of {width}x{height}, channels {channels}, "
        f"{plan['normalization_schemes']}, labels {labels}",
        classes=dict(enumerate(name for name, _ in labels)),
        details={"architecture": type(network).__name__, "fold": checkpoint.parent.name},
        left_out=LEFT_OUT,
    )


def _build(architecture: dict[str, Any], channels: int, classes: int) -> nn.Module:
    """Build a network of the list with layers of the list; no other name is looked up."""
    from dynamic_network_architectures.architectures import unet

    package, _, name = architecture["network_class_name"].rpartition(".")
    if package != PACKAGE or name not in NETWORKS:
        raise BundleError(f"network {name!r:.60} of nnU-Net's plans is none of {NETWORKS}")
    values = dict(architecture["arch_kwargs"])
    for key in architecture["_kw_requires_import"]:
        package, _, layer = str(values[key]).rpartition(".")
        if values[key] and (layer not in LAYERS or not package.startswith("torch.nn")):
            raise BundleError(f"layer {layer!r:.60} of the plans is none of {', '.join(LAYERS)}")
        values[key] = values[key] and LAYERS[layer]
    stages, most = int(values["n_stages"]), max(values["features_per_stage"])
    if stages > MOST_STAGES or most > MOST_FEATURES:
        raise BundleError(f"{stages} stages of up to {most} features are too many")
    network: nn.Module = getattr(unet, name)(
        input_channels=channels, num_classes=classes, deep_supervision=False, **values
    )
    return network

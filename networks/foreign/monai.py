"""Reads a MONAI bundle with a 2-D network.

It reads `configs/metadata.json`, a configuration with the network's definition and
`models/model.pt`. A definition names a class of `NETWORKS` and plain values. Expressions (`$...`),
references (`@...`) and other classes are refused. MONAI's own parser, which evaluates them, is not
used.
"""

from pathlib import Path
from typing import Any

from qlumen.errors import BundleError
from qlumen.networks.foreign.description import Facts, Foreign
from qlumen.networks.foreign.files import (
    fill,
    find_dicts,
    find_weights,
    load_checkpoint,
    read_file,
    read_json,
)

CONFIGS = ("inference.json", "evaluate.json", "train.json")
DEFINITIONS = ("network_def", "network", "net", "model")
NETWORKS = (
    "AttentionUnet", "BasicUNet", "BasicUNetPlusPlus", "DynUNet", "FlexibleUNet", "SegResNet",
    "UNet", "VNet",
)  # fmt: skip
SCALES = {(0, 1): "unit", (0, 255): "none"}
LEFT_OUT = ("MONAI's own resizing and post-processing are replaced by those of qlumen",)


def read_monai(path: Path, answers: Facts) -> Foreign:
    """Build the network that a bundle defines, and load its weights."""
    metadata = read_json(path / "configs/metadata.json")
    config = next(
        read_json(path / "configs" / name)
        for name in CONFIGS
        if (path / "configs" / name).is_file()
    )
    definition = next(config[key] for key in DEFINITIONS if isinstance(config.get(key), dict))
    name, network = _build(dict(definition))
    data = metadata["network_data_format"]
    said, given = (next(iter(data[side].values())) for side in ("inputs", "outputs"))
    transforms = [one for key in ("preprocessing", "postprocessing")
                  for one in find_dicts(config.get(key, {})) if "_target_" in one]  # fmt: skip
    targets = [one["_target_"].rpartition(".")[2] for one in transforms]
    readers = [one for one in transforms if "LoadImage" in one["_target_"]]
    # MONAI's readers put x before y unless they are told not to.
    axes = "xy" if readers and readers[0].get("reverse_indexing") is not False else None
    size = [side for side in said.get("spatial_shape", []) if isinstance(side, int)]
    licences = [one for one in (path / "LICENSE", path / "LICENSE.txt") if one.is_file()]
    normalised = any(target.startswith("NormalizeIntensity") for target in targets)
    form = str(said.get("format", "")).lower()
    facts = Facts(
        size=tuple(size if axes else size[::-1]) if len(size) == 2 else None,
        channels=form if form in ("rgb", "bgr") else None,
        normalise=None if normalised else SCALES.get(tuple(said.get("value_range", ()))),
        fit="stretch" if any(target.startswith("Resize") for target in targets) else None,
        activation=next(filter(None, map(_activation, transforms)), None),
        axes=axes if readers else None,
        licence=read_file(licences[0]).decode("utf-8", "replace")[: 1 << 16] if licences else None,
    )
    return Foreign(
        kind="monai",
        network=fill(network, find_weights(load_checkpoint(path / "models/model.pt"))),
        facts=facts,
        channels=int(definition.get("in_channels", said.get("num_channels", 3))),
        seen=f"{name}, input {said!r:.200}, transforms {', '.join(targets)[:200]}",
        classes={int(k): str(v)[:100] for k, v in given.get("channel_def", {}).items()},
        details={"architecture": name},
        left_out=LEFT_OUT,
    )


def _build(definition: dict[str, Any]) -> tuple[str, Any]:
    for value in _values(definition):
        if isinstance(value, str) and value.startswith(("$", "@", "%")):
            raise BundleError(f"the network's definition holds the expression {value!r:.60}, which "
                              "is not run; write the value itself")  # fmt: skip
    name = str(definition.pop("_target_")).removeprefix("monai.networks.nets.")
    if name not in NETWORKS:
        raise BundleError(f"{name!r:.80} is none of the networks {', '.join(NETWORKS)}")
    if any("_target_" in one for one in find_dicts(definition)):
        raise BundleError("the network's definition names a class inside of another")
    if definition.pop("spatial_dims", 2) != 2:
        raise BundleError("the network is not for 2-D images")
    values = {key: value for key, value in definition.items() if not key.startswith("_")}
    if name == "FlexibleUNet":
        values["pretrained"] = False  # it would download weights that the bundle replaces
    from monai.networks import nets

    return name, getattr(nets, name)(spatial_dims=2, **values)


def _values(content: Any) -> list[Any]:
    """Return all values of a JSON content that are neither objects nor lists."""
    if isinstance(content, dict):
        content = list(content.values())
    if not isinstance(content, list):
        return [content]
    return [value for one in content for value in _values(one)]


def _activation(transform: dict[str, Any]) -> str | None:
    if transform.get("softmax") is True or transform.get("argmax") is True:
        return "softmax"
    return "sigmoid" if transform.get("sigmoid") is True else None

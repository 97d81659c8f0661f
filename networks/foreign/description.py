"""Describes a network of other makers: what its files say, and what must be asked for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from qlumen.errors import UsageError
from qlumen.networks.bundle import Fit

MAX_SIDE = 2048
FIXED = ("onnx", "ultralytics", "torch-export")
"""Kinds whose network has one input size where the file says it."""
IMAGENET = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
"""Mean and standard deviation of ImageNet's RGB, on the scale of bytes."""
QUESTIONS = {
    "size": ("the size of its input", "--size WIDTHxHEIGHT"),
    "channels": ("the order of its channels", "--channels rgb|bgr|grey"),
    "normalise": ("its normalisation", "--normalise imagenet|unit|none|image|MEAN/STD"),
    "fit": ("how frames are resized", "--fit stretch|letterbox"),
    "activation": ("what its values are", "--activation sigmoid|softmax|none"),
    "licence": ("its licence", "--licence TEXT or FILE"),
}


class Facts(BaseModel):
    """Holds what files say, or what the user answers; None stands for what is not said.

    Attributes:
        size: width and height of the input in pixels.
        normalise: text for `parse_normalisation`.
        activation: function that makes probabilities of the output; `none` if it holds them.
        target: name and number of the class that is drawn.
        others: names and numbers of other classes, which are drawn in another colour.
        axes: `xy` for a network that sees images transposed, as MONAI's readers give them.
        licence: name or text of the licence.
        architecture, encoder: names in segmentation_models.pytorch.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    size: tuple[int, int] | None = None
    channels: Literal["rgb", "bgr", "grey"] | None = None
    normalise: str | None = None
    fit: Fit | None = None
    activation: Literal["sigmoid", "softmax", "none"] | None = None
    target: tuple[str, int] | None = None
    others: tuple[tuple[str, int], ...] = ()
    axes: Literal["yx", "xy"] | None = None
    licence: str | None = Field(None, max_length=1 << 17)
    architecture: str | None = None
    encoder: str | None = None

    def updated(self, answers: "Facts") -> "Facts":
        """Return these facts with the answers that are given in place of theirs."""
        return self.model_copy(update=answers.model_dump(exclude_defaults=True))


@dataclass(frozen=True, slots=True, eq=False)
class Foreign:
    """Holds a network and what its files say.

    Attributes:
        network: torch module, or checked ONNX file.
        channels: number of the input's channels.
        seen: description of input and output for messages.
        classes: names of the classes by number.
        details: what the manifest keeps of the architecture.
        left_out: what of the original's way from image to mask the bundle does not do.
        channels_last: True for an input `(1, H, W, C)`.
        read_boxes: makes the module that reads boxes, for (facts, shapes of the outputs); None
            for a plain map.
    """

    kind: str
    network: nn.Module | Path
    facts: Facts
    channels: int
    seen: str
    classes: Mapping[int, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    channels_last: bool = False
    read_boxes: Callable[[Facts, Sequence[Sequence[int]]], nn.Module] | None = None


def complete(foreign: Foreign, answers: Facts) -> Facts:
    """Join what the files say and the answers; raise UsageError that asks for all the rest."""
    defaults = Facts(axes="yx", channels="grey" if foreign.channels == 1 else None)
    facts = defaults.updated(foreign.facts).updated(answers)
    missing = [name for name in QUESTIONS if getattr(facts, name) is None]
    if missing:
        what, options = zip(*(QUESTIONS[name] for name in missing), strict=True)
        raise UsageError(
            f"the {foreign.kind} model does not say {', '.join(what)} (seen: {foreign.seen}); "
            f"give {', '.join(options)}"
        )
    if (facts.channels == "grey") != (foreign.channels == 1) or foreign.channels not in (1, 3):
        raise UsageError(
            f"the network takes {foreign.channels} channels, which are not {facts.channels}; "
            "1 channel is grey, 3 are rgb or bgr, and others cannot be imported"
        )
    if foreign.kind in FIXED and foreign.facts.size not in (None, facts.size):
        raise UsageError(f"the file is for {foreign.facts.size} px alone; leave out --size")
    if max(facts.size or ()) > MAX_SIDE:
        raise UsageError(f"an input of {facts.size} px is too large; use sides up to {MAX_SIDE}")
    parse_normalisation(facts)
    return facts


def choose_class(foreign: Foreign, facts: Facts, count: int) -> Facts:
    """Return the facts with the class to draw among `count`; raise UsageError to ask for it."""
    if facts.activation == "softmax" and count == 1:
        raise UsageError("a map of one class has no softmax; give --activation sigmoid or none")
    names = {number: foreign.classes.get(number, f"class {number}") for number in range(count)}
    polyps = [(name, number) for number, name in names.items() if name.lower() == "polyp"]
    alone = [(foreign.classes.get(0, "polyp"), 0)] if count == 1 else []
    target = facts.target or next(iter(polyps + alone), None)
    if target is None or target[1] not in names:
        listed = ", ".join(f"{name}={number}" for number, name in list(names.items())[:20])
        raise UsageError(
            f"the network has {count} classes ({listed}); name the one that is a polyp: "
            "--class polyp=NUMBER"
        )
    if wrong := [one for one in facts.others if one[1] not in names or one[1] == target[1]]:
        raise UsageError(
            f"--also {wrong[0][0]}={wrong[0][1]}: name another class than {target[0]}={target[1]}, "
            f"by a number below {count}"
        )
    return facts.model_copy(update={"target": target})


def parse_normalisation(facts: Facts) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Return mean and deviation of each channel in the network's order, on the scale of bytes.

    The text is `imagenet`, `unit`, `none` or `MEAN/STD`, each of one value, or of one for each
    channel with commas between; or `image`, which gives None: each image by its own values.

    Raises:
        UsageError: the text is none of these.
    """
    text = str(facts.normalise)
    count = 1 if facts.channels == "grey" else 3
    if text == "image":
        return None
    if text == "imagenet" and count == 3:
        mean, std = (values[:: 1 if facts.channels == "rgb" else -1] for values in IMAGENET)
        return mean, std
    named = {"unit": "0/255", "none": "0/1"}.get(text, text)
    try:
        parts = [[float(value) for value in part.split(",")] for part in named.split("/")]
        mean, std = (tuple(part * count if len(part) == 1 else part) for part in parts)
        if {len(mean), len(std)} == {count} and np.isfinite(mean + std).all() and min(std) > 0:
            return mean, std
    except ValueError:
        pass
    raise UsageError(
        f"--normalise {text}: use unit (0 to 1), none (0 to 255), image (each image by its own "
        "mean and deviation), imagenet (of 3 channels), or MEAN/STD such as 127.5/127.5 or "
        "124,116,104/58,57,57"
    )

"""Defines the settings of a training run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from qlumen.errors import ConfigError
from qlumen.networks.bottlenecks import BOTTLENECKS
from qlumen.networks.encoder import ENCODERS
from qlumen.realtime.config.strict_yaml import read_override

MACHINE_SETTINGS = {"threads", "workers"}
"""Settings that suit the computer: a resumed run may have others."""
FILE_SETTINGS = {"start", "start_encoder"}
"""Settings that name files of this computer: provenance has their hashes instead."""


class TrainSettings(BaseModel):
    """Holds the settings of a run; its checkpoint and its bundle's provenance keep them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    epochs: int = Field(24, ge=1, description="passes over the training images")
    train_lists: tuple[str, ...] = Field(
        ("train",), min_length=1, description="lists of images with masks that are trained on"
    )
    val_lists: tuple[str, ...] = Field(
        ("val",), description="lists to validate on; empty: the last epoch is kept"
    )
    lesion_free_lists: tuple[str, ...] = Field(
        ("negatives_train",), description="lists of images without a lesion that are trained on"
    )
    patience: int = Field(
        0, ge=0, description="epochs without a better validation Dice that end a run; 0: no limit"
    )
    batch_size: int = Field(12, ge=1, description="images per step, of all processes together")
    input_size: int = Field(256, ge=32, multiple_of=32, description="side of a training crop, px")
    sides: tuple[int, ...] = Field(
        (), description="sides of training crops, px, one drawn per batch; empty: input_size"
    )
    seed: int = Field(0, ge=0, description="seed of weights, order and augmentation")
    encoder_rate: float = Field(4e-4, gt=0, description="peak learning rate of the encoder")
    rate: float = Field(1e-3, gt=0, description="peak learning rate of all other parts")
    warm_up: float = Field(
        0.1, gt=0, lt=1, description="share of the steps with rising rates (one-cycle, cosine)"
    )
    weight_decay: float = Field(1e-2, ge=0, description="decoupled weight decay of AdamW")
    ema_decay: float = Field(
        0.995, ge=0, lt=1, description="decay of the averaged weights, per step"
    )
    loss: Literal["bce_dice", "structure", "tversky"] = Field(
        "bce_dice", description="structure weighs pixels near a border, tversky missed pixels more"
    )
    presence: float = Field(
        0.0, ge=0, description="weight of the strongest pixels of background and lesions; 0: none"
    )
    augmentation: Literal["plain", "endoscopic", "tower"] = Field(
        "plain",
        description="endoscopic adds highlights, bubbles, combs, surrounds, mixed scenes; "
        "tower also fringes, dye, narrow-band light, caps, smear, H.264, erased lesions",
    )
    lesion_free: int = Field(
        0, ge=0, description="times that an epoch shows each image without lesion"
    )
    scene_images: int = Field(
        0, ge=0, description="rendered frames of the scene, two of three without a polyp"
    )
    precision: Literal["fp32", "bf16"] = Field(
        "fp32", description="of the forward pass; bf16 is faster on GPUs and CPUs with avx512_bf16"
    )
    encoder: str = Field("lite0", description=f"one of {', '.join(ENCODERS)}")
    bottleneck: str = Field("vqc", description=f"one of {', '.join(BOTTLENECKS)}")
    qubits: int = Field(4, ge=2, le=8, description="features per position; hqconv has 16")
    layers: int = Field(2, ge=1, description="layers of the circuit")
    reuploading: bool = Field(False, description="the vqc encodes its inputs before each layer")
    differentiation: Literal["backprop", "adjoint", "parameter-shift"] = Field(
        "backprop", description="gradient method; all except backprop run the circuit per position"
    )
    pretrained: bool = Field(True, description="start the encoder from ImageNet weights")
    start: Path | None = Field(None, description="bundle with the start weights of all parts")
    start_encoder: Path | None = Field(
        None, description="file of train --pretrain with the start weights of the encoder"
    )
    unlabelled_lists: tuple[str, ...] = Field(
        (),
        description="lists or folders of images whose masks are not read: "
        "for --pretrain, or else to learn the masks of a second network",
    )
    unlabelled_weight: float = Field(
        0.3, ge=0, description="largest weight of masks that the two networks give each other"
    )
    hidden_share: float = Field(
        0.6, gt=0, lt=1, description="share of the 32x32 px cells that --pretrain hides"
    )
    device: Literal["auto", "cpu"] = Field("auto", description="auto uses a GPU if there is one")
    threads: int = Field(0, ge=0, description="threads of torch; 0 lets torch choose")
    workers: int = Field(
        0, ge=0, description="processes that make batches ahead; 0: a thread makes one ahead"
    )

    @field_validator("sides")
    @classmethod
    def _whole_strides(cls, sides: tuple[int, ...]) -> tuple[int, ...]:
        if wrong := [side for side in sides if side < 32 or side % 32]:
            raise ValueError(f"{wrong} are not multiples of 32; use 32, 64, 96 and so on")
        return sides

    @model_validator(mode="after")
    def _patience_needs_validation(self) -> Self:
        if self.patience and not self.val_lists:
            raise ValueError("no list is left to validate on; leave out patience")
        return self

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        if self.start and self.start_encoder:
            raise ValueError("start and start_encoder both give the encoder; leave out one")
        return self

    @model_validator(mode="after")
    def _unlabelled_need_one_side(self) -> Self:
        if self.unlabelled_lists and self.sides:
            raise ValueError("unlabelled_lists work with one side only; set input_size, not sides")
        return self

    @field_validator("encoder", "bottleneck")
    @classmethod
    def _is_known(cls, name: str, info: ValidationInfo) -> str:
        known = {"encoder": ENCODERS, "bottleneck": BOTTLENECKS}[info.field_name or ""]
        if name not in known:
            raise ValueError(f"{name!r} is unknown; use one of {', '.join(known)}")
        return name


def read_overrides(overrides: Sequence[str]) -> dict[str, Any]:
    """Read `KEY=VALUE` texts with values in YAML; raise ConfigError for another form."""
    values = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ConfigError(f"--set {override!r} is not key=value")
        values[key] = read_override(key, text)
    return values


def check_settings(values: Mapping[str, Any]) -> TrainSettings:
    """Build settings from values; raise ConfigError with the first wrong one."""
    try:
        return TrainSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = first["loc"][0] if first["loc"] else "settings"
        raise ConfigError(f"training setting {where}: {first['msg']}") from None

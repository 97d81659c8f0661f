"""Finds out in which form a network comes, and reads it."""

from pathlib import Path

from qlumen.errors import UsageError
from qlumen.networks.foreign.description import Facts, Foreign

FORMS = (
    "an .onnx file, a .pt2 program of torch.export, a checkpoint of segmentation_models.pytorch "
    "(a folder, .pth, .pt, .ckpt, .bin or .safetensors), a result folder of nnU-Net v2 or a MONAI "
    "bundle"
)
CHECKPOINTS = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")


def read_foreign(path: Path, answers: Facts) -> Foreign:
    """Read and check a network in any of `FORMS`; libraries may raise errors of any type.

    Raises:
        UsageError: the path is none of them, or its files do not say what it is.
        BundleError: it holds something that would be run, or is too large.
    """
    if path.suffix == ".onnx":
        from qlumen.networks.foreign.onnx_file import read_onnx as read
    elif path.suffix == ".pt2":
        from qlumen.networks.foreign.torch_export import read_torch_export as read
    elif (path / "configs" / "metadata.json").is_file():
        from qlumen.networks.foreign.monai import read_monai as read
    elif path.is_dir() and any((one / "plans.json").is_file() for one in (path, path.parent)):
        from qlumen.networks.foreign.nnunet import read_nnunet as read
    elif path.suffix in CHECKPOINTS or (path / "config.json").is_file():
        from qlumen.networks.foreign.smp import read_smp as read
    else:
        raise UsageError(f"{path} is no network that can be imported; give {FORMS}")
    return read(path, answers)

"""Runs `qlumen import`, which makes a bundle of a network of other makers."""

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import click

from qlumen.errors import MissingExtraError, UsageError
from qlumen.networks.bundle import Fit, check_replaceable
from qlumen.realtime.review.intake.limits import MIB, Limits
from qlumen.realtime.review.worker_process import WorkerProcess
from qlumen.system.files import replacing
from qlumen.system.output_paths import PATH

LIMITS = Limits(
    max_bytes=1024 * MIB, max_s=0, max_pixels=1 << 24, memory_bytes=8192 * MIB, cpu_s=1200,
    stall_s=600, subject="the model", advice="import a smaller one",
)  # fmt: skip
LONGEST_LICENCE, LONGEST_NAME = 1 << 16, 200


def _size(context: click.Context, option: click.Parameter, value: str | None) -> Any:
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", value or "")
    if value and not match:
        raise click.BadParameter(f"{value!r} is not a size; give one such as 512x384")
    return match and (int(match[1]), int(match[2]))


def _class(context: click.Context, option: click.Parameter, value: str | None) -> Any:
    match = re.fullmatch(r"([^=]{1,100})=(\d{1,4})", value or "")
    if value and not match:
        raise click.BadParameter(f"{value!r} is not a class; give name and number: polyp=1")
    return match and (match[1], int(match[2]))


def _classes(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> Any:
    return tuple(_class(context, option, value) for value in values) or None


def _licence(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    if value and len(value) < LONGEST_NAME and Path(value).is_file():
        value = Path(value).read_bytes()[:LONGEST_LICENCE].decode("utf-8", "replace")
    return value


@click.command("import")
@click.argument("model", type=PATH)
@click.option("--output", type=PATH, required=True, help="Folder for the bundle.")
@click.option("--class", "target", callback=_class, help="Class to draw, such as polyp=1.")
@click.option("--also", "others", callback=_classes, multiple=True,
              help="Class to draw in another colour: instrument=2; may be repeated.")  # fmt: skip
@click.option("--size", callback=_size, help="Width and height of the input: 512x384.")
@click.option("--channels", type=click.Choice(("rgb", "bgr", "grey")), help="Order of channels.")
@click.option("--normalise", help="imagenet, unit (0 to 1), none (0 to 255), image (each by its "
              "own mean and deviation) or MEAN/STD of bytes.")  # fmt: skip
@click.option("--fit", type=click.Choice(get_args(Fit)), help="How a frame fills the input.")
@click.option("--activation", type=click.Choice(("sigmoid", "softmax", "none")),
              help="What makes probabilities of the output.")  # fmt: skip
@click.option("--axes", type=click.Choice(("yx", "xy")), help="xy for transposed images.")
@click.option("--architecture", help="Architecture in segmentation_models.pytorch: Unet.")
@click.option("--encoder", help="Encoder in segmentation_models.pytorch: resnet34.")
@click.option("--licence", callback=_licence,
              help="Licence of the network: a name, a text, or a file with it.")  # fmt: skip
def command(model: Path, output: Path, **given: Any) -> None:
    """Make a bundle of a network of other makers.

    MODEL is an ONNX file, a program of torch.export, a checkpoint of
    segmentation_models.pytorch, a result folder of nnU-Net v2, a MONAI bundle, or an Ultralytics
    -seg model exported to ONNX. What its files do not say is asked for by an option. The masks of
    the bundle must be those of the original, which runs on frames of the built-in scene.
    """
    if not model.exists():
        raise UsageError(f"no file or folder {model}")
    missing = [name for name in ("torch", "onnx", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise MissingExtraError(f"import needs {missing[0]}: pip install 'qlumen[import]'")
    if not output.absolute().parent.is_dir() or output.resolve() == model.resolve():
        raise UsageError(f"--output {output}: name another folder, in one that exists")
    check_replaceable(output)
    answers = {key: value for key, value in given.items() if value is not None}
    record = import_model(model, output, answers)
    parity = record["parity"]
    click.echo(
        f"wrote {output}: {record['kind']}, class {record['drawn_class'][0]}; in "
        f"{parity['frames']} frames {parity['differing_share']:.2e} of the pixels have another "
        f"mask than the original's ({parity['found_share']:.1%} belong to findings), and maps "
        f"differ by at most {parity['max_difference']:.1e}"
    )


def import_model(model: Path, output: Path, answers: dict[str, Any]) -> dict[str, Any]:
    """Import `model` in a process with limits, and then replace `output`.

    Args:
        answers: fields of `networks.foreign.description.Facts`

    Returns:
        The record of the import.

    Raises:
        WorkerError: the model is refused, or reached a limit; the message says why
    """
    with replacing(output) as part:
        arguments = {"model": str(model.resolve()), "folder": str(part), "answers": answers,
                     "name": output.resolve().name}  # fmt: skip
        record: dict[str, Any] = WorkerProcess("import", arguments, LIMITS).result()
    return record

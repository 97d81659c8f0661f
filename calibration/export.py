"""Runs `qlumen export`, which writes a bundle's network for other runtimes and checks it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, get_args

import click
import numpy as np
from numpy.typing import NDArray

from qlumen.errors import EngineError, MissingExtraError, SinkError, UsageError
from qlumen.networks.bundle import Bundle, Precision, find_bundle, read_bundle
from qlumen.networks.identity import origin
from qlumen.networks.openvino import ov
from qlumen.realtime.config.settings import Settings, load_settings
from qlumen.realtime.engines.base import Probability
from qlumen.realtime.engines.cache import pack_engine
from qlumen.realtime.engines.openvino import OpenVinoEngine
from qlumen.realtime.frames import Frame
from qlumen.realtime.pixels.arrays import Image
from qlumen.realtime.segmentation.geometry import Geometry
from qlumen.realtime.segmentation.postprocess import Postprocessor
from qlumen.realtime.segmentation.preprocess import Preprocessor
from qlumen.realtime.segmentation.segmenter import thresholds
from qlumen.realtime.sources.choose import open_source
from qlumen.system.output_paths import PATH, check_paths

Format = Literal["onnx", "openvino", "torch-export", "tensorrt-rtx"]
FORMATS: tuple[Format, ...] = get_args(Format)
SUFFIXES = {"onnx": ".onnx", "openvino": ".xml", "torch-export": ".pt2", "tensorrt-rtx": ".plan"}
ONNX = ("torch", "onnx", "onnxscript")
REQUIRED = {
    "onnx": ONNX,
    "openvino": (),
    "torch-export": ("torch",),
    "tensorrt-rtx": (*ONNX, "tensorrt_rtx_bindings"),
}
"""Packages that each format needs."""
EXTRAS = {"tensorrt-rtx": "train,rtx"}
"""Extras that have them, where it is not `train` alone."""
MAX_DIFFERING_SHARE = {"f32": 1e-4, "f16": 1e-3, "bf16": 1e-2, "int8": 1e-2}
"""Largest share of pixels whose mask may differ from the bundle's network in FP32."""
Network = Callable[[Image], Probability]
"""Function from `(H, W, 3) uint8` BGR at the network's size to its map."""
SCENE = ("scene.width=640", "scene.height=480", "scene.fps=1", "scene.frames=12", "scene.seed=1")
"""One frame of each of twelve seconds, in which polyps appear and disappear."""


@dataclass(frozen=True, slots=True)
class Parity:
    """Compares the masks and maps of two networks.

    Attributes:
        frames: number of compared frames
        found_share: share of their pixels in a finding of the first network
        differing_share: share of their pixels that only one of the two masks holds
        max_difference: largest difference of the two maps
    """

    frames: int
    found_share: float
    differing_share: float
    max_difference: float


@click.command("export")
@click.option("--format", "format_", type=click.Choice(FORMATS), required=True)
@click.option("--output", type=PATH, required=True, help="New file: .onnx, .xml, .pt2 or .plan.")
@click.option("--bundle", "folder", type=PATH, help="Bundle folder; default: the shipped one.")
@click.option("--precision", type=click.Choice(get_args(Precision)),
              help="Precision; default: f32, or f16 for tensorrt-rtx.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace an existing file.")
def command(
    format_: Format, output: Path, folder: Path | None, precision: Precision | None, force: bool
) -> None:
    """Write a bundle's network in another format.

    The new file first runs on frames of the built-in scene. It must draw the masks of the bundle.
    The file contains the preprocessing except the resize. It does not contain the thresholds.
    For tensorrt-rtx it is the ONNX from which the plan is compiled, because a plan needs a card.
    """
    folder = folder or find_bundle()
    precision = precision or ("f16" if format_ == "tensorrt-rtx" else "f32")
    _check(format_, output, folder, precision, force)
    parity = export(read_bundle(folder), format_, output, precision)
    click.echo(
        f"wrote {output}: in {parity.frames} frames {parity.differing_share:.2e} of the pixels "
        f"have another mask ({parity.found_share:.1%} belong to findings), and maps differ by at "
        f"most {parity.max_difference:.1e}"
    )


def export(bundle: Bundle, format_: Format, output: Path, precision: Precision = "f32") -> Parity:
    """Write and compare the network, and only then replace a file at `output`.

    Raises:
        EngineError: the written network draws other masks, or TensorRT-RTX cannot compile it
        BundleError: the bundle holds no torch weights, for another format than openvino
        SinkError: the file cannot be written
    """
    try:
        with TemporaryDirectory(prefix=".export-", dir=output.absolute().parent) as folder:
            written = Path(folder) / output.name
            if format_ == "tensorrt-rtx":
                written = written.with_suffix(".onnx")
            _write(bundle, format_, written, precision)
            parity = _compare(bundle, format_, written)
            eight_bit = format_ == "tensorrt-rtx" and bundle.ranges is not None
            limit = MAX_DIFFERING_SHARE["int8" if eight_bit else precision]
            if parity.differing_share > limit:
                raise EngineError(
                    f"the network as {format_} differs from the bundle's in "
                    f"{parity.differing_share:.1e} of the pixels; at most {limit:.0e} may differ; "
                    f"{output} is not written: use another precision, or report this"
                )
            if format_ == "tensorrt-rtx":
                from qlumen.realtime.engines.tensorrt_rtx import compile_plan, plan_key

                plan = pack_engine(plan_key(bundle, precision), compile_plan(written.read_bytes()))
                written.unlink()
                written.with_name(output.name).write_bytes(plan)
            for path in sorted(Path(folder).iterdir()):
                path.replace(output.with_name(path.name))
    except OSError as error:
        raise SinkError(f"{output} cannot be written: {error.strerror}") from None
    return parity


def scene_frames() -> list[Frame]:
    """Return twelve frames, the same at each call."""
    settings = load_settings(None, SCENE)
    with open_source("scene", settings) as source:
        return list(source.frames())


def compare(bundle: Bundle, frames: Sequence[Frame], first: Network, second: Network) -> Parity:
    """Compare masks after the thresholds of `bundle`, at the frames' own size."""
    spec = bundle.manifest.input
    preprocess = Preprocessor((spec.width, spec.height), spec.fit)
    postprocess = Postprocessor(**thresholds(bundle, Settings()))

    def compare_maps() -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_], float]]:
        for frame in frames:
            image = preprocess(frame.pixels)
            maps = [network(image) for network in (first, second)]
            rows, columns = maps[0].shape
            geometry = Geometry.of(frame.size, (columns, rows), spec.fit)
            one, other = (postprocess(map_, geometry).mask.astype(bool) for map_ in maps)
            yield one, other, float(np.abs(maps[0] - maps[1]).max())

    results = list(compare_maps())
    pixels = sum(one.size for one, _, _ in results)
    return Parity(
        frames=len(results),
        found_share=sum(int(one.sum()) for one, _, _ in results) / pixels,
        differing_share=sum(int((one != other).sum()) for one, other, _ in results) / pixels,
        max_difference=max(difference for _, _, difference in results),
    )


def write_openvino(bundle: Bundle, path: Path) -> None:
    """Write the compiled form of the bundle, quantised or not, as `path` and its `.bin`.

    Raises:
        RuntimeError: the form cannot be read or written
    """
    model = ov.Core().read_model(bundle.model)
    for key, value in origin(bundle).items():
        model.set_rt_info(value, key)
    ov.save_model(model, path, compress_to_fp16=False)


def _check(format_: Format, output: Path, folder: Path, precision: str, force: bool) -> None:
    suffix = SUFFIXES[format_]
    if output.suffix != suffix:
        raise UsageError(f"--output {output} will be {format_}; give it the ending {suffix}")
    if format_ == "openvino" and precision != "f32":
        raise UsageError("--precision is not for openvino; set engine.precision for the run")
    if format_ == "tensorrt-rtx" and precision == "bf16":
        raise UsageError("--precision bf16 is not for tensorrt-rtx; use f16 or f32")
    check_paths([folder], [("--output", output)], [])
    files = [output, output.with_suffix(".bin")] if format_ == "openvino" else [output]
    for path in files:
        if path.exists() and not force:
            raise UsageError(f"{path} exists; use --force, or another name")
    missing = [name for name in REQUIRED[format_] if find_spec(name) is None]
    if missing:
        raise MissingExtraError(
            f"--format {format_} needs {missing[0].replace('_', '-')}: "
            f"pip install 'qlumen[{EXTRAS.get(format_, 'train')}]'"
        )


def _write(bundle: Bundle, format_: Format, path: Path, precision: Precision) -> None:
    if format_ == "openvino":
        write_openvino(bundle, path)
        return
    from qlumen.networks.torch_formats import write_onnx, write_torch_export

    if format_ == "torch-export":
        write_torch_export(bundle, path, precision)
    else:
        eight_bit = format_ == "tensorrt-rtx" and bundle.ranges is not None
        write_onnx(bundle, path, precision, eight_bit=eight_bit)


def _compare(bundle: Bundle, format_: Format, written: Path) -> Parity:
    frames = scene_frames()
    with OpenVinoEngine(bundle.model) as own, _open_network(format_, written) as other:
        return compare(bundle, frames, own.infer, other)


@contextmanager
def _open_network(format_: Format, path: Path) -> Iterator[Network]:
    """Open the written file in its runtime; use OpenVINO for ONNX without ONNX Runtime."""
    if format_ == "torch-export":
        from qlumen.networks.torch_formats import read_torch_export

        yield read_torch_export(path)
    elif format_ in ("onnx", "tensorrt-rtx") and find_spec("onnxruntime"):
        from qlumen.realtime.engines.onnxruntime import OnnxRuntimeEngine

        with OnnxRuntimeEngine(path) as engine:
            yield engine.infer
    else:
        with OpenVinoEngine(path) as engine:
            yield engine.infer

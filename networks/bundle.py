"""Reads and checks model bundles: folders with a trained network and its description.

    bundle.json            input, thresholds, circuit, provenance, metrics, hashes
    weights.safetensors    trained weights in half precision, the circuit's in single;
                           an INT8 bundle has only the circuit's, and no file without a circuit
    circuit.safetensors    exact tables of the circuit in double precision, if it has a circuit
    ranges.safetensors     ranges of the convolutions that TensorRT runs in 8 bits, if any
    network.xml, .bin      compiled form that the OpenVINO engine loads
    CARD.md                description for people

A bundle of `qlumen import` holds a network of other makers. Its weights, if it has such a file,
are those of the original. No file is a pickle, and no file is used before its SHA-256 is checked.
This module needs no torch; `networks/export.py` writes new bundles.
"""

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from qlumen.errors import BundleError, BundleHashError
from qlumen.system.files import write_json

FORMAT = 1
MANIFEST = "bundle.json"
MODEL = "network.xml"
MODEL_WEIGHTS = "network.bin"
WEIGHTS = "weights.safetensors"
TABLES = "circuit.safetensors"
RANGES = "ranges.safetensors"
CARD = "CARD.md"
SHIPPED, SHIPPED_INT8 = "lite0-vqc4", "lite0-vqc4-int8"
RESIZED_FROM = "resized_from"
"""Provenance key: SHA-256 of the bundle of another input size that gave the weights."""

Precision = Literal["f32", "bf16", "f16"]
"""Number formats that a network can compute in."""
Fit = Literal["stretch", "letterbox"]
"""Ways to resize a frame: fill the input, or keep proportions, with black bars."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputSpec(_Record):
    """Describes the input, `(1, height, width, 3) uint8` BGR, which the network normalises.

    `mean` and `std` are one value, or one for each channel in the network's order; None where the
    network computes them from each image.
    """

    width: int = Field(gt=0)
    height: int = Field(gt=0)
    fit: Fit
    mean: float | tuple[float, ...] | None
    std: float | tuple[float, ...] | None


class Thresholds(_Record):
    """Holds the thresholds of `realtime/segmentation/postprocess.py`."""

    low: float = Field(gt=0, lt=1)
    high: float = Field(gt=0, lt=1)
    min_area_fraction: float = Field(ge=0, lt=1)

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        return self


class QuantumRecord(_Record):
    """Describes the circuit in the bottleneck and the exact tables that replace it.

    Attributes:
        key: hash of circuit, weights and device, on which the tables depend.
        shots: measurements of each run that made the tables; None for exact values.
        circuit_runs: number of inputs that the device ran.
        table_shapes, tables_sha256: values of the one table, or of the row and column tables.
        max_abs_error: error against live runs without shots, for `checked_inputs` random inputs.
        standard_error: standard error of an output from the shots.
    """

    circuit: str
    weights_sha256: str
    key: str
    device: str
    shots: int | None
    circuit_runs: int
    table_shapes: tuple[tuple[int, int], ...]
    tables_sha256: tuple[str, ...]
    max_abs_error: float
    checked_inputs: int
    standard_error: float


class QuantisedRecord(_Record):
    """Describes how an INT8 bundle was made.

    Attributes:
        bundle_sha256: SHA-256 of the source bundle, which holds the trained weights.
        pictures, pictures_sha256: number of images whose activations set the ranges, and
            hash of their names in order.
        left_in_f32: graph names of the convolutions that are not quantised.
        nncf: version of the library.
        report: figures of both bundles from one run.
    """

    bundle_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    pictures: int
    pictures_sha256: str
    left_in_f32: tuple[str, ...]
    nncf: str
    report: dict[str, Any]


class RangesRecord(_Record):
    """Describes how the 8-bit ranges for TensorRT were found.

    Attributes:
        bundle_sha256: SHA-256 of this bundle without the ranges.
        pictures, pictures_sha256: same as in `QuantisedRecord`.
        left: convolutions of encoder and decoder that are not in 8 bits.
        method: rule that derives a range from the values seen.
        modelopt: version of the library.
        report: figures of both arithmetics in torch, from one run.
    """

    bundle_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    pictures: int
    pictures_sha256: str
    left: tuple[str, ...]
    method: str
    modelopt: str
    report: dict[str, Any]


class ImportedRecord(_Record):
    """Describes where the network of other makers in a bundle comes from.

    Attributes:
        kind: form that it was imported from.
        source, source_sha256: name of the file or folder, and hash of its files.
        licence: name or text of its licence.
        drawn_class: name and number of the class that is drawn.
        others: names and numbers of other classes that are drawn in another colour.
        preparation: channel order, normalisation and activation, as the options of the command.
        left_out: what of the original's way from image to mask the bundle does not do.
        parity: comparison with the original in its own runtime, on frames of the scene.
    """

    kind: str
    source: str
    source_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    licence: str
    drawn_class: tuple[str, int]
    others: tuple[tuple[str, int], ...] = ()
    preparation: dict[str, Any]
    left_out: tuple[str, ...]
    parity: dict[str, Any] = {}


class AlarmRecord(_Record):
    """Holds the alarms on test videos at one position of `postprocess.sensitivity`.

    Attributes:
        high: threshold of that position.
        false_per_minute: false alarms a minute without a lesion, by kind of video.
        found_in_3_s: share of lesions with an alarm within 3 s.
    """

    high: float
    false_per_minute: dict[str, float]
    found_in_3_s: float


class Manifest(_Record):
    """Holds the content of `bundle.json`.

    Attributes:
        quantised: record of an INT8 bundle.
        ranges: record of a bundle that TensorRT runs in INT8.
        calibration: values that `qlumen calibrate threshold` fitted, the method and figures.
        alarms: alarms that `qlumen calibrate alarms` measured, by the position of the dial.
        imported: record of a bundle that `qlumen import` made.
    """

    format: int
    name: str
    version: str
    created: str
    network: dict[str, Any]
    input: InputSpec
    thresholds: Thresholds
    quantum: QuantumRecord | None
    provenance: dict[str, Any]
    metrics: dict[str, Any]
    files: dict[str, str]
    quantised: QuantisedRecord | None = None
    ranges: RangesRecord | None = None
    calibration: dict[str, Any] = {}
    alarms: dict[int, AlarmRecord] = {}
    imported: ImportedRecord | None = None


@dataclass(frozen=True, slots=True)
class Bundle:
    """Describes a checked bundle; `sha256` covers the manifest with all other files' hashes."""

    folder: Path
    manifest: Manifest
    sha256: str

    @property
    def model(self) -> Path:
        return self.folder / MODEL

    @property
    def precision(self) -> Literal["f32", "int8"]:
        """Return the precision of the compiled weights; an engine chooses its arithmetic later."""
        return "int8" if self.manifest.quantised else "f32"

    @property
    def ranges(self) -> Path | None:
        """Return the file of ranges for TensorRT in 8 bits; None if the bundle has no ranges."""
        return self.folder / RANGES if self.manifest.ranges else None

    @property
    def weights(self) -> Path:
        """Return the file of trained weights; raise BundleError if the bundle is INT8 or imported.

        Only qlumen's own network is built again from weights.
        """
        if self.manifest.imported:
            raise BundleError(
                f"{self.folder} holds an imported network ({self.manifest.imported.kind}), which "
                "only OpenVINO runs; set engine.name=openvino, or use a bundle of qlumen train"
            )
        if record := self.manifest.quantised:
            raise BundleError(
                f"{self.folder} is an INT8 bundle, without the trained weights; run it with "
                "engine.name=openvino, or use the bundle it was made from, whose SHA-256 "
                f"begins with {record.bundle_sha256[:12]}"
            )
        return self.folder / WEIGHTS


def read_bundle(folder: Path) -> Bundle:
    """Read and check a bundle.

    Raises:
        BundleError: the folder holds no bundle, another format or a broken manifest.
        BundleHashError: a file has another SHA-256 than the manifest says.
    """
    path = folder / MANIFEST
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"no model bundle in {folder}: {MANIFEST}: {error.strerror}; "
            "give the folder of a bundle, or leave it out for the shipped bundle"
        ) from None
    manifest = _parse(path, data)
    unchecked = sorted(_required_names(manifest) - manifest.files.keys())
    if unchecked:
        raise BundleError(f"{path} has no hash of {unchecked[0]}; restore it or export it again")
    for name, wanted in manifest.files.items():
        _check_file(folder, name, wanted)
    return Bundle(folder, manifest, hashlib.sha256(data).hexdigest())


def find_bundle(name: str = SHIPPED) -> Path:
    """Return the folder of an installed bundle: the FP32 one, or the INT8 one made from it."""
    return Path(str(files("qlumen.models"))) / name


def check_replaceable(folder: Path) -> None:
    """Raise BundleError unless `folder` is missing, empty or holds only a bundle."""
    if folder.exists() and not folder.is_dir():
        raise BundleError(f"{folder} is a file; name a folder for the bundle")
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    foreign = sorted(names - {MANIFEST, MODEL, MODEL_WEIGHTS, WEIGHTS, TABLES, RANGES, CARD})
    if foreign:
        raise BundleError(f"{folder} holds {foreign[0]}, not a bundle file; name another folder")


def write_manifest(folder: Path, manifest: Manifest) -> Bundle:
    """Write `manifest` atomically, as the last file, with the hashes of the files in `folder`."""
    names = sorted(p.name for p in folder.iterdir() if p.name != MANIFEST)
    hashes = {name: file_sha256(folder / name) for name in names}
    complete = manifest.model_copy(update={"files": hashes})
    write_json(folder / MANIFEST, complete.model_dump(mode="json"))
    return read_bundle(folder)


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _required_names(manifest: Manifest) -> set[str]:
    bare = manifest.imported or (manifest.quantised and manifest.quantum is None)
    ranges = {RANGES} if manifest.ranges else set()
    return {MODEL, MODEL_WEIGHTS} | ranges | (set() if bare else {WEIGHTS})


def _parse(path: Path, data: bytes) -> Manifest:
    try:
        values = json.loads(data)
        found = values["format"]
    except (ValueError, TypeError, KeyError):
        raise BundleError(f"{path} is no bundle manifest; restore it or export it again") from None
    if found != FORMAT:
        raise BundleError(f"{path} has format {found}; this qlumen reads format {FORMAT}")
    try:
        return Manifest.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{path}: {key}: {first['msg']}") from None


def _check_file(folder: Path, name: str, wanted: str) -> None:
    path = folder / name
    if Path(name).name != name or not path.is_file():
        raise BundleError(f"{path} is missing; restore it or export the bundle again")
    found = file_sha256(path)
    if found != wanted:
        raise BundleHashError(
            f"{path} does not match its bundle: SHA-256 {found[:12]}..., want {wanted[:12]}...; "
            "restore the file or export the bundle again"
        )

"""The model bundle: a folder with everything that runs a trained network, and its papers.

    bundle.json            what it is: input, thresholds, circuit, provenance, metrics, hashes
    weights.safetensors    the trained weights, half precision (the circuit's in single);
                           of an INT8 bundle the circuit's alone, and none without a circuit
    circuit.safetensors    the circuit's exact tables in double precision, if it has a circuit
    ranges.safetensors     of the convolutions that TensorRT is to run in 8 bits, if it is to
    network.xml, .bin      the compiled form that the OpenVINO engine loads
    CARD.md                for people

No file of it is a pickle, and none is used before its SHA-256 has been compared. Needs no
torch: `networks/export.py` writes bundles.
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
"""In the provenance: SHA-256 of the bundle of another input size that the weights come from."""
CHUNK_BYTES = 1 << 20

Precision = Literal["f32", "bf16", "f16"]
"""Of a network's arithmetic."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputSpec(_Record):
    """The network takes `(1, height, width, 3) uint8` BGR and normalises it itself."""

    width: int = Field(gt=0)
    height: int = Field(gt=0)
    fit: Literal["stretch", "letterbox"]
    mean: float
    std: float


class Thresholds(_Record):
    """Of the post-processing; see `realtime/segmentation/postprocess.py`."""

    low: float = Field(gt=0, lt=1)
    high: float = Field(gt=0, lt=1)
    min_area_fraction: float = Field(ge=0, lt=1)

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        return self


class QuantumRecord(_Record):
    """The circuit in the bottleneck and the exact tables that stand for it.

    Attributes:
        key: hash of circuit, weights and device: of all that the tables depend on.
        shots: of each run that the tables were made from; none: exact values.
        circuit_runs: inputs that the device was run on.
        table_shapes, tables_sha256: of the one table, or of a row's and a column's.
        max_abs_error: from live execution without shots, over `checked_inputs` random inputs.
        standard_error: of an output, from the shots.
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
    """How an INT8 bundle was made.

    Attributes:
        bundle_sha256: of the bundle it was made from, which holds the trained weights.
        pictures, pictures_sha256: number of those whose activations set the ranges, and hash
            of their names in order.
        left_in_f32: convolutions that are not quantised, by their names in the graph.
        nncf: version of the library.
        report: figures of both bundles, measured in one run.
    """

    bundle_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    pictures: int
    pictures_sha256: str
    left_in_f32: tuple[str, ...]
    nncf: str
    report: dict[str, Any]


class RangesRecord(_Record):
    """How the 8-bit ranges for TensorRT were found.

    Attributes:
        bundle_sha256: of the bundle they were made for: this one without them.
        pictures, pictures_sha256: as of `QuantisedRecord`.
        left: convolutions of encoder and decoder that are not in 8 bits.
        method: by which a range follows from the values seen.
        modelopt: version of the library.
        report: figures of both arithmetics, in torch, measured in one run.
    """

    bundle_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    pictures: int
    pictures_sha256: str
    left: tuple[str, ...]
    method: str
    modelopt: str
    report: dict[str, Any]


class Manifest(_Record):
    """What `bundle.json` holds.

    Attributes:
        quantised: of an INT8 bundle.
        ranges: of a bundle that TensorRT runs in INT8.
        calibration: what `qlumen calibrate threshold` fitted, how, and its figures.
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


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose files have been checked.

    Attributes:
        sha256: of the manifest, which holds the hashes of all other files.
    """

    folder: Path
    manifest: Manifest
    sha256: str

    @property
    def model(self) -> Path:
        return self.folder / MODEL

    @property
    def precision(self) -> Literal["f32", "int8"]:
        """Of the compiled form's weights, before an engine chooses its arithmetic."""
        return "int8" if self.manifest.quantised else "f32"

    @property
    def ranges(self) -> Path | None:
        """Of the convolutions that TensorRT is to run in 8 bits; none where it is not to."""
        return self.folder / RANGES if self.manifest.ranges else None

    @property
    def weights(self) -> Path:
        """The trained weights, for training and for engines that run them; BundleError if this
        is an INT8 bundle."""
        if record := self.manifest.quantised:
            raise BundleError(
                f"{self.folder} is an INT8 bundle, without the trained weights: it runs with "
                "engine.name=openvino; for all else use the bundle it was made from, whose "
                f"SHA-256 begins with {record.bundle_sha256[:12]}"
            )
        return self.folder / WEIGHTS


def read_bundle(folder: Path) -> Bundle:
    """Read and check a bundle.

    Raises:
        BundleError: no bundle there, of another format, or its manifest is broken.
        BundleHashError: a file differs from the one the bundle was written with.
    """
    path = folder / MANIFEST
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"no model bundle in {folder}: {MANIFEST}: {error.strerror}; "
            "give the folder of one, or none for the shipped bundle"
        ) from None
    manifest = _parse(path, data)
    unchecked = sorted(_required_names(manifest) - manifest.files.keys())
    if unchecked:
        raise BundleError(f"{path} has no hash of {unchecked[0]}; restore it or export again")
    for name, wanted in manifest.files.items():
        _check_file(folder, name, wanted)
    return Bundle(folder, manifest, hashlib.sha256(data).hexdigest())


def find_bundle(name: str = SHIPPED) -> Path:
    """The folder of a bundle that is installed with qlumen: the trained one, in FP32, or
    `SHIPPED_INT8`, which was made from it."""
    return Path(str(files("qlumen.models"))) / name


def check_replaceable(folder: Path) -> None:
    """Raise BundleError if a bundle cannot be written to `folder` without harm.

    A folder that is missing or empty is fine, and so is one with nothing but a bundle.
    """
    if folder.exists() and not folder.is_dir():
        raise BundleError(f"{folder} is a file; name a folder for the bundle")
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    foreign = sorted(names - {MANIFEST, MODEL, MODEL_WEIGHTS, WEIGHTS, TABLES, RANGES, CARD})
    if foreign:
        raise BundleError(f"{folder} holds {foreign[0]}, no part of a bundle; name another folder")


def write_manifest(folder: Path, manifest: Manifest) -> Bundle:
    """Write `manifest` with the hashes of the files that lie in `folder`, last and at once."""
    names = sorted(p.name for p in folder.iterdir() if p.name != MANIFEST)
    hashes = {name: file_sha256(folder / name) for name in names}
    complete = manifest.model_copy(update={"files": hashes})
    write_json(folder / MANIFEST, complete.model_dump(mode="json"))
    return read_bundle(folder)


def file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _required_names(manifest: Manifest) -> set[str]:
    """Files without which the bundle cannot be used."""
    bare = manifest.quantised is not None and manifest.quantum is None
    ranges = {RANGES} if manifest.ranges else set()
    return {MODEL, MODEL_WEIGHTS} | ranges | (set() if bare else {WEIGHTS})


def _parse(path: Path, data: bytes) -> Manifest:
    try:
        values = json.loads(data)
        found = values["format"]
    except (ValueError, TypeError, KeyError):
        raise BundleError(
            f"{path} is not a bundle's manifest; restore it or export again"
        ) from None
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
        raise BundleError(f"{path} is missing from its bundle; restore it or export again")
    found = file_sha256(path)
    if found != wanted:
        raise BundleHashError(
            f"{path} does not match its bundle: SHA-256 {found[:12]}..., want {wanted[:12]}...; "
            "restore the file or export the bundle again"
        )

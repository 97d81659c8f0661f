import json
from pathlib import Path

import numpy as np
import pytest
import torch

from qlumen.errors import BundleError, BundleHashError
from qlumen.networks.bundle import (
    MANIFEST,
    MODEL,
    WEIGHTS,
    Bundle,
    QuantisedRecord,
    Thresholds,
    find_bundle,
    read_bundle,
    write_manifest,
)
from qlumen.networks.export import write_bundle
from qlumen.networks.trained import Deployed, load_network, network_config
from qlumen.networks.unet import UNet
from qlumen.realtime.engines.openvino import OpenVinoEngine

from support.few_checks import few_checks

SIZE = 64
THRESHOLDS = Thresholds(low=0.4, high=0.6, min_area_fraction=0.001)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Write a bundle of an untrained network."""
    torch.manual_seed(0)
    with few_checks():
        return write_bundle(
            tmp_path_factory.mktemp("bundle"),
            UNet().eval(),
            name="test",
            version="0",
            size=SIZE,
            thresholds=THRESHOLDS,
            provenance={"origin": "test"},
        )


QUANTISED = QuantisedRecord(
    bundle_sha256="ab" * 32, pictures=1, pictures_sha256="", left_in_f32=(), nncf="3", report={}
)


def copy_bundle(bundle: Bundle, folder: Path) -> Path:
    for path in bundle.folder.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_compiled_form_and_weights_are_one_network(bundle: Bundle) -> None:
    """The engine's map equals that of the torch network with stored weights and a live circuit."""
    network = load_network(bundle.folder / WEIGHTS, network_config(bundle.manifest.network))
    image = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    with torch.no_grad():
        wanted = Deployed(network)(torch.from_numpy(image)[None])[0, 0].numpy()
    with OpenVinoEngine(bundle.model) as engine:
        np.testing.assert_allclose(engine.infer(image), wanted, atol=2e-3)


def test_reading_gives_the_written_bundle(bundle: Bundle) -> None:
    """A bundle that is read back has the same manifest and hash."""
    again = read_bundle(bundle.folder)
    assert again == bundle
    assert again.manifest.thresholds == THRESHOLDS
    assert again.manifest.quantum is not None
    assert again.manifest.quantum.max_abs_error < 1e-10


@pytest.mark.parametrize("name", [MODEL, WEIGHTS])
def test_changed_file_is_refused(bundle: Bundle, tmp_path: Path, name: str) -> None:
    """A bundle with one flipped bit in a file is refused."""
    folder = copy_bundle(bundle, tmp_path)
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(BundleHashError, match=f"{name} does not match"):
        read_bundle(folder)


def test_missing_file_is_named(bundle: Bundle, tmp_path: Path) -> None:
    """The message names the file that is missing from a bundle."""
    folder = copy_bundle(bundle, tmp_path)
    (folder / WEIGHTS).unlink()
    with pytest.raises(BundleError, match=f"{WEIGHTS} is missing"):
        read_bundle(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99}, "format 99; this qlumen reads format 1"),
        ({"thresholds": {"low": 2, "high": 0.5, "min_area_fraction": 0}}, "thresholds.low"),
        ({"thresholds": {"low": 0.9, "high": 0.5, "min_area_fraction": 0}}, "is above high"),
        ({"surprise": 1}, "surprise"),
        ({"files": {}}, "has no hash of network.bin"),
    ],
)
def test_foreign_manifest_is_refused(
    bundle: Bundle, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    """The message names another format, a value out of bounds, an unknown key or a lost hash."""
    folder = copy_bundle(bundle, tmp_path)
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(manifest | change))
    with pytest.raises(BundleError, match=message):
        read_bundle(folder)


def test_manifest_cannot_name_files_elsewhere(bundle: Bundle, tmp_path: Path) -> None:
    """A path that leads out of the bundle's folder is refused."""
    folder = copy_bundle(bundle, tmp_path)
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"]["../outside"] = "0"
    (folder / MANIFEST).write_text(json.dumps(manifest))
    (tmp_path.parent / "outside").write_text("x")
    with pytest.raises(BundleError, match="outside"):
        read_bundle(folder)


def test_int8_bundle_names_where_its_weights_are(bundle: Bundle, tmp_path: Path) -> None:
    """An INT8 bundle gives its precision; the error for its weights names the bundle with them."""
    assert (bundle.precision, bundle.weights) == ("f32", bundle.folder / WEIGHTS)
    manifest = bundle.manifest.model_copy(update={"quantised": QUANTISED})
    made = write_manifest(copy_bundle(bundle, tmp_path), manifest)
    assert made.precision == "int8"
    with pytest.raises(BundleError, match=r"without the trained weights.*abababababab"):
        _ = made.weights


def test_weights_may_be_missing_only_from_int8_without_circuit(
    bundle: Bundle, tmp_path: Path
) -> None:
    """A live circuit needs its weights, and training needs all of them."""
    folder = copy_bundle(bundle, tmp_path)
    (folder / WEIGHTS).unlink()
    int8 = bundle.manifest.model_copy(update={"quantised": QUANTISED})
    for manifest in (bundle.manifest, int8):
        with pytest.raises(BundleError, match=f"has no hash of {WEIGHTS}"):
            write_manifest(folder, manifest)
    assert write_manifest(folder, int8.model_copy(update={"quantum": None})).precision == "int8"


def test_origin_must_be_a_hash(bundle: Bundle, tmp_path: Path) -> None:
    """An INT8 manifest whose origin is no SHA-256 is refused with the key's name."""
    folder = copy_bundle(bundle, tmp_path)
    values = bundle.manifest.model_copy(update={"quantised": QUANTISED}).model_dump(mode="json")
    values["quantised"]["bundle_sha256"] = "yesterday's"
    (folder / MANIFEST).write_text(json.dumps(values))
    with pytest.raises(BundleError, match=r"quantised\.bundle_sha256"):
        read_bundle(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": 1}', "null"])
def test_broken_manifest_is_refused(tmp_path: Path, text: str) -> None:
    """A file that is not a manifest gives a BundleError, never a crash."""
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(BundleError):
        read_bundle(tmp_path)


def test_folder_without_a_bundle_is_named(tmp_path: Path) -> None:
    """The message names the folder that holds no bundle."""
    with pytest.raises(BundleError, match=str(tmp_path)):
        read_bundle(tmp_path)


def test_export_spares_foreign_files(tmp_path: Path) -> None:
    """A folder with other files in it is refused and not emptied."""
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(BundleError, match=r"holds precious\.txt"):
        write_bundle(
            tmp_path, UNet(), name="x", version="0", size=SIZE, thresholds=THRESHOLDS, provenance={}
        )
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_shipped_bundle_is_whole_and_small() -> None:
    """The bundle in the package passes its own checks and stays below 15 MB."""
    bundle = read_bundle(find_bundle())
    assert sum(path.stat().st_size for path in bundle.folder.iterdir()) <= 15_000_000
    assert bundle.manifest.quantum is not None

"""Tests the temperature on probabilities with known truth, and on the engine's map."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load_file

from qlumen.calibration.temperature import (
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    fit_temperature,
    logits,
    temper,
    write_temperature,
)
from qlumen.errors import BundleError
from qlumen.evaluation.reliability import reliability
from qlumen.networks.bundle import WEIGHTS, Bundle, read_bundle, write_manifest
from qlumen.realtime.engines.openvino import OpenVinoEngine


def draw_sample(seed: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Draw a map, and lesion pixels with its probabilities."""
    rng = np.random.default_rng(seed)
    probability = rng.uniform(0.02, 0.98, (200, 200)).astype(np.float32)
    return probability, (rng.random((200, 200)) < probability).astype(np.uint8)


@given(st.floats(0.4, 3.0), st.integers(0, 1000))
@settings(max_examples=15)
def test_known_temperature_is_found(temperature: float, seed: int) -> None:
    """The fit finds the factor of multiplied logits, within chance. The calibration error then
    falls to that of the true probabilities."""
    true, truth = draw_sample(seed)
    sharpened = temper(true, 1 / temperature)
    found = fit_temperature([(sharpened, truth)])
    assert found == pytest.approx(temperature, rel=0.05)
    repaired = reliability([(temper(sharpened, found), truth)]).error
    assert repaired < reliability([(true, truth)]).error + 0.01


@given(st.floats(MIN_TEMPERATURE, MAX_TEMPERATURE), st.integers(0, 100))
def test_order_of_pixels_stays(temperature: float, seed: int) -> None:
    """Every temperature keeps the order of the pixels and 0.5, and 1 changes nothing."""
    probability = np.random.default_rng(seed).random((20, 20)).astype(np.float32)
    changed = temper(probability, temperature)
    order = np.argsort(probability, axis=None)
    assert np.all(np.diff(changed.ravel()[order]) >= 0)
    assert temper(np.float32([[0.5]]), temperature)[0, 0] == 0.5
    np.testing.assert_allclose(temper(probability, 1), probability, atol=1e-6)


def test_saturated_pixels_have_finite_logits() -> None:
    """0 and 1 count as 2**-24 and 1 - 2**-24."""
    z = logits(np.float32([[0, 1]]))
    assert np.isfinite(z).all()
    assert z[0, 0] == pytest.approx(-z[0, 1]) == pytest.approx(-24 * np.log(2), rel=1e-6)


def test_nothing_to_fit_is_an_error() -> None:
    """Maps without a lesion and without a prediction raise an error."""
    empty = np.zeros((8, 8), np.float32), np.zeros((8, 8), np.uint8)
    with pytest.raises(ValueError, match="nothing to fit"):
        fit_temperature([empty])


def test_written_temperature_is_what_the_engine_computes(tiny: Bundle, tmp_path: Path) -> None:
    """The compiled form gives the map of `temper`, and the trained weights have the same head."""
    bundle = read_bundle(Path(shutil.copytree(tiny.folder, tmp_path / "bundle")))
    side = bundle.manifest.input.width
    image = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    with OpenVinoEngine(bundle.model) as engine:
        before = engine.infer(image)
    write_temperature(bundle, 2.5)
    with pytest.raises(BundleError, match="does not match"):
        read_bundle(bundle.folder)
    renewed = write_manifest(bundle.folder, bundle.manifest)
    with OpenVinoEngine(renewed.model) as engine:
        np.testing.assert_allclose(engine.infer(image), temper(before, 2.5), atol=1e-5)
    old, new = load_file(tiny.folder / WEIGHTS), load_file(renewed.folder / WEIGHTS)
    changed = {name for name in old if not np.array_equal(old[name], new[name])}
    assert changed == {"head.weight", "head.bias"}
    np.testing.assert_allclose(new["head.weight"] * 2.5, old["head.weight"], rtol=1e-6)
    names = {path.name for path in renewed.folder.iterdir()}
    assert names == {path.name for path in tiny.folder.iterdir()}

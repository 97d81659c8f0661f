"""Tests the prototypes of the atlas on drawn sprites and random images."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.cluster.vq import ClusterError, kmeans2
from scipy.optimize import lsq_linear
from sklearn.metrics import adjusted_rand_score

from qlumen.evaluation.atlas.patterns import FAMILY
from qlumen.evaluation.atlas.prototypes import (
    Family,
    assign,
    group,
    move,
    move_back,
    refine,
    update,
)

SIDE = 32
IDENTITY = Family()


def draw_sprite(
    kind: str, shift: tuple[float, float], scale: float, turn_deg: float, gain: float, offset: float
) -> np.ndarray:
    """Draw a soft shape from its formula, `(32, 32, 1) float32`."""
    rows, columns = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    x, y = (columns - shift[0]) / scale, (rows - shift[1]) / scale
    turn = np.deg2rad(turn_deg)
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    radius = np.hypot(u, v)
    inside = {
        "disc": 7 - radius,
        "ring": 2 - abs(radius - 8),
        "bar": np.minimum(10 - abs(u), 2.5 - abs(v)),
    }[kind]
    return (offset + gain / (1 + np.exp(-2 * inside)))[..., None].astype(np.float32)


@given(st.integers(0, 2**32 - 1), st.integers(2, 5))
@settings(max_examples=40)
def test_identity_is_k_means(seed: int, count: int) -> None:
    """Without transformations labels and prototypes are those of SciPy from the same start."""
    random = np.random.default_rng(seed)
    images = random.normal(size=(30, 4, 5, 2)).astype(np.float32)
    rows = images.reshape(30, -1).astype(np.float64)
    try:
        centres, labels = kmeans2(rows, rows[:count], 100, minit="matrix", missing="raise")
    except ClusterError:
        assume(False)
    groups = refine(images, images[:count], IDENTITY)
    np.testing.assert_array_equal(groups.labels, labels)
    np.testing.assert_allclose(groups.prototypes.reshape(count, -1), centres, atol=1e-5)
    wanted = np.square(rows - centres[labels]).sum(axis=1)
    np.testing.assert_allclose(groups.errors, wanted, rtol=1e-4)


@pytest.mark.parametrize("seed", [0, 1])
def test_sprites_come_apart(seed: int) -> None:
    """Discs, rings and bars at any place, size, angle and brightness get one label each.

    K-means does not tell them apart.
    """
    random = np.random.default_rng(seed)
    kinds = [kind for kind in ("disc", "ring", "bar") for _ in range(8)]
    images = np.array(
        [
            draw_sprite(
                kind,
                tuple(random.uniform(-4, 4, 2)),
                random.uniform(0.85, 1.2),
                random.uniform(0, 360),
                random.uniform(0.5, 2),
                random.uniform(-1, 1),
            )
            for kind in kinds
        ]
    )
    images /= images.std(axis=(1, 2, 3), keepdims=True)
    groups = group(images, 3, FAMILY)
    assert adjusted_rand_score(kinds, groups.labels) == 1
    assert adjusted_rand_score(kinds, group(images, 3, IDENTITY).labels) < 0.5


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
@pytest.mark.parametrize("shift", [(0, 0), (4, 0), (-4, 4)])
def test_exact_copies_have_no_error(quarters: int, shift: tuple[int, int]) -> None:
    """A copy that NumPy turned, rolled and made darker is explained without a rest."""
    family = Family((-1 / 8, 0, 1 / 8), (1.0,), (0, 90, 180, 270), brightness=True)
    random = np.random.default_rng(5)
    prototypes = np.zeros((2, SIDE, SIDE, 3), np.float32)
    prototypes[:, 8:24, 8:24] = random.normal(size=(2, 16, 16, 3))
    copy = 0.5 * np.roll(np.rot90(prototypes[1], -quarters), shift, axis=(1, 0))
    copy[..., 0] += 3
    found = assign(copy[None], prototypes, family)
    assert found.errors[0] < 1e-6 * np.square(copy).sum()
    assert found.labels[0] == 1
    assert found.gains[0] == pytest.approx(0.5, abs=1e-5)
    assert found.offsets[0] == pytest.approx(3, abs=1e-5)
    x, y, scale, turn_deg = family.values()[found.moves[0]]
    assert (x * SIDE, y * SIDE, scale, turn_deg) == (*shift, 1, 90 * quarters)
    back = (copy - [3, 0, 0])[None].astype(np.float32) / 0.5
    restored = move_back(back, found.moves, family)
    np.testing.assert_allclose(restored[0], prototypes[1], atol=1e-5)


@given(st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=15)
def test_the_choice_is_the_best_of_all_pairs(seed: int, brightness: bool) -> None:
    """No prototype, transformation, gain or offset has a smaller error, says SciPy's solver."""
    family = Family((0, 1 / 4), (1, 1.5), (0, 45), brightness)
    random = np.random.default_rng(seed)
    images = random.normal(size=(3, 6, 6, 2)).astype(np.float32)
    prototypes = random.normal(size=(2, 6, 6, 2)).astype(np.float32)
    lightness = np.zeros((6, 6, 2))
    lightness[..., 0] = 1
    errors = np.empty((3, len(move(prototypes, family))))
    for j, shown in enumerate(move(prototypes, family)):
        for i, image in enumerate(images):
            if brightness:
                columns = np.column_stack([shown.ravel(), lightness.ravel()])
                bounds = ([0, -np.inf], [np.inf, np.inf])
                errors[i, j] = 2 * lsq_linear(columns, image.ravel(), bounds).cost
            else:
                errors[i, j] = np.square(image - shown).sum()
    found = assign(images, prototypes, family)
    np.testing.assert_allclose(found.errors, errors.min(axis=1), rtol=1e-4)
    chosen = found.labels * len(family.values()) + found.moves
    np.testing.assert_allclose(errors[range(3), chosen], errors.min(axis=1), rtol=1e-4)


def test_empty_prototypes_start_again() -> None:
    """Of three equal prototypes two are replaced, so each of three sprites gets its own."""
    images = np.array([draw_sprite(kind, (0, 0), 1, 0, 1, 0) for kind in ("disc", "ring", "bar")])
    groups = refine(images, images[[0, 0, 0]], FAMILY)
    assert sorted(groups.labels) == [0, 1, 2]
    assert groups.errors.max() < 1e-6
    assert len(group(images, 8, FAMILY).prototypes) == 3
    with pytest.raises(ValueError, match="0 images cannot have 8 prototypes"):
        group(images[:0], 8, FAMILY)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_the_update_is_least_squares(seed: int) -> None:
    """Each pixel of a prototype is what NumPy's solver finds from gains and offsets."""
    random = np.random.default_rng(seed)
    images = random.normal(size=(6, 4, 5, 2)).astype(np.float32)
    family = Family(brightness=True)
    groups = assign(images, images[:2] + np.float32(0.1), family)
    prototypes = update(images, groups, family)
    darker = images.copy()
    darker[..., 0] -= groups.offsets[:, None, None]
    for label in range(2):
        own = groups.labels == label
        solved, *_ = np.linalg.lstsq(groups.gains[own, None], darker[own].reshape(own.sum(), -1))
        np.testing.assert_allclose(prototypes[label].ravel(), solved[0], atol=1e-4)

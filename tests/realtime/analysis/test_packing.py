"""Tests that the stored data of a review comes back as it was used."""

import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlumen.errors import ReviewError
from qlumen.realtime.analysis.packing import (
    LEVELS,
    pack_flow,
    pack_map,
    pack_mask,
    round_map,
    unpack_flow,
    unpack_map,
    unpack_mask,
)
from qlumen.realtime.tracking.motion import FLOW_CELLS, reduce_flow

from support.strategies import probability_maps, sizes


@given(st.data(), sizes(24))
def test_a_map_comes_back_within_half_a_step(data: st.DataObject, size: tuple[int, int]) -> None:
    """No probability moves by more than half of 1/65535; NaN counts as 0, the rest is clamped."""
    given_map = data.draw(probability_maps(*size))
    back = unpack_map(pack_map(given_map), size)
    with np.errstate(invalid="ignore"):
        wanted = np.clip(np.where(np.isnan(given_map), 0, given_map), 0, 1)
    assert back.dtype == np.float32
    assert back.flags.c_contiguous
    assert np.abs(back.astype(np.float64) - wanted).max() <= 0.5 / LEVELS + 1e-7


@given(sizes(24), st.integers(0, 2**16))
def test_a_stored_map_is_stored_again_without_change(size: tuple[int, int], seed: int) -> None:
    """A rounded map comes back bit by bit, and is not changed by rounding it once more."""
    once = round_map(np.random.default_rng(seed).random(size[::-1], np.float32))
    assert np.array_equal(unpack_map(pack_map(once), size), once)
    assert np.array_equal(round_map(once), once)


@pytest.mark.parametrize("size", [(128, 110), (128, 72), (96, 128), (20, 11), (1, 1)])
def test_a_steady_flow_keeps_its_share_of_the_image(size: tuple[int, int]) -> None:
    """A reduced flow is in cells, to 1/256 of a cell, and comes back from storage bit by bit."""
    flow = np.empty((size[1], size[0], 2), np.float32)
    flow[...] = (0.03 * size[0], -0.02 * size[1])
    small = reduce_flow(flow)
    rows, columns = small.shape[:2]
    assert max(columns, rows) <= FLOW_CELLS
    assert np.abs(small - (0.03 * columns, -0.02 * rows)).max() <= 0.51 / 256
    assert np.array_equal(unpack_flow(pack_flow(small), (columns, rows)), small)


@given(sizes(24), st.integers(0, 2**16))
def test_a_reduced_flow_comes_back(size: tuple[int, int], seed: int) -> None:
    """Any reduced flow is stored without loss, and each cell is the mean of its pixels."""
    flow = np.random.default_rng(seed).normal(0, 3, (*size[::-1], 2)).astype(np.float32)
    small = reduce_flow(flow)
    assert small.shape == flow.shape
    assert np.abs(small - flow).max() <= 0.51 / 256
    assert np.array_equal(unpack_flow(pack_flow(small), size), small)


@given(sizes(40), st.integers(0, 2**16))
def test_a_mask_comes_back(size: tuple[int, int], seed: int) -> None:
    """Any mask of 0 and 1 comes back without change."""
    mask = np.random.default_rng(seed).integers(0, 2, size[::-1], np.uint8)
    assert np.array_equal(unpack_mask(pack_mask(mask), size), mask)


@pytest.mark.parametrize(
    "data", [b"", b"no zlib", zlib.compress(b"short"), zlib.compress(bytes(1 << 24)), b"\x78\x9c"]
)
def test_damaged_bytes_are_refused(data: bytes) -> None:
    """Bytes that are no stored map give a clear error, and sixteen million are not unpacked."""
    with pytest.raises(ReviewError, match="make the review again"):
        unpack_map(data, (4, 4))

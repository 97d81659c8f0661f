import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qlumen.errors import ReviewError
from qlumen.realtime.review.maps import (
    FLOW_CELLS,
    LEVELS,
    flow_size,
    pack_flow,
    pack_map,
    unpack_flow,
    unpack_map,
)

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
    """Rounding happens once: what was stored comes back the same from a second storing."""
    once = unpack_map(pack_map(np.random.default_rng(seed).random(size[::-1], np.float32)), size)
    assert np.array_equal(unpack_map(pack_map(once), size), once)


@pytest.mark.parametrize("size", [(128, 110), (128, 72), (96, 128), (20, 11), (1, 1)])
def test_a_flow_comes_back_in_cells(size: tuple[int, int]) -> None:
    """A steady flow stays the same share of the picture, to 1/256 of a cell."""
    flow = np.empty((size[1], size[0], 2), np.float32)
    flow[...] = (0.03 * size[0], -0.02 * size[1])
    columns, rows = flow_size(size)
    assert max(columns, rows) <= FLOW_CELLS
    back = unpack_flow(pack_flow(flow), (columns, rows))
    assert back.shape == (rows, columns, 2)
    assert np.abs(back - (0.03 * columns, -0.02 * rows)).max() <= 0.51 / 256


@pytest.mark.parametrize(
    "data", [b"", b"no zlib", zlib.compress(b"short"), zlib.compress(bytes(1 << 24)), b"\x78\x9c"]
)
def test_damaged_bytes_are_refused(data: bytes) -> None:
    """What is no stored map gives a clear error; sixteen million bytes are not unpacked."""
    with pytest.raises(ReviewError, match="make the review again"):
        unpack_map(data, (4, 4))

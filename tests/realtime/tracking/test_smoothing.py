import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from qlumen.errors import ConfigError
from qlumen.realtime.tracking.smoothing import CERTAIN, REVERSE_ROUNDS, WHOLE_FRAME, Smoother

from support import naive_flow
from support.strategies import probability_maps, sizes

STILL = np.zeros((4, 6, 2), np.float32)
SEEDS = st.integers(0, 2**16)


def log_odds(probability: NDArray[np.float32]) -> NDArray[np.float64]:
    cleaned = np.where(np.isnan(probability), 0, probability).astype(np.float64)
    limited = np.clip(cleaned, 1 - float(CERTAIN), float(CERTAIN))
    return np.log(limited / (1 - limited))


def limit(probability: NDArray[np.float32]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-log_odds(probability)))


@settings(max_examples=60, deadline=None)
@given(st.data(), sizes(16), st.sampled_from([0.25, 0.5, 0.9]), SEEDS)
def test_three_frames_are_the_oracles(
    data: st.DataObject, size: tuple[int, int], weight: float, seed: int
) -> None:
    """Three maps equal log-odds moved and mixed with SciPy, while the region changes."""
    rng = np.random.default_rng(seed)
    smoother, past, past_region = Smoother(weight), None, WHOLE_FRAME
    for region in (WHOLE_FRAME, (0.2, 0.1, 0.8, 0.9), (0.2, 0.1, 0.8, 0.9)):
        probability = data.draw(probability_maps(*size))
        flow = rng.normal(0, 1, (5, 7, 2)).astype(np.float32)
        expected = log_odds(probability)
        if past is not None:
            back = naive_flow.reverse_flow(flow, REVERSE_ROUNDS)
            expected = naive_flow.mix_moved(past, past_region, expected, region, back, weight)
        smoothed = smoother(probability, flow, region)
        assert smoothed.dtype == np.float32
        assert smoothed.flags.c_contiguous
        np.testing.assert_allclose(smoothed, 1 / (1 + np.exp(-expected)), atol=2e-3)
        past, past_region = expected, region


def test_weight_zero_is_off() -> None:
    """With weight 0 each map comes back as the same object."""
    smoother, rng = Smoother(0), np.random.default_rng(0)
    for _ in range(3):
        probability = rng.random((6, 8), np.float32)
        assert smoother(probability, STILL, WHOLE_FRAME) is probability


@pytest.mark.parametrize("forget", ["reset", "no flow", "another size"])
def test_nothing_is_carried_over(forget: str) -> None:
    """After a reset, without motion and for a map of another size, the map stands alone."""
    smoother, rng = Smoother(0.5), np.random.default_rng(0)
    smoother(rng.random((6, 8), np.float32), None, WHOLE_FRAME)
    if forget == "reset":
        smoother.reset()
    now = rng.random((6, 9) if forget == "another size" else (6, 8), np.float32)
    smoothed = smoother(now, None if forget == "no flow" else STILL, WHOLE_FRAME)
    np.testing.assert_allclose(smoothed, limit(now), atol=1e-6)


def test_a_still_image_settles() -> None:
    """The same map again and again, without motion, stays as it is."""
    smoother, now = Smoother(0.7), np.random.default_rng(0).random((6, 8), np.float32)
    for _ in range(10):
        smoothed = smoother(now, STILL, WHOLE_FRAME)
    np.testing.assert_allclose(smoothed, limit(now), atol=1e-5)


def test_one_frame_of_doubt_is_bridged_and_one_of_certainty_ignored() -> None:
    """With weight 1/2, odds of 9 three times, then 1/9, give 9^0, and 1/9 again gives 9^-1/2."""
    smoother = Smoother(0.5)
    sure, doubt = np.full((4, 6), 0.9, np.float32), np.full((4, 6), 0.1, np.float32)
    for _ in range(3):
        smoother(sure, STILL, WHOLE_FRAME)
    np.testing.assert_allclose(smoother(doubt, STILL, WHOLE_FRAME), 0.5, atol=1e-6)
    odds = 9**-0.5
    after = smoother(doubt, STILL, WHOLE_FRAME)
    np.testing.assert_allclose(after, odds / (1 + odds), atol=1e-6)


def test_longer_steps_carry_less() -> None:
    """Two steps of 1/25 s with even odds weigh like one step of 2/25 s, 1/2 squared."""
    sure, even = np.full((4, 6), 0.9, np.float32), np.full((4, 6), 0.5, np.float32)
    smoothed = []
    for steps in ([0.04, 0.04], [0.08]):
        smoother = Smoother(0.5)
        smoother(sure, None, WHOLE_FRAME)
        for elapsed_s in steps:
            result = smoother(even, STILL, WHOLE_FRAME, elapsed_s)
        smoothed.append(result)
    odds = 9**0.25
    for result in smoothed:
        np.testing.assert_allclose(result, odds / (1 + odds), atol=1e-6)


def test_input_is_not_written_to() -> None:
    """A read-only map, which engines may hand out, is accepted."""
    smoother = Smoother(0.5)
    probability = np.random.default_rng(0).random((6, 8), np.float32)
    probability.flags.writeable = False
    for _ in range(2):
        smoother(probability, STILL, WHOLE_FRAME)


@pytest.mark.parametrize("weight", [-0.1, 1.0])
def test_bad_weight_is_refused(weight: float) -> None:
    """The error names the value and its bounds."""
    with pytest.raises(ConfigError, match=rf"weight is {weight}; use 0 <= weight < 1"):
        Smoother(weight)

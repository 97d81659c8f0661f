from itertools import combinations_with_replacement
from math import comb
from statistics import mean, median

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from qlumen.evaluation.statistics import adjust, hodges_lehmann, mcnemar_p, signed_rank_p

DIFFERENCES = st.lists(st.integers(-20, 20).map(lambda n: n / 16), min_size=1, max_size=15)


@given(DIFFERENCES)
def test_hodges_lehmann_is_the_median_of_all_pairs(differences: list[float]) -> None:
    """The estimate equals the median of the means of all pairs, listed one by one."""
    pairs = combinations_with_replacement(differences, 2)
    assert hodges_lehmann(differences) == median(map(mean, pairs))


def test_hodges_lehmann_by_hand() -> None:
    """1, 2 and 6 have the means 1, 1.5, 2, 3.5, 4 and 6, whose median is 2.75."""
    assert hodges_lehmann([6, 1, 2]) == 2.75
    with pytest.raises(ValueError, match="at least one"):
        hodges_lehmann([])


@given(st.lists(st.tuples(st.integers(-9, 9), st.sampled_from("abcdef")), min_size=1, max_size=40))
@settings(max_examples=30)
def test_signed_rank_test_is_scipys_on_the_means_of_clusters(rows: list[tuple[int, str]]) -> None:
    """SciPy gives the same p for the means of clusters."""
    labels = [label for _, label in rows]
    means = [
        np.mean([value for value, one in rows if one == label]) for label in dict.fromkeys(labels)
    ]
    wanted = stats.wilcoxon(means, zero_method="wilcox").pvalue if np.any(means) else 1
    assert signed_rank_p([float(value) for value, _ in rows], labels) == pytest.approx(wanted)


def test_signed_rank_test_by_hand() -> None:
    """Of five differences of one sign two of 2**5 signs are as extreme, and zeros change nothing.
    Differences that are all 0, and clusters whose values cancel, have p 1."""
    assert signed_rank_p([1, 2, 3, 4, 5]) == pytest.approx(2 / 2**5)
    assert signed_rank_p([0, 0, 0]) == 1
    assert signed_rank_p([0.5, -0.5, 0.25, -0.25], list("aabb")) == 1


@given(st.integers(0, 25), st.integers(0, 25))
def test_mcnemar_counts_the_throws_of_a_coin(only_one: int, only_other: int) -> None:
    """The p is the share of the throws that are at least as uneven; both orders are equal."""
    total, fewer = only_one + only_other, min(only_one, only_other)
    tail = 2 * sum(comb(total, k) for k in range(fewer + 1)) / 2**total
    assert mcnemar_p(only_one, only_other) == pytest.approx(min(1, tail))
    assert mcnemar_p(only_other, only_one) == mcnemar_p(only_one, only_other)


def test_mcnemar_of_a_worked_case() -> None:
    """One image against nine has p 0.0215, and no image at all has p 1."""
    assert mcnemar_p(1, 9) == pytest.approx(0.021484375, abs=1e-12)
    assert mcnemar_p(0, 0) == 1


def test_q_of_a_worked_case() -> None:
    """Four p have the q of Benjamini and Hochberg's procedure."""
    assert adjust([0.05, 0.005, 0.1, 0.009]) == pytest.approx([0.2 / 3, 0.018, 0.1, 0.018])


@given(st.lists(st.floats(0, 1), max_size=12), st.floats(0.01, 0.99))
def test_q_rejects_what_the_procedure_rejects(p_values: list[float], rate: float) -> None:
    """Of n sorted p the procedure takes all up to the last one with p <= rate * rank / n."""
    n = len(p_values)
    sorted_p = sorted(p_values)
    bound = max((p for rank, p in enumerate(sorted_p, 1) if p * n / rank <= rate), default=-1)
    for p, q in zip(p_values, adjust(p_values), strict=True):
        assert (q <= rate) == (p <= bound) or q == pytest.approx(rate)


def test_labels_that_mean_nothing_are_rarely_found() -> None:
    """Two networks are equal up to the names of their results, which are swapped at random by
    video. Of the rows of 200 such runs at most 5% have a q below 0.05, for Dice and for events. A
    test that takes the images as independent finds more, because the images of a video agree."""
    rng = np.random.default_rng(11)
    clusters = np.repeat(np.arange(30), 4)
    one = 0.8 + 0.1 * rng.standard_normal((4, 120)) + 0.1 * rng.standard_normal(30)[clusters]
    other = one + 0.05 * rng.standard_normal((4, 120)) + 0.05 * rng.standard_normal(30)[clusters]
    missed = rng.random((2, 4, 120)) < 0.2
    below: dict[str, list[bool]] = {"dice": [], "missed": [], "wrong": []}
    for _ in range(200):
        signs = rng.choice((-1, 1), 30)[clusters]
        rows = ((other - one) * signs).tolist()
        dice = [signed_rank_p(row, clusters.tolist()) for row in rows]
        wrong = [signed_rank_p(row) for row in rows]
        swaps = rng.random(120) < 0.5
        a, b = np.where(swaps, missed[::-1], missed)
        events = [
            mcnemar_p(int((x & ~y).sum()), int((y & ~x).sum())) for x, y in zip(a, b, strict=True)
        ]
        below["dice"] += [q < 0.05 for q in adjust(dice)]
        below["missed"] += [q < 0.05 for q in adjust(events)]
        below["wrong"] += [q < 0.05 for q in adjust(wrong)]
    assert np.mean(below["dice"]) <= 0.05
    assert np.mean(below["missed"]) <= 0.05
    assert np.mean(below["wrong"]) > 0.05

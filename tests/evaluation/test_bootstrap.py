import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from qlumen.evaluation.bootstrap import cluster_interval, interval


@given(st.integers(0, 1000))
@settings(max_examples=10)
def test_interval_is_scipys(seed: int) -> None:
    """SciPy's percentile bootstrap gives the same bounds, up to its own random numbers."""
    values = np.random.default_rng(seed).beta(5, 1, size=80)
    other = stats.bootstrap(
        (values,), np.mean, n_resamples=4000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    width = other.high - other.low
    low, high = interval(values.tolist())
    assert low == pytest.approx(other.low, abs=0.1 * width)
    assert high == pytest.approx(other.high, abs=0.1 * width)


def test_interval_covers_the_true_mean_in_about_95_of_100_samples() -> None:
    """The interval misses 0.5 in a few of 300 samples of 60 uniform numbers."""
    rng = np.random.default_rng(7)
    bounds = [interval(rng.random(60).tolist()) for _ in range(300)]
    assert 0.9 < np.mean([low <= 0.5 <= high for low, high in bounds]) < 0.99


def test_equal_values_have_no_spread_and_none_are_refused() -> None:
    """Equal values give an interval of width 0, and an empty list raises an error."""
    assert interval([0.7] * 5) == pytest.approx((0.7, 0.7))
    with pytest.raises(ValueError, match="at least one"):
        interval([])


@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3)), min_size=1, max_size=12),
    st.integers(2, 4),
)
@settings(max_examples=30)
def test_equal_images_in_a_cluster_count_as_one(rows: list[tuple[float, int]], times: int) -> None:
    """Copies of an image in its own cluster give the interval of one image a cluster; without
    clusters the copies make it narrower or leave it."""
    values = [value for value, _ in rows]
    copies = [value for value in values for _ in range(times)]
    clusters = [place for place, _ in enumerate(values) for _ in range(times)]
    assert interval(copies, clusters) == pytest.approx(interval(values))
    wide, narrow = (high - low for low, high in (interval(values), interval(copies)))
    assert narrow <= wide + 0.05


@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from("abc")), min_size=1, max_size=20))
@settings(max_examples=30)
def test_names_of_clusters_do_not_matter(rows: list[tuple[float, str]]) -> None:
    """Other labels give the same interval, and one image a cluster gives that without clusters."""
    values, labels = [value for value, _ in rows], [label for _, label in rows]
    others = [{"a": 9, "b": -1, "c": 4}[label] for label in labels]
    assert interval(values, labels) == interval(values, others)
    assert interval(values, list(range(len(values)))[::-1]) == interval(values)


@given(st.integers(0, 1000))
@settings(max_examples=5)
def test_drawn_clusters_are_whole(seed: int) -> None:
    """A naive draw that joins the images of clusters of different sizes gives the same bounds."""
    rng = np.random.default_rng(seed)
    groups = [rng.beta(5, 1) * rng.random(size) for size in rng.integers(1, 8, 15)]
    drawn = [
        np.concatenate([groups[i] for i in rng.integers(len(groups), size=len(groups))]).mean()
        for _ in range(4000)
    ]
    values = np.concatenate(groups)
    clusters = np.repeat(np.arange(len(groups)), [len(group) for group in groups]).tolist()
    low, high = np.percentile(drawn, (2.5, 97.5))
    wanted = pytest.approx((low, high), abs=0.1 * (high - low))
    assert interval(values.tolist(), clusters) == wanted


def test_interval_by_cluster_covers_the_true_mean_of_videos() -> None:
    """Frames of a video share most of their value. The interval by cluster misses the true mean
    in a few of 150 samples of 30 videos, and that by image in many."""
    rng = np.random.default_rng(5)
    held, narrow = [], []
    clusters = np.repeat(np.arange(30), 5).tolist()
    for _ in range(150):
        values = (np.repeat(rng.random(30), 5) + 0.1 * rng.random(150) - 0.05).tolist()
        for covers, (low, high) in ((held, interval(values, clusters)), (narrow, interval(values))):
            covers.append(low <= 0.5 <= high)
    assert 0.89 < np.mean(held) < 0.99
    assert np.mean(narrow) < 0.75


def test_labels_must_fit_and_one_cluster_has_no_interval() -> None:
    """Each value needs a label, and one cluster says nothing about the spread between clusters."""
    with pytest.raises(ValueError, match="3 values need as many labels, not 2"):
        interval([0.1, 0.2, 0.3], ["a", "b"])
    assert cluster_interval([0.1, 0.2], ["a", "a"]) is None
    assert cluster_interval([0.1, 0.2], None) is None
    assert cluster_interval([0.1, 0.2], ["a", "b"]) == list(interval([0.1, 0.2]))

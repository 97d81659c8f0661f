import pytest

from qlumen.evaluation.run import by_size, stratum


def test_bounds() -> None:
    """A share of 2% is medium, and 10% is large."""
    shares = (0.0, 0.0199, 0.02, 0.0999, 0.1, 1.0)
    wanted = ["none", "small", "medium", "medium", "large", "large"]
    assert [stratum(share) for share in shares] == wanted


def test_means_of_each_stratum() -> None:
    """Each image counts once, in its own stratum, and empty strata are left out."""
    got = by_size([0.01, 0.5, 0.015, 0.3], [0.2, 0.9, 0.4, 0.7])
    assert list(got) == ["small", "large"]
    assert got["small"]["dice"] == pytest.approx(0.3)
    assert got["large"]["dice"] == pytest.approx(0.8)
    assert sum(row["images"] for row in got.values()) == 4
    low, high = got["large"]["dice_95"]
    assert 0.7 <= low <= 0.8 <= high <= 0.9

"""Tests augmenting paths in any order against SciPy and worked cases."""

import numpy as np
import pytest
from max_flow import find_max_flow
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow

BOOK = {(0, 1): 16, (0, 2): 13, (1, 3): 12, (2, 1): 4, (2, 4): 14, (3, 2): 9, (3, 5): 20,
        (4, 3): 7, (4, 5): 4}  # fmt: skip
"""Graph of Cormen et al., Introduction to Algorithms, whose maximum flow is 23."""


def make_graph(edges: dict[tuple[int, int], int], nodes: int) -> csr_array:
    starts, ends = zip(*edges, strict=True)
    weights = np.array(list(edges.values()), np.int32)
    return csr_array((weights, (starts, ends)), (nodes, nodes))


@pytest.mark.parametrize("order", ["breadth first", "rising", "falling"])
def test_graph_of_the_book_has_23(order: str) -> None:
    graph = make_graph(BOOK, 6)
    rising = np.arange(graph.nnz, dtype=float)
    scores = {"breadth first": None, "rising": rising, "falling": -rising}[order]
    value, augmentations = find_max_flow(graph, 0, 5, scores)
    assert value == maximum_flow(graph, 0, 5).flow_value == 23
    assert 2 <= augmentations <= 23


def test_value_is_that_of_scipy_on_1000_random_graphs_in_any_order() -> None:
    """Both directions of a pair may have capacities, and the sink may be out of reach."""
    rng = np.random.default_rng(0)
    flows = 0
    for _ in range(1000):
        nodes = int(rng.integers(2, 11))
        dense = rng.integers(0, 20, (nodes, nodes)) * (rng.random((nodes, nodes)) < 0.5)
        np.fill_diagonal(dense, 0)
        graph = csr_array(dense.astype(np.int32))
        wanted = maximum_flow(graph, 0, nodes - 1).flow_value
        flows += wanted > 0
        for scores in (None, rng.random(graph.nnz)):
            assert find_max_flow(graph, 0, nodes - 1, scores)[0] == wanted
    assert flows > 500

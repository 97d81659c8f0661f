"""Counts augmentations of a maximum flow whose paths are found in a learned order.

    python bench/max_flow.py [--json FILE]

The graphs are those that `annotate`'s snap cuts, of rough outlines on the scene at a small size. An
order never changes the flow, since a flow without an augmenting path is a largest one (Ford and
Fulkerson). Scores are those of a linear model of the capacities round an edge, fitted to the flows
of other scenes: the small form of arXiv 2604.21175, which has no experiments itself.
"""

import heapq
from collections.abc import Iterator
from fractions import Fraction

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow

from qlumen.realtime.annotation.propagate import signed_distances
from qlumen.realtime.annotation.snap import BAND_PX, OUTLINE, make_graph, to_lab
from qlumen.realtime.sources.scene.source import SceneSettings, SceneSource

from support.common import Row, parser, report

SIZE, FRAMES = (96, 72), 60
TRAINED, SCORED = range(80, 83), range(83, 86)


def find_max_flow(
    graph: csr_array, source: int, sink: int, scores: NDArray[np.float64] | None = None
) -> tuple[int, int]:
    """Return the value of the maximum flow, and the number of augmentations.

    Args:
        graph: capacities, whole numbers.
        scores: of each stored edge, in the order of `graph.tocoo()`. The search leaves by edges of
            high score first; without scores it is breadth first (Edmonds and Karp 1972).
    """
    starts, ends, capacities = _edges(graph)
    left = np.concatenate((capacities, np.zeros_like(capacities))).tolist()
    ranks = [0.0] * len(left) if scores is None else (-np.tile(scores, 2)).tolist()
    heads = np.concatenate((ends, starts)).tolist()
    leaving: list[list[int]] = [[] for _ in range(graph.shape[0])]
    for edge, start in enumerate(np.concatenate((starts, ends)).tolist()):
        leaving[start].append(edge)
    value = augmentations = 0
    while path := _find_path(leaving, heads, left, ranks, source, sink):
        most = min(left[edge] for edge in path)
        for edge in path:
            left[edge] -= most
            left[(edge + len(starts)) % len(left)] += most
        value += most
        augmentations += 1
    return value, augmentations


def _find_path(
    leaving: list[list[int]],
    heads: list[int],
    left: list[int],
    ranks: list[float],
    source: int,
    sink: int,
) -> list[int]:
    """Return the edges of a path with capacity left; none without one."""
    by: dict[int, int] = {source: -1}
    waiting, count = [(0.0, 0, source)], 0
    while waiting:
        node = heapq.heappop(waiting)[2]
        for edge in leaving[node]:
            head = heads[edge]
            if left[edge] and head not in by:
                by[head] = edge
                if head == sink:
                    return _trace(by, heads, len(heads) // 2, sink)
                count += 1
                heapq.heappush(waiting, (ranks[edge], count, head))
    return []


def _trace(by: dict[int, int], heads: list[int], count: int, sink: int) -> list[int]:
    path, node = [], sink
    while (edge := by[node]) >= 0:
        path.append(edge)
        node = heads[(edge + count) % (2 * count)]
    return path


def describe(graph: csr_array, source: int, sink: int) -> NDArray[np.float64]:
    """Return features of each stored edge, `(n, 8)`: capacities of the edge and round its ends."""
    starts, ends, capacities = _edges(graph)
    nodes = graph.shape[0]
    from_source, to_sink, out, into = np.zeros((4, nodes))
    from_source[ends[starts == source]] = capacities[starts == source]
    to_sink[starts[ends == sink]] = capacities[ends == sink]
    np.add.at(out, starts, capacities)
    np.add.at(into, ends, capacities)
    own = np.log1p(np.stack((from_source, to_sink, out, into), axis=1))
    around = np.zeros_like(own)  # one pass of messages
    np.add.at(around, ends, own[starts])
    around /= np.maximum(np.bincount(ends, minlength=nodes), 1)[:, None]
    known = np.log1p(capacities)[:, None]
    return np.hstack((np.ones_like(known), known, own[starts][:, :1], own[ends][:, 1:2],
                      around[starts][:, :2], around[ends][:, :2]))  # fmt: skip


def fit_scores(graphs: list[csr_array]) -> NDArray[np.float64]:
    """Return weights of the features that predict by least squares which edges carry flow."""
    features, carried = [], []
    for graph in graphs:
        source, sink = graph.shape[0] - 2, graph.shape[0] - 1
        flow = maximum_flow(graph, source, sink).flow.toarray()
        starts, ends, _ = _edges(graph)
        features.append(describe(graph, source, sink))
        carried.append(flow[starts, ends] > 0)
    return np.linalg.lstsq(np.concatenate(features), np.concatenate(carried), rcond=None)[0]


def _edges(graph: csr_array) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Return starts, ends and capacities of the stored edges."""
    stored = graph.tocoo()
    return stored.row, stored.col, stored.data


def make_graphs(seeds: range) -> Iterator[csr_array]:
    for seed in seeds:
        scene = SceneSource(SceneSettings(480, 360, Fraction(25), FRAMES, seed))
        for frame in list(scene.frames())[:: FRAMES // 4]:
            truth = cv2.resize(frame.truth, SIZE, interpolation=cv2.INTER_NEAREST) > 0
            if truth.any() and not truth.all():
                colours = to_lab(cv2.resize(frame.image, SIZE, interpolation=cv2.INTER_AREA))
                distances = signed_distances(np.roll(truth, 2, axis=1))
                inside, outside = distances < -BAND_PX / 2, distances > BAND_PX / 2
                graph = make_graph(inside, outside, colours, -OUTLINE * distances / BAND_PX)
                graph.eliminate_zeros()
                yield graph


def main() -> None:
    options = parser(__doc__).parse_args()
    weights, rng = fit_scores(list(make_graphs(TRAINED))), np.random.default_rng(0)
    rows: list[Row] = []
    for number, graph in enumerate(make_graphs(SCORED)):
        source, sink = graph.shape[0] - 2, graph.shape[0] - 1
        orders = {"breadth first": None, "random": rng.random(graph.nnz),
                  "learned": describe(graph, source, sink) @ weights}  # fmt: skip
        row: Row = {"graph": number, "flow": int(maximum_flow(graph, source, sink).flow_value)}
        for name, scores in orders.items():
            value, row[name] = find_max_flow(graph, source, sink, scores)
            assert value == row["flow"]
        rows.append(row)
        print(row, flush=True)
    report(rows, {}, options.json)


if __name__ == "__main__":
    main()

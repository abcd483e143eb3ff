"""Maps that look alike, put together: spectral relevance analysis (Lapuschkin et al. 2019)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sightline.errors import MethodError

FEWEST = 12  # maps of a class from which clusters are looked for
_MOST = 8  # clusters
_NEIGHBOURS = 10
_CLEAR = 0.2  # a silhouette from which the clusters are told apart at all


@dataclass(frozen=True, eq=False)
class Clusters:
    """The maps of one class: `member` (n,) the cluster of each, 0 the largest; `points` (n, 2) where they lie."""

    member: np.ndarray
    points: np.ndarray
    silhouette: float  # how well they are apart, -1 to 1; NaN for one cluster

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self.member.max()) + 1


def cluster(maps: np.ndarray, random_state: int) -> Clusters:
    """Clusters of small maps (n, h, w) in the eigenvectors of a graph's Laplacian, as many as are best apart.

    Maps are compared by their shape: each is centred and scaled to length 1, and joined to its nearest neighbours. More
    than one cluster is told only where the silhouette of the maps themselves says that they are apart.
    """
    rows = maps.reshape(len(maps), -1).astype(np.float64)
    rows = rows - rows.mean(axis=1, keepdims=True)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    apart, member = max(_divided(rows, random_state), key=lambda found: found[0])
    if apart < _CLEAR:
        return Clusters(np.zeros(len(rows), int), _plane(rows), float("nan"))
    return Clusters(_largest_first(member), _plane(rows), apart)


def _divided(rows: np.ndarray, random_state: int) -> Iterator[tuple[float, np.ndarray]]:
    """Silhouette and members for each number of clusters."""
    from scipy.linalg import eigh

    sklearn = _scikit_learn()
    graph = sklearn.neighbors.kneighbors_graph(rows, min(_NEIGHBOURS, len(rows) // 4), include_self=False).toarray()
    affinity = np.maximum(graph, graph.T)
    degree = 1 / np.sqrt(affinity.sum(axis=1))
    vectors = eigh(np.eye(len(rows)) - degree[:, None] * affinity * degree[None])[1]
    for count in range(2, min(_MOST, len(rows) // 3) + 1):
        found = sklearn.cluster.KMeans(count, n_init=10, random_state=random_state).fit_predict(vectors[:, :count])
        yield float(sklearn.metrics.silhouette_score(rows, found)), found


def _plane(rows: np.ndarray) -> np.ndarray:
    """Where rows lie in the plane in which they differ the most: their first two principal components."""
    left, sizes, _ = np.linalg.svd(rows - rows.mean(axis=0), full_matrices=False)
    return np.asarray(left[:, :2] * sizes[:2])


def _largest_first(member: np.ndarray) -> np.ndarray:
    order = np.argsort(-np.bincount(member), kind="stable")
    return np.asarray(np.argsort(order)[member])


def _scikit_learn() -> Any:
    try:
        import sklearn.cluster
        import sklearn.metrics
        import sklearn.neighbors
    except ImportError as problem:
        raise MethodError(
            f"clusters of maps were asked for; scikit-learn cannot be imported: {problem}.",
            "pip install 'sightline[audit]'",
        ) from None
    return sklearn

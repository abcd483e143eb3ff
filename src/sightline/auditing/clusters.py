"""Maps that look alike, put together: spectral relevance analysis (Lapuschkin et al. 2019)."""

from __future__ import annotations

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
    """Clusters of small maps (n, h, w), their number by the largest gap between eigenvalues of the graph's Laplacian.

    Maps are compared by their shape: each is centred and scaled to length 1, and joined to its nearest neighbours. More
    than one cluster is told only where the silhouette says that they are apart.
    """
    from scipy.linalg import eigh

    sklearn = _scikit_learn()
    rows = maps.reshape(len(maps), -1).astype(np.float64)
    rows = rows - rows.mean(axis=1, keepdims=True)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    graph = sklearn.neighbors.kneighbors_graph(rows, min(_NEIGHBOURS, len(rows) - 1), include_self=False)
    affinity = np.maximum(graph.toarray(), graph.toarray().T)
    degree = 1 / np.sqrt(affinity.sum(axis=1))
    values, vectors = eigh(np.eye(len(rows)) - degree[:, None] * affinity * degree[None])
    count = int(np.argmax(np.diff(values[: _MOST + 1]))) + 1
    placed = _plane(rows)
    if count > 1:
        found = sklearn.cluster.KMeans(count, n_init=10, random_state=random_state).fit_predict(vectors[:, :count])
        apart = float(sklearn.metrics.silhouette_score(rows, found))
        if apart >= _CLEAR:
            return Clusters(_largest_first(found), placed, apart)
    return Clusters(np.zeros(len(rows), int), placed, float("nan"))


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

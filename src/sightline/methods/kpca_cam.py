"""KPCA-CAM."""

from __future__ import annotations

from sightline.arrays import Array, namespace, relu, top_eigenvector, transposed
from sightline.method import method
from sightline.methods._cam import for_each_target, recorded
from sightline.methods._eigen import as_map, cells, root, signed
from sightline.model import Layer, Model, Target


@method(
    "layer",
    family="CAM",
    cost="1 F + eigenvectors of a matrix of cells",
    source="Karmani et al. 2024, arXiv:2410.00267",
)
def kpca_cam(model: Model, x: Array, target: Target, *, layer: Layer) -> Array:
    """Feature map of a layer on the first component of a kernel PCA of its cells, the same for every target.

    Cells less their mean, compared by the sigmoid kernel tanh(a·b / channels + 1), and the kernel centred; the sign is
    the one that lets the map grow with the sum of the channels, and what is negative is cut. Shape (k, n, height, width)
    of the layer's own grid. It knows nothing of the target, and a layer with many cells takes long: the kernel is a
    matrix of cells by cells.
    """
    features, score = recorded(model, x, target, layer)
    xp, matrix = namespace(features), cells(features)
    matrix = matrix - xp.mean(matrix, axis=-2, keepdims=True)
    kernel = xp.tanh(xp.matmul(matrix, transposed(matrix)) / matrix.shape[-1] + 1)
    rows = kernel - xp.mean(kernel, axis=-1, keepdims=True)
    value, direction = top_eigenvector(rows - xp.mean(rows, axis=-2, keepdims=True))
    component = signed(direction * root(value)[..., None], matrix)
    return for_each_target(relu(as_map(component, features)), score)

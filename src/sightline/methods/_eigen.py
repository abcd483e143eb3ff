"""First principal components of feature maps, by the smaller of the two Gram matrices, with a sign that is fixed."""

from __future__ import annotations

from sightline.arrays import Array, at_least_float32, namespace, top_eigenvector, transposed
from sightline.eager import on_host


def cells(features: Array) -> Array:
    """A feature map (..., height, width, channels) as a matrix (..., cells, channels) of at least single precision."""
    shape = tuple(features.shape)
    return namespace(features).reshape(at_least_float32(features), (*shape[:-3], shape[-3] * shape[-2], shape[-1]))


@on_host
def first_component(matrix: Array) -> Array:
    """Matrices (..., cells, channels) projected onto their first right singular vector: (..., cells), sign open."""
    xp = namespace(matrix)
    if matrix.shape[-2] > matrix.shape[-1]:
        _, direction = top_eigenvector(xp.matmul(transposed(matrix), matrix))
        return xp.matmul(matrix, direction[..., None])[..., 0]
    value, left = top_eigenvector(xp.matmul(matrix, transposed(matrix)))
    return left * root(value)[..., None]


def root(value: Array) -> Array:
    """Square root of eigenvalues, which rounding may have made negative."""
    xp = namespace(value)
    return xp.sqrt(xp.maximum(value, xp.zeros_like(value)))


@on_host
def signed(component: Array, matrix: Array) -> Array:
    """`component` (..., cells) with the sign that lets it grow with the sum of the channels (inner product >= 0)."""
    xp = namespace(component)
    along = xp.sum(component * xp.sum(matrix, axis=-1), axis=-1, keepdims=True)
    return xp.where(along < 0, -component, component)


def as_map(component: Array, features: Array) -> Array:
    """A component (..., cells) on the grid of `features`."""
    return namespace(component).reshape(component, tuple(features.shape)[:-1])

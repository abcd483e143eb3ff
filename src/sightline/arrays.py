"""Array maths that every framework shares: native arrays in, native arrays out."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from statistics import NormalDist
from types import SimpleNamespace
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

_NAMESPACES: dict[type, Any] = {}
Array = Any  # torch.Tensor, jax.Array, tf.Tensor or numpy.ndarray


def namespace(a: Array) -> Any:
    """The array-API namespace of `a`; for TensorFlow's tensors an alias over `keras.ops`."""
    kind = type(a)
    if kind not in _NAMESPACES:
        of_tensorflow = kind.__module__.partition(".")[0] == "tensorflow"
        _NAMESPACES[kind] = _over_keras_ops() if of_tensorflow else array_namespace(a)
    return _NAMESPACES[kind]


@cache
def _over_keras_ops() -> SimpleNamespace:
    from keras import ops

    same = "abs max min maximum minimum mean sum sqrt where stack matmul reshape moveaxis zeros_like ones_like square "
    same += "expand_dims flip any all isfinite squeeze sign clip exp linspace broadcast_to tile cumsum argsort argmax "
    same += "log log1p roll sort take_along_axis tanh"
    names = {name: getattr(ops, name) for name in same.split()}
    return SimpleNamespace(
        **names,
        concat=ops.concatenate,
        astype=ops.cast,
        permute_dims=ops.transpose,
        asarray=ops.convert_to_tensor,
        copysign=lambda a, b: ops.where(b >= 0, ops.abs(a), -ops.abs(a)),
        linalg=SimpleNamespace(eigh=ops.eigh),
        float32="float32",
    )


def like(values: np.ndarray[Any, Any], a: Array) -> Array:
    """`values` as an array of `a`'s framework, type and device."""
    xp = namespace(a)
    if type(a).__module__.partition(".")[0] == "tensorflow":
        return xp.asarray(values, dtype=a.dtype)
    if getattr(a, "is_cuda", False):
        return _sent(values, a).to(a.dtype)
    return xp.asarray(values, dtype=a.dtype, device=device(a))


def beside(values: np.ndarray[Any, Any], a: Array) -> Array:
    """`values`, in their own type, as an array of `a`'s framework on its device."""
    xp = namespace(a)
    if type(a).__module__.partition(".")[0] == "tensorflow":
        return xp.asarray(values)
    if getattr(a, "is_cuda", False):
        return _sent(values, a)
    return xp.asarray(values, device=device(a))


def _sent(values: np.ndarray[Any, Any], a: Array) -> Array:
    """`values` on a GPU, in their own type, without waiting until it is done with all that came before; they are staged
    when the call returns, so that they may be overwritten then."""
    import torch

    return torch.as_tensor(values).to(a.device, non_blocking=True)


def to_numpy(a: Array) -> np.ndarray[Any, Any]:
    """`a` on the host; half precision becomes float32, which NumPy's users expect."""
    if hasattr(a, "detach"):
        a = a.detach().cpu()
        a = a.float() if a.is_floating_point() and a.element_size() < 4 else a
    values = np.asarray(a)
    wide = values.dtype.kind in "iub" or values.dtype in (np.float32, np.float64)
    return values if wide else values.astype(np.float32)


def native(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Fractions as every framework takes them: in one piece, in this machine's byte order, in float64 at the most."""
    return np.ascontiguousarray(values, f"f{min(values.itemsize, 8)}")


def sides(images: Array, channel: int) -> tuple[int, int]:
    """Height and width of images (n, ...) whose axis of channels is `channel`, counted from the end."""
    height, width = (side for axis, side in enumerate(images.shape) if axis and axis - images.ndim != channel)
    return height, width


def transposed(a: Array) -> Array:
    """Matrices (..., m, n) as (..., n, m)."""
    return namespace(a).moveaxis(a, -1, -2)


def tile(a: Array, times: int) -> Array:
    """`times` copies of `a` behind each other along the first axis."""
    return a if times == 1 else namespace(a).concat([a] * times, axis=0)


def relu(a: Array) -> Array:
    """The positive part of `a`."""
    if hasattr(a, "clamp"):  # torch: one pass over the memory, where a maximum needs zeros to compare with
        return a.clamp(min=0)
    return namespace(a).maximum(a, namespace(a).zeros_like(a))


def rectified(a: Array) -> Array:
    """The positive part of `a`, which is the caller's own and may be overwritten."""
    return a.clamp_(min=0) if hasattr(a, "clamp_") else relu(a)


def at_least_float32(a: Array) -> Array:
    """`a`, in float32 where it is in half precision, which linear algebra does not know."""
    xp = namespace(a)
    return xp.astype(a, xp.float32) if "16" in str(a.dtype) else a


def top_eigenvector(a: Array) -> tuple[Array, Array]:
    """The largest eigenvalue (...) of symmetric matrices (..., n, n), and its unit eigenvector (..., n) up to its sign."""
    values, vectors = namespace(a).linalg.eigh(a)
    return values[..., -1], vectors[..., -1]


def logsumexp(a: Array) -> Array:
    """Logarithm of the sum of the exponentials over the last axis, which neither overflows nor underflows."""
    xp = namespace(a)
    top = xp.max(a, axis=-1, keepdims=True)
    return xp.log(xp.sum(xp.exp(a - top), axis=-1)) + top[..., 0]


def resize(a: Array, size: tuple[int, int]) -> Array:
    """Bilinear resize of the last two axes to `size` (height, width), half-pixel centres, edges held.

    Two small matrix products, so that it is the same in every framework and differentiable.
    """
    xp = namespace(a)
    rows, columns = (like(bilinear(old, new), a) for old, new in zip(a.shape[-2:], size))
    return xp.matmul(xp.matmul(rows, a), columns.T if hasattr(columns, "mT") else xp.permute_dims(columns, (1, 0)))


@cache
def bilinear(old: int, new: int) -> np.ndarray[Any, Any]:
    """(new, old) weights of a bilinear resize of one axis: how much of each old sample goes into each new one."""
    at = np.clip((np.arange(new) + 0.5) * old / new - 0.5, 0, old - 1)
    low = np.minimum(at.astype(int), max(old - 2, 0))
    weights = np.zeros((new, old))
    weights[np.arange(new), low] = 1 - (at - low)
    weights[np.arange(new), np.minimum(low + 1, old - 1)] += at - low
    return weights


def over_rows(function: Callable[[Array], Array], a: Array) -> Array:
    """`function` of each row of `a`, a scalar each; the number of rows may be unknown while a pass is traced."""
    root = type(a).__module__.partition(".")[0]
    if root == "tensorflow":
        import tensorflow as tf

        return tf.map_fn(lambda row: tf.reshape(function(row), ()), a)
    if root in ("jax", "jaxlib"):
        import jax

        return jax.vmap(lambda row: jax.numpy.reshape(function(row), ()))(a)
    xp = namespace(a)
    return xp.stack([xp.reshape(function(a[i, ...]), ()) for i in range(a.shape[0])], axis=0)


def normal(x: Array, random_state: int, k: int) -> Array:
    """Draw `k`: standard normal noise of one image of `x`, the same for every image of the call.

    It depends on `random_state`, `k` and the kind of device alone, so that neither the chunk nor the batch moves a map.
    """
    shape = tuple(x.shape[1:])
    seed = np.random.SeedSequence([random_state, k])
    if hasattr(x, "is_cuda") and x.is_cuda:
        return _normal_on_device(x, shape, int(seed.generate_state(1, np.uint64)[0] >> np.uint64(1)))
    count = int(np.prod(shape))
    bits = np.random.SFC64(seed).random_raw(-(-count // 4)).view(np.uint16)[:count]
    return like(np.reshape(_normal_quantiles()[bits], shape), x)


@cache
def _normal_quantiles() -> np.ndarray[Any, Any]:
    """The middles of 65,536 equally likely slices of the normal distribution, of variance 1.

    Sixteen random bits looked up here are drawn four times as fast as by NumPy's own method, which would cost a tenth
    of a small model's pass.
    """
    upper = [NormalDist().inv_cdf((i + 0.5) / 65536) for i in range(32768, 65536)]
    values = np.array([-v for v in reversed(upper)] + upper)
    return np.asarray((values / values.std()).astype(np.float32))


def _normal_on_device(x: Array, shape: tuple[int, ...], seed: int) -> Array:
    """Drawing where the model lives saves a copy from the host for each sample."""
    import torch

    generator = torch.Generator(device=x.device).manual_seed(seed)
    return torch.randn(shape, generator=generator, device=x.device, dtype=torch.float32).to(x.dtype)

"""Which of torch's functions are one operation, however they are written."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F

Func = Callable[..., Any]
T = torch.Tensor

RELU = {torch.relu, torch.relu_, F.relu, F.relu_, T.relu, T.relu_}
RELU6 = {F.relu6, F.hardtanh, F.hardtanh_, torch._C._nn.hardtanh, torch._C._nn.relu6}
CLAMP = {torch.clamp, torch.clamp_, T.clamp, T.clamp_, torch.clamp_min, torch.clamp_min_, T.clamp_min, T.clamp_min_}
CLAMP |= {torch.clip, torch.clip_, T.clip, T.clip_}
SOFTMAX = {F.softmax, torch.softmax, T.softmax, F.log_softmax, torch.log_softmax, T.log_softmax}
SOFTMAX |= {torch.special.softmax, torch.special.log_softmax}
SIGMOID = {F.sigmoid, torch.sigmoid, T.sigmoid, torch.sigmoid_, T.sigmoid_, torch.special.expit}
SHAPE = {T.squeeze, torch.squeeze, T.flatten, torch.flatten, T.reshape, torch.reshape, T.view, T.unsqueeze}
SHAPE |= {torch.unsqueeze, T.permute, torch.permute, T.transpose, torch.transpose, T.__getitem__, T.contiguous}
SHAPE |= {T.float, T.double, T.half, T.to}
KEEPING = {T.contiguous, T.clone, torch.clone, T.float, T.double, T.half, T.to, T.type, T.type_as}
"""What gives the same values."""
MAX = {F.max_pool1d, torch.max_pool1d, F.max_pool2d, torch.max_pool2d, F.max_pool3d, torch.max_pool3d}
MAX |= {F.adaptive_max_pool1d, F.adaptive_max_pool2d, F.adaptive_max_pool3d, torch.amax, T.amax}
MEAN = {F.avg_pool1d, F.avg_pool2d, F.avg_pool3d, F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d}
MEAN |= {torch.mean, T.mean, torch.sum, T.sum}
MONOTONE = {F.leaky_relu, F.leaky_relu_, F.elu, F.elu_, F.selu, torch.selu, torch.tanh, T.tanh, T.tanh_, F.prelu}
"""Activations that rise, from zero at zero."""
GATED: set[Func] = {F.gelu, F.silu, F.hardswish, F.mish, F.softplus, F.hardsigmoid}
PASSING = {*SHAPE, T.unflatten, torch.unflatten, T.expand, T.expand_as, torch.t, T.t, T.T.__get__, T.mT.__get__}
PASSING |= {torch.movedim, T.movedim, torch.moveaxis, T.moveaxis, torch.swapaxes, T.swapaxes, torch.flip, T.flip}
PASSING |= {torch.chunk, T.chunk, torch.split, T.split, torch.unbind, T.unbind, torch.stack, torch.narrow, T.narrow}
PASSING |= {torch.select, T.select, torch.roll, T.roll, T.view_as, torch.clone, T.clone, T.to, T.float, T.double}
PASSING |= {T.type, T.type_as, T.cpu, T.requires_grad_, T.register_hook, F.pad, F.dropout, F.dropout1d, F.dropout2d}
PASSING |= {F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout, torch.dropout, torch.broadcast_to, T.masked_fill}
PASSING |= {torch.masked_fill, F.channel_shuffle, F.pixel_shuffle, F.pixel_unshuffle, T.data.__get__, T.detach}
"""What only moves values, or lets them be in evaluation mode."""

CONVOLUTIONS = {F.conv1d, F.conv2d, F.conv3d, torch.conv1d, torch.conv2d, torch.conv3d}
KINDS: dict[Func, str] = {
    F.linear: "linear",
    torch.conv_transpose1d: "conv",
    torch.conv_transpose3d: "conv",
    **dict.fromkeys(CONVOLUTIONS, "conv"),
    **dict.fromkeys((F.conv_transpose2d, torch.conv_transpose2d), "conv"),
    **dict.fromkeys((F.batch_norm, F.layer_norm, F.group_norm, F.instance_norm, torch.batch_norm), "norm"),
    **dict.fromkeys((*MAX, *MEAN), "pool"),
    **dict.fromkeys((torch.add, T.add, T.add_, T.__add__, T.__radd__, T.__iadd__), "add"),
    **dict.fromkeys((torch.sub, T.sub, T.sub_, T.__sub__, T.__rsub__, T.__isub__, torch.rsub), "sub"),
    **dict.fromkeys((torch.div, T.div, T.div_, T.__truediv__, T.__itruediv__, torch.true_divide), "div"),
    **dict.fromkeys((torch.mul, T.mul, T.mul_, T.__mul__, T.__rmul__, T.__imul__), "mul"),
    **dict.fromkeys((torch.matmul, T.matmul, T.__matmul__, torch.bmm, T.bmm), "matmul"),
    **dict.fromkeys((*MONOTONE, *GATED), "activation"),
    **dict.fromkeys((torch.cat, torch.concat), "concat"),
    F.scaled_dot_product_attention: "attention",
    **dict.fromkeys(RELU, "relu"),
    **dict.fromkeys((F.softmax, torch.softmax, T.softmax), "softmax"),
    **dict.fromkeys(SIGMOID, "sigmoid"),
}


def kind_of(func: Func, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The kind of a call and what a rule must know of it ("" for a call that is no operation of its own)."""
    if func in RELU:
        return "relu", {"limit": math.inf}
    if func in RELU6 or func in CLAMP:
        low, high = _bounds(func, args, kwargs)
        return ("relu", {"limit": high}) if low == 0 else ("", {})
    return KINDS.get(func, ""), _FACTS.get(func, {})


_FACTS: dict[Func, dict[str, Any]] = {
    **{f: {"largest": f in MAX} for f in (*MAX, *MEAN)},
    **{f: {"monotone": f in MONOTONE, "name": f.__name__} for f in (*MONOTONE, *GATED)},
}


def _bounds(func: Func, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
    """Lower and upper limit of a hardtanh or a clamp."""
    if func in (F.relu6, torch._C._nn.relu6):
        return 0, 6.0
    hard = func in RELU6
    names, default = (("min_val", "max_val"), (-1.0, 1.0)) if hard else (("min", "max"), (None, None))
    given = dict(zip(names, args[1:])) | {name: kwargs[name] for name in names if name in kwargs}
    low, high = (given.get(name, fallback) for name, fallback in zip(names, default))
    low = None if isinstance(low, T) else low
    return low, math.inf if high is None else high

"""What a rule gave for an operation, as a backward pass that every backend can take."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from sightline.arrays import Array
from sightline.model import Back, Bent, Instead, Op, Outgoing, Refused, Through


def given_again(op: Op, xs: tuple[Array, ...], source: Any, start: tuple[Array, ...]) -> Op:
    """The operation with other arguments, and so the one before it that is `start`."""
    before = op.before and given_again(
        op.before, start if op.before.source is source else op.before.source, source, start
    )
    return replace(op, given=lambda: xs, before=before, source=op.source and xs)


def as_back(found: Bent, op: Op, xs: tuple[Array, ...]) -> Back:
    """What a rule gave, as a backward pass."""
    if isinstance(found, Refused):
        return partial(_refuse, found.error)
    if isinstance(found, Instead):
        return found.back
    if isinstance(found, Outgoing):
        change = found.change
        return lambda y, grad_y: tuple(map(change, op.again(*xs, **op.params)[1](grad_y)))
    assert found is not None and not isinstance(found, Through)
    return found


def _refuse(error: Exception, y: Array, grad_y: Array) -> tuple[Array, ...]:
    raise error

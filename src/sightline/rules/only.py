"""Which operations a rule is asked of."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

R = TypeVar("R", bound=Callable[..., object])


def only(*kinds: str) -> Callable[[R], R]:
    """Mark a rule that bends operations of these kinds alone: an adapter spares itself and it the others."""

    def mark(rule: R) -> R:
        rule.kinds = frozenset(kinds)  # type: ignore[attr-defined]
        return rule

    return mark

"""What a model's softmax or sigmoid was given, followed through the changes of shape after it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from sightline.frameworks.torch.ops import KEEPING, SOFTMAX, Func, T


@dataclass(frozen=True)
class Head:
    """A softmax or sigmoid: what it was given, and for a softmax which entries sum to 1, each such group a number."""

    kind: str
    scores: torch.Tensor
    groups: torch.Tensor | None = None
    classes: int = 0  # of a group

    def then(self, func: Func, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Head:
        """The head in another shape: `func` of what it gave, and `args` after that."""
        if func is T.view:  # what was given may lie otherwise in memory
            func = T.reshape
        groups = self.groups if self.groups is None or func in KEEPING else func(self.groups, *args, **kwargs)
        return replace(self, scores=func(self.scores, *args, **kwargs), groups=groups)

    @property
    def ends(self) -> bool:
        """Whether its scores are those of the classes: a part of a group, or several as one, has no scores of its own."""
        groups = self.groups
        if groups is None:
            return True
        if groups.ndim > 2 and groups.numel() == (int(groups.max()) + 1) * self.classes:  # each place has its own
            return True
        rows = groups if groups.ndim > 1 else groups[None]  # the axis of one image may be gone
        return rows.shape[1] == self.classes and bool((rows == rows[:, :1]).all())


def head_of(func: Func, scores: torch.Tensor, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Head:
    """That of a call of softmax or sigmoid."""
    if func not in SOFTMAX:
        return Head("sigmoid", scores)
    axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
    if axis is None:  # torch's own guess
        axis = 0 if scores.ndim in (0, 1, 3) else 1
    of_each = list(scores.shape)
    of_each[axis] = 1
    groups = torch.arange(torch.Size(of_each).numel(), device=scores.device).view(of_each).expand(scores.shape)
    return Head("softmax", scores, groups, scores.shape[axis])

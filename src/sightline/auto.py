"""method="auto": which method is used when nobody has chosen one, by a rule that is stated and was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sightline.method import Method, find

AUTO = "auto"
_METHOD, _OPTIONS = "integrated-gradients", {"baseline": "mean"}
_WHY = (
    "method='auto' took integrated-gradients from the picture's mean colour: on the worlds whose answer is known its maps "
    "lie where the evidence is, it misses neither dark nor bright evidence, and its sum can be checked "
    "(docs/which_method.md)"
)


def choose(name: str, params: Mapping[str, Any]) -> tuple[Method, Mapping[str, Any], tuple[str, ...]]:
    """The method called `name`, the options, and a note on why it was taken; MethodError for an unknown name."""
    if str(name).lower() != AUTO:
        return find(name), params, ()
    return find(_METHOD), {**_OPTIONS, **params}, (_WHY,)

"""SmoothGrad, for any method."""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

from sightline.arrays import Array, namespace, tile
from sightline.method import Count, Size, find, method
from sightline.methods._noise import noisy_copies
from sightline.model import Model, Target
from sightline.stream import along, groups, split


@method(
    family="wrapper",
    cost="samples × the method smoothed",
    source="Smilkov et al. 2017, arXiv:1706.03825; squared: Hooker et al. 2019, arXiv:1806.10758; variance: "
    "Adebayo et al. 2018, arXiv:1810.03307",
)
def smoothgrad(
    model: Model,
    x: Array,
    target: Target,
    *,
    of: str = "gradient",
    samples: Count = 25,
    noise: Size = 0.15,
    form: Literal["mean", "squared", "variance"] = "mean",
    random_state: int = 0,
    **params: Any,
) -> Array:
    """Another method's attribution, averaged over copies of the image with Gaussian noise.

    Shape and units are those of the method `of`. `noise` is the standard deviation as a share of each image's range of
    values; `form` is "mean", "squared" (mean of the squares) or "variance". Options that are not its own go to the
    method smoothed. It shows what the neighbourhood of the image has in common, which need not be what the image has.
    """
    xp, smoothed = namespace(x), find(of)
    copies = noisy_copies(x, noise, random_state)
    seen, mean, spread = 0, 0.0, 0.0
    for group in groups(model, x, range(samples)):
        count = len(group)
        pack = xp.reshape(copies(group), (-1, *x.shape[1:]))
        given = {name: along(v, x, partial(tile, times=count)) for name, v in params.items()}
        found, _ = smoothed.attribute(model, pack, target.repeat(count), **given)
        found = split(found * found if form == "squared" else found, count, 1)
        step = xp.mean(found, axis=1) - mean
        if form == "variance":  # merged as Chan et al. 1983 do: the mean of squares less the squared mean cancels
            within = xp.sum((found - xp.mean(found, axis=1, keepdims=True)) ** 2, axis=1)
            spread = spread + within + step * step * (seen * count / (seen + count))
        seen += count
        mean = mean + step * (count / seen)
    return spread / seen if form == "variance" else mean

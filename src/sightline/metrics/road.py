"""ROAD."""

from __future__ import annotations

import numpy as np

from sightline.arrays import Array, like, to_numpy
from sightline.hiding import scores_of
from sightline.method import Count, Size
from sightline.metric import Curves, Scored, Ties, metric
from sightline.metrics._imputation import imputed
from sightline.metrics._removal import ranked, scored_as
from sightline.model import Model, Target

_EXACT = 1e-4  # of the image's range: far below the noise that is added


@metric(
    family="faithfulness",
    better="higher",
    source="Rong et al. 2022, arXiv:2202.00449; both orders combined as in pytorch-grad-cam",
    presets={"rong-2022": {"steps": 9, "noise": 0.01, "scored": "accuracy"}},
)
def road(
    maps: np.ndarray,
    model: Model,
    x: Array,
    target: Target,
    probability: Target | None,
    *,
    steps: Count = 9,
    noise: Size = 0.01,
    scored: Scored = "probability",
    ties: Ties = "shuffled",
    random_state: int = 0,
) -> tuple[np.ndarray, Curves]:
    """Half of how much more score is left without the least relevant pixels than without the most relevant ones.

    Exactly 1, 2, ... `steps` parts of `steps` + 1 of the pixels are replaced by noisy linear imputation: the weighted mean
    of their neighbours, solved for all at once, and normal noise of deviation `noise` in the model's input units, the same
    for every image. -0.5 to 0.5 for probabilities, 0 for a map by chance. It hides the shape of the mask better than a
    colour does; a large hole becomes smooth, which is new to the model too. "rong-2022" counts the share of images whose
    class is still the highest, at nine shares as in pytorch-grad-cam. Curves: "most" and "least" (n, steps), the scores
    left when these pixels are gone.
    """
    asked = scored_as(scored, target, probability)
    ranks = ranked(maps, ties, random_state)
    images = np.moveaxis(to_numpy(x), model.channel, 1).astype(np.float64)
    count = maps[0].size

    def removed(items: list[int]) -> Array:
        return like(np.stack([one(*divmod(item, steps)) for item in items]), x)

    def one(least: int, step: int) -> np.ndarray:
        gone = (step + 1) * count // (steps + 1)
        missing = ranks >= count - gone if least else ranks < gone
        added = noise * np.random.default_rng([random_state, step]).normal(size=images.shape[1:])
        filled = [imputed(image, own, _EXACT) + own * added for image, own in zip(images, missing)]
        return np.moveaxis(np.stack(filled), 1, model.channel)

    left = scores_of(model, x, asked, range(2 * steps), removed)[0].T
    most, least = left[:, :steps], left[:, steps:]
    return (least - most).mean(axis=1) / 2, {"most": most, "least": least}

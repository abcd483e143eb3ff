"""XRAI."""

from __future__ import annotations

from typing import Any

import numpy as np

from sightline.arrays import Array, like, resize, to_numpy
from sightline.hiding import size_of
from sightline.method import Baselines, Checks, Method, find, method
from sightline.methods._paths import mean_of, several
from sightline.methods._superpixels import unit
from sightline.model import Model, Target
from sightline.reduce import reduced

_SCALES = (50, 100, 150, 250, 500, 1200)
_LEAST = 150 / 224**2  # of the image's area: the smallest region
_EDGE = 5 / 224  # of its shorter side: how far a region is widened


@method(
    family="wrapper",
    cost="the method ranked, once a baseline",
    source="Kapishnikov et al. 2019, algorithm 1, arXiv:1906.02825",
)
def xrai(
    model: Model,
    x: Array,
    target: Target,
    *,
    of: str = "integrated-gradients",
    baseline: Baselines = "black+white",
    **params: Any,
) -> tuple[Array, Checks]:
    """Regions of the image, ranked by how much of another method's attribution they hold for their area.

    Shape (k, n, height, width), in units of the method `of` for each pixel: what the region that brought the pixel in
    holds for each of its new pixels. Regions are Felzenszwalb's at six scales, widened by 5/224 of the image; the
    next is always the one with the most attribution for each pixel that is not yet taken. Where the method `of` has a
    baseline, its attribution is the mean over black and white, as in the paper. Channels are first made one as that
    method does. Options that are not its own go to that method. Whatever that method gets wrong it keeps, and
    a part that matters within a region that does not is spread over all of it.
    """
    size = size_of(model, x)
    ranked = find(of)
    found, checks = _attributed(ranked, model, x, target, baseline, params)
    maps = to_numpy(found).astype(np.float64)
    if maps.ndim == 5:
        maps = reduced(np.moveaxis(maps, model.channel, -1), ranked.reduce)
    maps = np.asarray(resize(maps, size))
    regions = [_regions(image) for image in unit(x, model.channel)]
    return like(np.stack([[_ranked(own, r) for own, r in zip(each, regions)] for each in maps]), x), checks


def _attributed(
    ranked: Method, model: Model, x: Array, target: Target, baseline: Baselines, params: Any
) -> tuple[Array, Checks]:
    """The attribution that is ranked, and its checks: the mean over the baselines, where it has one."""
    if "baseline" not in ranked.params:
        return ranked.attribute(model, x, target, **params)
    if ranked.hints["baseline"] == Baselines:
        return ranked.attribute(model, x, target, baseline=baseline, **params)
    each = [ranked.attribute(model, x, target, baseline=one, **params)[0] for one in several(baseline)]
    return mean_of(each), {}


def _regions(image: np.ndarray) -> Any:
    """Which pixels each region takes: a sparse matrix (regions, pixels)."""
    from scipy import ndimage, sparse
    from skimage.morphology import disk
    from skimage.segmentation import felzenszwalb

    height, width = image.shape[:2]
    edge, least = round(_EDGE * min(height, width)), max(1, round(_LEAST * height * width))
    rows: list[np.ndarray] = []
    for scale in _SCALES:
        labels = felzenszwalb(2 * image - 1, scale=scale, sigma=0.8, min_size=least, channel_axis=-1)
        for label, box in enumerate(ndimage.find_objects(labels + 1)):
            top, left = (max(0, part.start - edge) for part in box)
            wide = (slice(top, box[0].stop + edge), slice(left, box[1].stop + edge))
            taken = labels[wide] == label
            taken = ndimage.binary_dilation(taken, disk(edge)) if edge else taken
            y, x = np.nonzero(taken)
            rows.append((y + top) * width + x + left)
    starts = np.cumsum([0, *map(len, rows)])
    return sparse.csr_array((np.ones(starts[-1]), np.concatenate(rows), starts), (len(rows), height * width)).tocsc()


def _ranked(attribution: np.ndarray, regions: Any) -> np.ndarray:
    """Each pixel's gain: what the region that brought it in holds for each pixel that it brings."""
    values, out = attribution.ravel(), np.zeros(attribution.size)
    free = np.ones(values.size, bool)
    held, areas = regions @ values, regions @ np.ones(values.size)
    rows = regions.tocsr()
    while free.any():
        best = int(np.argmax(np.where(areas > 0.5, held / np.maximum(areas, 1), -np.inf)))
        taken = rows.indices[rows.indptr[best] : rows.indptr[best + 1]]
        taken = taken[free[taken]]
        out[taken] = held[best] / areas[best]
        free[taken] = False
        new = regions[:, taken]
        held, areas = held - new @ values[taken], areas - new.sum(axis=1)
    return out.reshape(attribution.shape)

"""From the numbers of a map to colours, on a scale that is stated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.errors import MethodError, nearest

UNSIGNED, SIGNED = "inferno", "RdBu_r"  # perceptually uniform; diverging, white at zero; both safe for the colour-blind
ROUNDING = 1e-6  # of the largest value: a smaller negative one is rounding, not a sign
NOT_A_NUMBER = np.array([[255, 0, 255], [255, 255, 255]], np.uint8)  # stripes, in no default colour map
STRIPE = 3  # pixels


@dataclass(frozen=True)
class Scale:
    """What the colours of a map mean: `low` to `high` on the colour map `colormap`, centred on zero where `signed`.

    `percentile` is the percentile of the absolute values at which the scale ends, or None where it ends at the largest.
    """

    low: float
    high: float
    signed: bool
    colormap: str
    percentile: float | None = None


def scale_of(
    heats: NDArray[Any] | Iterable[NDArray[Any]],
    *,
    signed: bool | None = None,
    percentile: float | None = None,
    colormap: str | None = None,
) -> Scale:
    """The scale that shows one map, or several on equal terms.

    A signed scale is -m..m, an unsigned one 0..m, where m is the largest finite absolute value, or its `percentile`
    (over 0, under 100). Signed unless told: where a value is below zero by more than rounding. `colormap` is a name of
    Matplotlib's. MethodError: unknown colour map, percentile out of range or of a value of zero, `signed=False` for a
    map with negative values.
    """
    values = finite_values(heats)
    size = np.abs(values)
    most = float(size.max(initial=0))
    negative = bool(values.min(initial=0) < -ROUNDING * most)
    if negative and signed is False:
        raise MethodError(
            f"signed=False was given for a map with values down to {values.min():.3g}; an unsigned scale starts at 0.",
            "Leave `signed` out, or take the absolute value of the map first.",
        )
    signed = negative if signed is None else signed
    high = most if percentile is None else percentile_of(size, percentile)
    name = colormap or (SIGNED if signed else UNSIGNED)
    colour_table(name)
    return Scale(-high if signed else 0.0, high, signed, name, percentile)


def finite_values(heats: NDArray[Any] | Iterable[NDArray[Any]]) -> NDArray[np.float64]:
    """All finite values of one map or several, in one row."""
    maps = [heats] if isinstance(heats, np.ndarray) else list(heats)
    values: NDArray[np.float64] = np.concatenate([np.ravel(h).astype(np.float64) for h in maps] or [np.zeros(0)])
    finite: NDArray[np.float64] = values[np.isfinite(values)]
    return finite


def percentile_of(size: NDArray[np.float64], percentile: float) -> float:
    """The `percentile` of the absolute values `size`; MethodError where it would hide every value."""
    if not 0 < percentile < 100:
        raise MethodError(
            f"percentile={percentile} was given; expected a number over 0 and under 100.",
            "Leave it out to show every value, or take one near 100, such as 99.5.",
        )
    high = float(np.percentile(size, percentile)) if size.size else 0.0
    if high == 0 and size.any():
        raise MethodError(
            f"The {percentile:g}th percentile of this map is 0, so that clipping there would hide every value.",
            "Leave `percentile` out, or take one nearer to 100.",
        )
    return high


@lru_cache(maxsize=32)
def colour_table(name: str) -> NDArray[np.uint8]:
    """The colours of a Matplotlib colour map, (257, 3): an odd number, so that zero has the middle one."""
    from matplotlib import colormaps

    if name not in colormaps:
        raise MethodError(
            f"The colour map {name!r} was given; expected a name that Matplotlib knows.",
            nearest(name, colormaps, "Matplotlib's list of colour maps; the usual ones are inferno, viridis and jet"),
        )
    table: NDArray[np.uint8] = np.rint(255 * colormaps[name].resampled(257)(np.arange(257))[:, :3]).astype(np.uint8)
    table.flags.writeable = False
    return table


def position(heat: NDArray[Any], scale: Scale) -> NDArray[np.float64]:
    """Where each value lies on the scale: 0 at its low end, 1 at its high end, NaN where it is not finite."""
    span = scale.high - scale.low
    value: NDArray[np.float64] = np.where(np.isfinite(heat), heat, np.nan).astype(np.float64)
    if span == 0:
        return 0 * value + (0.5 if scale.signed else 0.0)
    clipped: NDArray[np.float64] = np.clip((value - scale.low) / span, 0, 1)
    return clipped


def colourise(heat: NDArray[Any], scale: Scale) -> NDArray[np.uint8]:
    """The colours (h, w, 3) of a map (h, w); a value that is not finite gets stripes, never the colour of a value."""
    where = position(heat, scale)
    lost = np.isnan(where)
    table = colour_table(scale.colormap)
    colours: NDArray[np.uint8] = table[np.rint(np.where(lost, 0, where) * (len(table) - 1)).astype(np.intp)]
    y, x = np.nonzero(lost)
    colours[y, x] = NOT_A_NUMBER[(x + y) // STRIPE % 2]
    return colours

"""Maps of one Keras model by every method, on the backend of this process: python backend_maps.py KIND OUT.npz."""

from __future__ import annotations

import os
import sys

os.environ["SIGHTLINE_TEST_FRAMEWORK"] = f"keras-{os.environ['KERAS_BACKEND']}"

from pathlib import Path
from typing import Any

import numpy as np

import paper
import sightline as sl
from nets import ON_CONVOLUTIONS, ONE_OF_EACH_KIND, build, native, use_float64
from sightline.asking import Request, ask
from sightline.method import METHODS
from sightline.params import settle_params

FEW = {"steps": 8, "samples": 4, "window": 56, "stride": 28}
SMALL = {"steps": 4, "samples": 3, "window": 5, "stride": 3, "cells": 3, "segments": 12}


def small_maps(nested: bool) -> dict[str, np.ndarray]:
    """float64 attributions on the small net, alone or nested inside another model."""
    use_float64()
    model = build(paper.small_net())
    if nested:
        import keras

        image = keras.Input((12, 12, 3), dtype="float64")
        model = keras.Model(image, model(image))
    images = np.random.default_rng(2).normal(size=(3, 12, 12, 3))
    loaded = sl.load(model)
    names = ONE_OF_EACH_KIND if nested else ON_CONVOLUTIONS
    return {name: _native(name, loaded, native(images, loaded.model), SMALL) for name in names}


def _native(name: str, loaded: sl.Loaded, x: Any, few: dict[str, int]) -> np.ndarray:
    method = METHODS[name]
    params = settle_params(method, {key: v for key, v in few.items() if method.takes(key, {})})
    ((found, _),) = ask([Request(method, params, ["top"], None, None, 0.0)], loaded, None, x)
    return found.attribution


def photograph_maps(assets: Path) -> dict[str, np.ndarray]:
    """float32 maps of the trained MobileNetV2 on a photograph."""
    loaded = sl.load(str(assets / "mobilenet_v2.keras"), preprocess="resize=224,crop=224,mean=0.5,std=0.5")
    found: dict[str, np.ndarray] = {}
    for name in ONE_OF_EACH_KIND:
        options = {key: v for key, v in FEW.items() if METHODS[name].takes(key, {})}
        answer = sl.explain(loaded, assets / "images" / "cat.png", method=name, **options)
        assert isinstance(answer, sl.Explanation)
        found[name] = answer.map
        found["class"] = np.array([answer.target[0]["index"]])
    return found


if __name__ == "__main__":
    kind, out = sys.argv[1:3]
    maps = photograph_maps(Path(sys.argv[3])) if kind == "photograph" else small_maps(kind == "nested")
    np.savez(out, **maps)

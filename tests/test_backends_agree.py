"""One Keras model gives one map, whatever the backend: three processes, one a backend."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FRAMEWORKS = ("none",)
BACKENDS = ("tensorflow", "jax", "torch")
QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"  # for compiling small nets


def maps(kind: str, folder: Path, *more: str) -> list[dict[str, np.ndarray]]:
    """The maps of each backend."""
    found = []
    for backend in BACKENDS:
        out = folder / f"{backend}.npz"
        script = str(Path(__file__).with_name("backend_maps.py"))
        env = os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
        env |= {"XLA_FLAGS": QUICK} if kind != "photograph" else {}
        done = subprocess.run([sys.executable, script, kind, str(out), *more], env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        with np.load(out) as arrays:
            found.append({name: arrays[name] for name in arrays.files})
    return found


@pytest.mark.parametrize("kind", ["small", "nested"])
def test_a_small_net_in_float64_has_equal_maps_on_every_backend(kind: str, tmp_path: Path) -> None:
    first, *others = maps(kind, tmp_path)
    assert len(first) >= 9
    for other in others:
        for name, expected in first.items():
            np.testing.assert_allclose(other[name], expected, rtol=0, atol=1e-10 * np.abs(expected).max(), err_msg=name)


@pytest.mark.assets
def test_the_trained_net_sees_a_cat_and_looks_at_the_same_place_on_every_backend(tmp_path: Path, assets: Path) -> None:
    first, *others = maps("photograph", tmp_path, str(assets))
    assert first["class"].tolist() == [285]
    for other in others:
        assert other["class"].tolist() == [285]
        for name in set(first) - {"class"}:
            assert np.corrcoef(other[name].ravel(), first[name].ravel())[0, 1] > 0.999, name

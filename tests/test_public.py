"""The public names, and what importing them costs."""

from __future__ import annotations

import json
import subprocess
import sys

import sightline

HEAVY = ("torch", "torchvision", "keras", "tensorflow", "jax", "matplotlib", "skimage", "scipy")


def test_public_names_are_sorted_and_there() -> None:
    assert sightline.__all__ == sorted(sightline.__all__)
    assert {name for name in sightline.__all__ if hasattr(sightline, name)} == set(sightline.__all__)


def test_there_is_no_public_name_besides() -> None:
    modules = {name.removeprefix("sightline.") for name in sys.modules if name.startswith("sightline.")}
    seen = {name for name in vars(sightline) if not name.startswith("_")} - {"annotations"}
    assert seen - modules <= set(sightline.__all__)
    assert set(sightline.__all__) <= seen


def test_every_error_of_the_tree_is_public() -> None:
    from sightline import errors

    tree = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    tree |= {"PreprocessingWarning"}
    assert tree <= set(sightline.__all__)


def test_importing_loads_no_framework_and_no_plotting() -> None:
    for code in ("import sightline", "import sightline; sightline.methods()", "import sightline.cli"):
        script = f"{code}; import json, sys; print(json.dumps(sorted(sys.modules)))"
        found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        loaded = {name.partition(".")[0] for name in json.loads(found.stdout)}
        assert "sightline" in loaded
        assert not loaded & set(HEAVY), code

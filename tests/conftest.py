"""One framework a process: SIGHTLINE_TEST_FRAMEWORK chooses it, and only modules that list it are collected."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

CHOICES = ("none", "torch", "keras-tensorflow", "keras-jax", "keras-torch")
FRAMEWORK = os.environ.setdefault("SIGHTLINE_TEST_FRAMEWORK", "torch")
if FRAMEWORK not in CHOICES:
    raise pytest.UsageError(f"SIGHTLINE_TEST_FRAMEWORK={FRAMEWORK!r} was given; expected one of {', '.join(CHOICES)}.")
if FRAMEWORK.startswith("keras-"):
    os.environ["KERAS_BACKEND"] = FRAMEWORK.removeprefix("keras-")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    quick = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
    os.environ.setdefault("XLA_FLAGS", quick)  # the nets are small: compiling them takes longer than running them

ROOT = Path(__file__).parents[1]
ASSETS = Path(os.environ.get("SIGHTLINE_ASSETS", ROOT.parent / "shared" / "assets"))


def _frameworks(path: Path) -> tuple[str, ...]:
    """What a test module's own line FRAMEWORKS = (...) lists; ("none",) where it has none."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and any(getattr(t, "id", "") == "FRAMEWORKS" for t in node.targets):
            return ast.literal_eval(node.value)
    return ("none",)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out modules of other frameworks, so that they are not even imported."""
    if collection_path.name.startswith("test_") and collection_path.suffix == ".py":
        return True if FRAMEWORK not in _frameworks(collection_path) else None
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs the real weights and photographs where they are not there."""
    missing = pytest.mark.skip(reason=f"the real weights and photographs are not at {ASSETS} (SIGHTLINE_ASSETS)")
    for item in items:
        if not ASSETS.is_dir() and item.get_closest_marker("assets"):
            item.add_marker(missing)


@pytest.fixture
def assets() -> Path:
    return ASSETS

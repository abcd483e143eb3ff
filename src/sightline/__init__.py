"""See what an image model looks at, and whether to believe the picture."""

from __future__ import annotations

from sightline.audit import audit
from sightline.auditing.answer import Audit
from sightline.benchmark import benchmark
from sightline.board import Board
from sightline.boxes import Box
from sightline.check import check
from sightline.compare import Comparison, compare
from sightline.errors import (
    InputError,
    LayerError,
    MethodError,
    ModelError,
    PreprocessingWarning,
    SightlineError,
    TargetError,
    UntrustedError,
)
from sightline.explain import explain
from sightline.explanation import Explanation, grid, load_explanation
from sightline.listing import layers, methods, metrics
from sightline.load import Loaded, load
from sightline.localization import Localization
from sightline.measure import measure
from sightline.measurement import Measurement
from sightline.model import Layer, Model, Op, Target, Trace
from sightline.preprocessing import Preprocessing
from sightline.regions import Region
from sightline.sanity import SanityCheck
from sightline.similarity import Similar
from sightline.tail import Tail
from sightline.verdict import Verdict, verdict
from sightline.visualization import Visualization
from sightline.visualize import visualize

__version__ = "0.1.0"

__all__ = [
    "Audit",
    "Board",
    "Box",
    "Comparison",
    "Explanation",
    "InputError",
    "Layer",
    "LayerError",
    "Loaded",
    "Localization",
    "Measurement",
    "MethodError",
    "Model",
    "ModelError",
    "Op",
    "Preprocessing",
    "PreprocessingWarning",
    "Region",
    "SanityCheck",
    "SightlineError",
    "Similar",
    "Tail",
    "Target",
    "TargetError",
    "Trace",
    "UntrustedError",
    "Verdict",
    "Visualization",
    "audit",
    "benchmark",
    "check",
    "compare",
    "explain",
    "grid",
    "layers",
    "load",
    "load_explanation",
    "measure",
    "methods",
    "metrics",
    "verdict",
    "visualize",
]

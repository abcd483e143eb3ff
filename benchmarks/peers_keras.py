"""tf-keras-vis on the same work: it knows TensorFlow alone."""

from __future__ import annotations

from typing import Any

from tf_keras_vis.gradcam import Gradcam
from tf_keras_vis.saliency import Saliency
from tf_keras_vis.utils.model_modifiers import ReplaceToLinear
from tf_keras_vis.utils.scores import CategoricalScore

from benchmarks.keras_models import Subject
from benchmarks.ours import Peers

NAME = "tf-keras-vis"


def of_one_pass(subject: Subject) -> Peers:
    """The gradient and Grad-CAM at the last layer with a grid."""
    saliency, cam, score = _of(Saliency, subject), _of(Gradcam, subject), CategoricalScore(subject.classes)
    return {
        "gradient": {NAME: lambda: saliency(score, subject.x, normalize_map=False)},
        "grad-cam": {NAME: lambda: cam(score, subject.x, penultimate_layer="out_relu", normalize_cam=False)},
    }


def of_many_passes(subject: Subject, n: int) -> Peers:
    """SmoothGrad with `n` samples."""
    saliency, score = _of(Saliency, subject), CategoricalScore(subject.classes)
    return {"smoothgrad": {NAME: lambda: saliency(score, subject.x, smooth_samples=n, normalize_map=False)}}


def _of(kind: Any, subject: Subject) -> Any:
    return kind(subject.net, model_modifier=ReplaceToLinear(), clone=True)

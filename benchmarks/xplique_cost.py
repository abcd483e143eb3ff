"""Keras on TensorFlow beside xplique, in an environment of its own: it pins older versions of what the others need."""

from __future__ import annotations

import os

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from collections.abc import Iterator
from typing import Any

import keras
from xplique import attributions as xplique

from benchmarks import families
from benchmarks.keras_models import Subject
from benchmarks.ours import Peers, contenders
from benchmarks.table import Row, emit, rows

N, WINDOW, WINDOWS = 24, 56, 49  # points, samples and masks; windows of that side, by half of it
PACK = 8  # images in a pass, as sightline takes them here: more are no quicker on a CPU
MODEL = "Keras/TensorFlow MobileNetV2 beside xplique"


def measure() -> Iterator[Row]:
    """Methods of one pass, and of many."""
    keras.utils.set_random_seed(0)
    subject = Subject("MobileNetV2", keras.applications.MobileNetV2(weights=None, classifier_activation=None))
    label = keras.ops.one_hot(subject.classes, 1000)
    for which, seconds in ((families.HEAVY, 8), (_of_many_passes(), 40)):
        runs = contenders(subject.loaded, subject.x, which, subject.limit, _peers(subject, label), False)
        yield from rows(MODEL, subject.batch, runs, seconds=seconds)


def _of_many_passes() -> list[families.Family]:
    return [
        families.integrated_gradients(N),
        families.smoothgrad(N),
        families.rise(N),
        families.occlusion(WINDOW, WINDOWS),
    ]


def _peers(subject: Subject, label: Any) -> Peers:
    made = {
        "gradient": xplique.Saliency(subject.net),
        "grad-cam": xplique.GradCAM(subject.net),
        "integrated-gradients": xplique.IntegratedGradients(subject.net, steps=N, batch_size=PACK),
        "smoothgrad": xplique.SmoothGrad(subject.net, nb_samples=N, noise=1.0, batch_size=PACK),
        "rise": xplique.Rise(subject.net, nb_samples=N, batch_size=PACK),
        "occlusion": xplique.Occlusion(subject.net, patch_size=WINDOW, patch_stride=WINDOW // 2, batch_size=PACK),
    }
    return {name: {"xplique": lambda own=own: own(subject.x, label)} for name, own in made.items()}


if __name__ == "__main__":
    emit(measure())

"""Keras on the backend that is named: what each method costs in bare compiled passes, beside tf-keras-vis on TensorFlow."""

from __future__ import annotations

import os
import sys

BACKEND = os.environ["KERAS_BACKEND"] = sys.argv[1]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from importlib import import_module
from typing import Any

import keras

from benchmarks import families
from benchmarks.clock import Contender, Timed, by_the_clock
from benchmarks.families import Family
from benchmarks.keras_models import Subject
from benchmarks.ours import Peers, contenders
from benchmarks.table import Row, emit, rows

TOLD = {"tensorflow": "Keras/TensorFlow", "jax": "Keras/JAX"}[BACKEND]
N = {"tensorflow": 24, "jax": 8}[BACKEND]  # points and samples: a pass of MobileNetV2 takes ten times longer on JAX


def one_pass(subject: Subject, which: Iterable[Family], noise: bool, **clock: Any) -> list[Row]:
    """Methods of one pass; with `noise` the method alone too, and the limit against itself."""
    beside = _peers().of_one_pass(subject) if noise and BACKEND == "tensorflow" else {}
    runs = contenders(subject.loaded, subject.x, which, subject.limit, beside, noise)
    if noise:
        limit = subject.limit(families.GRADIENT)
        runs["the limit: itself"] = Contender(limit[0].run, limit)
    return _rows(subject, runs, **clock)


def many_passes(subject: Subject, **clock: Any) -> list[Row]:
    """Methods of many passes."""
    which = [families.smoothgrad(N), families.integrated_gradients(N), families.rise(N)]
    beside: Peers = _peers().of_many_passes(subject, N) if BACKEND == "tensorflow" else {}
    return _rows(subject, contenders(subject.loaded, subject.x, which, subject.limit, beside, False), **clock)


def _peers() -> Any:
    return import_module("benchmarks.peers_keras")


def _rows(subject: Subject, runs: dict[str, Contender], **clock: Any) -> list[Row]:
    return rows(f"{TOLD} {subject.name}", subject.batch, runs, timed=_timed(), **clock)


def _timed() -> Timed:
    return partial(by_the_clock, wait=import_module("jax").block_until_ready) if BACKEND == "jax" else by_the_clock


def groups() -> Iterator[tuple[Callable[..., list[Row]], Subject, dict[str, Any]]]:
    """What is measured on which model, the most telling first; with the seconds that it may take, warm-up aside."""
    keras.utils.set_random_seed(0)
    mobile = keras.applications.MobileNetV2(weights=None)
    least = 2 if BACKEND == "tensorflow" else 1
    yield one_pass, Subject("MobileNetV2", mobile), {"which": families.ONE_PASS, "noise": True, "seconds": 12}
    yield many_passes, Subject("MobileNetV2", mobile), {"seconds": 14, "least": least}
    vgg = keras.applications.VGG16(weights=None)
    yield one_pass, Subject("VGG16", vgg), {"which": families.WITHOUT_LRP, "noise": False, "seconds": 12}
    yield (
        one_pass,
        Subject("MobileNetV2", mobile, 8),
        {"which": families.HEAVY, "noise": False, "seconds": 8, "least": least},
    )
    yield one_pass, Subject("VGG16", vgg, 8), {"which": families.HEAVY, "noise": False, "seconds": 8, "least": 1}


if __name__ == "__main__":
    only = sys.argv[2:]
    for group, subject, options in groups():
        called = f"{group.__name__} {subject.name} {subject.batch}"
        if not only or any(word in called for word in only):
            emit(group(subject, **options))

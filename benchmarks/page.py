"""The page of results: how it was measured, and the tables."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Sequence
from importlib import metadata
from os import cpu_count
from pathlib import Path

from benchmarks.table import Row, markdown

PACKAGES = [
    "torch",
    "torchvision",
    "keras",
    "tensorflow",
    "jax",
    "numpy",
    "captum",
    "grad-cam",
    "torchcam",
    "tf-keras-vis",
]


def write(page: Path, rows: Sequence[Row], command: str, device: str, seconds: float, *sections: str) -> None:
    """Write the page at once, so that a reader never sees half of it; other measurements come in sections of their own."""
    part = page.with_suffix(".part")
    part.write_text("\n".join([_text(rows, command, device, seconds), *sections]), encoding="utf-8")
    part.replace(page)


def _text(rows: Sequence[Row], command: str, device: str, seconds: float) -> str:
    return f"""# What a map costs

Measured by `{command}` on {datetime.date.today()} in {seconds / 60:.0f} minutes: {_machine()}. {_versions()}; Python
{platform.python_version()}. {device}

F is a bare forward pass without a graph, FB a bare forward and input-gradient pass, both with channels last or first, as
is quicker here (PyTorch), or compiled (TensorFlow, JAX), at the same batch; those of many passes are made in full chunks of
copies of the image. "limit" is what the method's definition needs of them, and "cost / limit" the contender's time over
theirs: 1.00 is the limit. Contenders ran in turn in one process, each between two runs of its limit; the ratio is the
median over the rounds of its time to the mean of those two (each the shortest of three where it takes under a tenth of a
second, by us and by the peers alike), "ms" the shortest time, "cost / sightline" the ratio over that of our whole call. The
row "the limit" is a bare pass measured so against itself: how far it lies from 1.00 is what this machine's noise leaves of
the second digit. "sightline" is the whole `explain()`, from the input to the map and the facts on the host; "the method
alone" starts from the model's own arrays, and leaves the attribution on the model's device, as the peers do. The weights
are random; they do not change the work. Heavy models have but one or two rounds. What was there before the first round is
frozen, so that Python's collector does not walk through all libraries in someone's time.

- The F beside the FB or F of a method of many passes is the image itself, which tells the top class or the whole score,
  and for integrated gradients both ends of the path, without which the residual is not known. The peers are told the
  class, and do not give the residual, but have the same limit.
- Bare passes are those of the user's own model. In MobileNetV2 sightline's fold each batch norm into the convolution before
  it (PyTorch, TensorFlow), which is why they may cost less than 1.00; what the folding takes in each pass is in its time.
- The limit of `lrp-epsilon` is a bare pass; what its rules compute beside it, element by element, is not in it.
- The limit of Grad-CAM on a vision transformer is a pass, and the way back to where its map lies: before the last block.
- The limit of Ablation-CAM is a pass, and a tail written by hand (average, linear) for each channel, 64 at a time.
  pytorch-grad-cam's ran on some of the channels only, all else alike, and its time is scaled to all; its two passes of
  the image itself are scaled with it, which is a part in fifty.
- Score-CAM is asked at a layer with few channels, and RISE and occlusion with few masks, on all sides alike. Points,
  samples and masks are as many as the limit's first number says. "A loop" is written by hand, as TorchRay and the
  authors of RISE do it: each mask by itself.
- Ten methods x five classes is one call, `explain(method=[...], target=[...])`. Its limit is the sum of the distinct
  passes, measured bare: forward with five gradients back to the image, as gradient and input x gradient share it, as
  guided backpropagation, and as the DeconvNet bends it; and one forward for the CAMs, whose way back is short.
- The peers and sightline are given the image as torchvision's transforms give it, with its channels first. sightline lays
  it out channels last by itself, and lays out what goes into convolutions of many weights channels first
  (docs/speed_and_memory.md); "told channels last" is the peer given an image that its user has laid out so.
- The rows of metrics (deletion, insertion, ROAD and the others of faithfulness) are of one smooth map, with 15 steps or 16
  samples; their limit is the images that they pass, in passes of the sizes in which the metric makes them.
- xplique pins older versions of what the others need: it and sightline ran in an environment of their own (TensorFlow
  2.20), and their rows are to be read by their ratios alone. It is given passes of 8 images, as sightline makes them.

{markdown(rows)}
"""


def _versions() -> str:
    installed = {package.name for package in metadata.distributions()}
    return ", ".join(f"{name} {metadata.version(name)}" for name in PACKAGES if name in installed)


def _machine() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {cpu_count()} cores, {platform.system()}"

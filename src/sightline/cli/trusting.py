"""The commands that tell whether to believe a map, and what each takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from sightline.cli.auditing import audit_folder
from sightline.cli.checking import Checking, check_files
from sightline.cli.comparing import benchmark_world, compare_files
from sightline.cli.explaining import DEFAULT_MODEL, settings
from sightline.cli.options import (
    SPEC,
    Debug,
    Device,
    Input,
    Json,
    Labels,
    Layer,
    Out,
    Output,
    Preprocess,
    Set,
    Spec,
    Trust,
    Weights,
    loading,
)


def check(
    model: Spec,
    images: Annotated[list[str], Argument(metavar="IMAGE", help="Pictures, or folders of them.")],
    weights: Weights = None,
    method: Annotated[
        list[str] | None, Option(metavar="NAME", help="See `sightline methods`; repeatable. [default: grad-cam]")
    ] = None,
    target: Annotated[
        list[str] | None, Option(metavar="T", help="What is explained, as in explain; repeatable. [default: top]")
    ] = None,
    mode: Annotated[
        str, Option(metavar="NAME", help="cascading: layers above stay random; independent: one part at a time.")
    ] = "cascading",
    stages: Annotated[int, Option(min=1, metavar="N", help="In how many parts the layers become random.")] = 10,
    copies: Annotated[int, Option(min=1, metavar="N", help="Each map is the mean over so many noisy images.")] = 1,
    layer: Layer = None,
    set_: Set = None,
    preprocess: Preprocess = None,
    labels: Labels = None,
    out: Out = Path("sightline-out"),
    as_json: Json = False,
    device: Device = None,
    output: Output = None,
    input: Input = None,
    random_state: Annotated[int, Option(metavar="N", help="The same one gives the same weights.")] = 0,
    trust: Trust = False,
    debug: Debug = False,
) -> int:
    """See whether maps depend on what a model has learnt: its layers get random weights, from the top down."""
    question: dict[str, Any] = {"method": method or ["grad-cam"], "target": target or ["top"], "layer": layer}
    question |= {"mode": mode, "stages": stages, "copies": copies, "random_state": random_state}
    options = loading(weights, preprocess, input, output, trust) | {"labels": labels, "device": device}
    return check_files(images, model, options, Checking(question | settings(set_ or ()), out, as_json))


def compare(
    images: Annotated[list[str], Argument(metavar="IMAGE", help="Pictures, or folders of them.")],
    model: Annotated[str | None, Option(metavar="SPEC", help=f"{SPEC}. [default: {DEFAULT_MODEL}]")] = None,
    method: Annotated[
        list[str] | None,
        Option(metavar="NAME", help='With options of its own: "integrated-gradients:baseline=mean"; repeatable.'),
    ] = None,
    metric: Annotated[
        list[str] | None, Option(metavar="NAME", help='See `sightline metrics`; "deletion:steps=10"; repeatable.')
    ] = None,
    masks: Annotated[str | None, Option(metavar="DIR", help="A mask of what matters for each, in their order.")] = None,
    target: Annotated[str, Option(metavar="T", help="What is explained in each picture.")] = "top",
    layer: Layer = None,
    weights: Weights = None,
    preprocess: Preprocess = None,
    labels: Labels = None,
    out: Out = Path("sightline-out"),
    as_json: Json = False,
    device: Device = None,
    output: Output = None,
    input: Input = None,
    random_state: Annotated[int, Option(metavar="N", help="The same one gives the same table.")] = 0,
    trust: Trust = False,
    debug: Debug = False,
) -> int:
    """Set methods side by side: their maps, what metrics say of them, what they cost."""
    options = loading(weights, preprocess, input, output, trust) | {"labels": labels, "device": device}
    asked: dict[str, Any] = {"masks": masks, "target": target, "layer": layer, "random_state": random_state}
    asked |= {name: given for name, given in (("method", method), ("metric", metric)) if given}
    return compare_files(images, model, options, asked, out, as_json)


def benchmark(
    world: Annotated[
        str, Argument(metavar="WORLD", help="fish-scales/rings, damaged-parts/honest; see `sightline world`.")
    ],
    count: Annotated[int, Option(min=1, metavar="N", help="How many pictures.")] = 64,
    method: Annotated[
        list[str] | None,
        Option(metavar="NAME", help='With options of its own: "integrated-gradients:baseline=mean"; repeatable.'),
    ] = None,
    metric: Annotated[
        list[str] | None, Option(metavar="NAME", help='See `sightline metrics`; "deletion:steps=10"; repeatable.')
    ] = None,
    out: Out = Path("sightline-out"),
    as_json: Json = False,
    random_state: Annotated[int, Option(metavar="N", help="The same one gives the same table.")] = 0,
    debug: Debug = False,
) -> int:
    """Measure methods where the right answer is known: a table methods x metrics, with intervals."""
    asked: dict[str, Any] = {"count": count, "random_state": random_state}
    asked |= {name: given for name, given in (("method", method), ("metric", metric)) if given}
    return benchmark_world(world, asked, out, as_json)


def audit(
    model: Spec,
    folder: Annotated[str, Argument(metavar="FOLDER", help="Pictures; folders inside are their true classes.")],
    masks: Annotated[str | None, Option(metavar="DIR", help="A mask of what matters for each, same name.")] = None,
    labels_csv: Annotated[str | None, Option(metavar="CSV", help="True classes: file, label.")] = None,
    groups: Annotated[str | None, Option(metavar="CSV", help="Groups to compare: file, group.")] = None,
    against: Annotated[str | None, Option(metavar="SPEC", help="Another model, asked the same.")] = None,
    fail_if: Annotated[
        list[str] | None, Option(metavar="TEXT", help='Exit with status 3 if "inside_mask < 0.5"; repeatable.')
    ] = None,
    method: Annotated[
        str, Option(metavar="NAME", help="See `sightline methods`; with options of its own after a colon.")
    ] = "integrated-gradients:baseline=mean",
    target: Annotated[str, Option(metavar="T", help="What is explained in each picture.")] = "top",
    layer: Layer = None,
    set_: Set = None,
    weights: Weights = None,
    preprocess: Preprocess = None,
    labels: Labels = None,
    out: Out = Path("sightline-audit"),
    as_json: Json = False,
    device: Device = None,
    output: Output = None,
    input: Input = None,
    random_state: Annotated[int, Option(metavar="N", help="The same one gives the same figures.")] = 0,
    trust: Trust = False,
    debug: Debug = False,
) -> int:
    """Find out where a model looks in a data set, and whether it is the right place."""
    options = loading(weights, preprocess, input, output, trust) | {"labels": labels, "device": device}
    question: dict[str, Any] = {"method": method, "target": target, "layer": layer, "random_state": random_state}
    question |= {"masks": masks, "labels_csv": labels_csv, "groups": groups, "against": against, **settings(set_ or ())}
    return audit_folder(model, folder, options, question, fail_if or (), out, as_json=as_json)

"""The commands, and what each takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

import sightline as sl
from sightline.cli import lists
from sightline.cli.demo import show_demo
from sightline.cli.explaining import DEFAULT_MODEL, Wish, explain_files, masked, settings
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
from sightline.cli.trusting import audit, benchmark, check, compare
from sightline.cli.visualizing import Wished, visualize_targets
from sightline.cli.world import write_world
from sightline.images import MAX_PIXELS
from sightline.reduce import REDUCTIONS

app = typer.Typer(
    help=sl.__doc__, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=False
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"sightline {sl.__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """What stands before any command."""


@app.command()
def explain(
    images: Annotated[list[str], Argument(metavar="IMAGE", help="Pictures, or folders of them.")],
    model: Annotated[str | None, Option(metavar="SPEC", help=f"{SPEC}. [default: {DEFAULT_MODEL}]")] = None,
    weights: Weights = None,
    method: Annotated[
        list[str] | None, Option(metavar="NAME", help="See `sightline methods`; repeatable. [default: grad-cam]")
    ] = None,
    target: Annotated[
        list[str] | None,
        Option(
            metavar="T",
            help='A class index or name, "top-3", "cat - dog", "up", "region:CLASS", "box:0", "box:X0,Y0,X1,Y1:CLASS", '
            '"similar:FILE", "text:WORDS"; repeatable. [default: top]',
        ),
    ] = None,
    mask: Annotated[
        str | None,
        Option(metavar="FILE", help="A picture, not black where the regions are. [default: as the model says]"),
    ] = None,
    layer: Layer = None,
    set_: Set = None,
    preprocess: Preprocess = None,
    labels: Labels = None,
    out: Out = Path("sightline-out"),
    as_json: Json = False,
    top: Annotated[int, Option(min=1, metavar="K", help="How many of the highest classes are listed.")] = 5,
    device: Device = None,
    smooth: Annotated[float, Option(min=0, metavar="SIGMA", help="Blur the map by so many pixels.")] = 0.0,
    reduce: Annotated[
        str | None, Option(metavar="NAME", help=f"How channels become one number: {', '.join(REDUCTIONS)}.")
    ] = None,
    output: Output = None,
    head: Annotated[
        str | None,
        Option(metavar="NAME", help="What the scores go through, if the model does not: softmax, sigmoid or none."),
    ] = None,
    input: Input = None,
    random_state: Annotated[int, Option(metavar="N", help="The same one gives the same map.")] = 0,
    max_pixels: Annotated[int, Option(min=1, metavar="N", help="Refuse larger pictures.")] = MAX_PIXELS,
    memory: Annotated[str | None, Option(metavar="SIZE", help="What the layers of a pass may take: 2GB.")] = None,
    precision: Annotated[
        str | None, Option(metavar="P", help="bfloat16, or float16 on CUDA: quicker and less exact (PyTorch).")
    ] = None,
    compile: Annotated[
        bool, Option("--compile", help="Compile a PyTorch model's passes; it takes minutes, and pays in long runs.")
    ] = False,
    verdict: Annotated[
        bool, Option("--verdict", help="Measure what speaks for and against each map; it takes many passes.")
    ] = False,
    trust: Trust = False,
    colormap: Annotated[str | None, Option(metavar="NAME", help="One of Matplotlib's; default by the map.")] = None,
    debug: Debug = False,
) -> int:
    """Show what a model looks at in pictures."""
    question: dict[str, Any] = {
        "method": method or ["grad-cam"],
        "target": masked(target or ["top"], mask),
        "layer": layer,
        "smooth": smooth,
        "reduce": reduce,
        "random_state": random_state,
        "max_pixels": max_pixels,
        "memory": memory,
        "compile": compile,
        "precision": precision,
        "top": top,
        **settings(set_ or ()),
    }
    options = loading(weights, preprocess, input, output, trust) | {"labels": labels, "device": device, "head": head}
    return explain_files(images, model, options, Wish(question, out, colormap, as_json, verdict))


for command in (check, compare, benchmark, audit):
    app.command()(command)


@app.command()
def visualize(
    model: Spec,
    targets: Annotated[
        list[str], Argument(metavar="TARGET", help='A class index or name; of a layer a channel, "7@3,4" or "all".')
    ],
    layer: Layer = None,
    steps: Annotated[int, Option(min=1, metavar="N", help="Passes, forward and backward.")] = 256,
    size: Annotated[int | None, Option(min=1, metavar="PIXELS", help="Of the square. [default: the model's]")] = None,
    jitter: Annotated[int, Option(min=0, metavar="PIXELS", help="How far each step may shift the picture.")] = 16,
    rate: Annotated[float, Option(min=0, metavar="X", help="The size of the first step.")] = 0.05,
    variation: Annotated[float, Option(min=0, metavar="X", help="Weight of neighbours' differences.")] = 0.0,
    l2: Annotated[float, Option(min=0, metavar="X", help="Weight of the distance from grey.")] = 0.0,
    space: Annotated[str, Option(metavar="NAME", help="What is climbed: fourier or pixels.")] = "fourier",
    weights: Weights = None,
    preprocess: Preprocess = None,
    labels: Labels = None,
    out: Out = Path("sightline-out"),
    as_json: Json = False,
    device: Device = None,
    output: Output = None,
    input: Input = None,
    random_state: Annotated[int, Option(metavar="N", help="The same one gives the same picture.")] = 0,
    trust: Trust = False,
    debug: Debug = False,
) -> int:
    """Find pictures that raise a model's scores, or the values of a layer."""
    how = {"steps": steps, "size": size, "jitter": jitter, "rate": rate, "variation": variation, "l2": l2}
    options = loading(weights, preprocess, input, output, trust) | {"labels": labels, "device": device}
    wish = Wished(how | {"layer": layer, "space": space, "random_state": random_state}, out, as_json)
    return visualize_targets(model, targets, options, wish)


@app.command()
def world(
    name: Annotated[str, Argument(metavar="NAME", help="For example damaged-parts/honest, fish-scales or mosaic/2x2.")],
    out: Annotated[Path, Argument(metavar="OUT", help="A new folder, or an empty one.")],
    count: Annotated[int, Option(min=1, metavar="N", help="How many pictures.")] = 16,
    seed: Annotated[int, Option(min=0, metavar="S", help="Of the first picture; the others follow.")] = 0,
    size: Annotated[
        int | None, Option(metavar="PIXELS", help="Of the squares. [default: as the net takes them]")
    ] = None,
    source: Annotated[
        Path | None, Option("--from", metavar="DIR", help="Of a mosaic's cells: a folder with a folder for each class.")
    ] = None,
    debug: Debug = False,
) -> int:
    """Draw pictures with a known answer, with masks of what matters and of what distracts."""
    return write_world(name, out, count, seed, size, source)


@app.command()
def demo(
    out: Annotated[Path, Option(metavar="DIR", help="Where the pictures go.")] = Path("sightline-demo"),
    debug: Debug = False,
) -> None:
    """Explain the shipped picture with the shipped model."""
    show_demo(out)


@app.command()
def methods(as_json: Json = False, debug: Debug = False) -> None:
    """List the methods, with their options and defaults."""
    lists.list_methods(as_json=as_json)


@app.command()
def metrics(as_json: Json = False, debug: Debug = False) -> None:
    """List the metrics, with their options and published protocols."""
    lists.list_metrics(as_json=as_json)


@app.command()
def layers(
    model: Spec,
    weights: Weights = None,
    preprocess: Preprocess = None,
    input: Input = None,
    output: Output = None,
    trust: Trust = False,
    debug: Debug = False,
) -> None:
    """List a model's layers; a CAM needs one with a grid."""
    lists.list_layers(model, loading(weights, preprocess, input, output, trust))


@app.command()
def labels(model: Spec, weights: Weights = None, trust: Trust = False, debug: Debug = False) -> None:
    """List a model's classes, index and name."""
    lists.list_labels(model, {"weights": weights, "trust": trust})

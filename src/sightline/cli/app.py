"""The commands, and what each takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer import Argument, Option

import sightline as sl
from sightline.cli import lists
from sightline.cli.auditing import audit_folder
from sightline.cli.comparing import compare_files
from sightline.cli.checking import Checking, check_files
from sightline.cli.demo import show_demo
from sightline.cli.explaining import DEFAULT_MODEL, Wish, explain_files, masked, settings
from sightline.cli.visualizing import Wished, visualize_targets
from sightline.cli.world import write_world
from sightline.images import MAX_PIXELS
from sightline.reduce import REDUCTIONS

app = typer.Typer(
    help=sl.__doc__, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, no_args_is_help=False
)

SPEC = "torchvision:NAME, keras:NAME, world:NAME/VARIANT, a .keras or .h5 file, or package.module:factory"
Spec = Annotated[str, Argument(metavar="MODEL", help=f"The model: {SPEC}.")]
Weights = Annotated[str | None, Option(metavar="FILE", help="The model's weights; they void its own preprocessing.")]
Preprocess = Annotated[
    str | None,
    Option(metavar="TEXT", help='How pictures become input: "resize=256,crop=224,mean=0.485/0.456/0.406,std=0.5".'),
]
Output = Annotated[str | None, Option(metavar="NAME", help="Which of several outputs is explained.")]
Input = Annotated[str | None, Option(metavar="NAME", help="Which of several inputs is the image.")]
Trust = Annotated[bool, Option("--trust", help="Allow files that run code when they are read.")]
Json = Annotated[bool, Option("--json", help="One JSON object a line on standard output, and nothing else there.")]
Debug = Annotated[bool, Option("--debug", help="Show the traceback of an error.")]


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
    layer: Annotated[str | None, Option(metavar="NAME", help="See `sightline layers MODEL`.")] = None,
    set_: Annotated[
        list[str] | None, Option("--set", metavar="KEY=VALUE", help="An option of the method; repeatable.")
    ] = None,
    preprocess: Preprocess = None,
    labels: Annotated[str | None, Option(metavar="FILE", help='Names of classes, one a line; or "imagenet".')] = None,
    out: Annotated[Path, Option(metavar="DIR", help="Where the files go.")] = Path("sightline-out"),
    as_json: Json = False,
    top: Annotated[int, Option(min=1, metavar="K", help="How many of the highest classes are listed.")] = 5,
    device: Annotated[str | None, Option(metavar="D", help="For example cpu or cuda. [default: the quickest]")] = None,
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
        "precision": precision,
        "top": top,
        **settings(set_ or ()),
    }
    options = _options(weights, preprocess, input, output, trust) | {"labels": labels, "device": device, "head": head}
    return explain_files(images, model, options, Wish(question, out, colormap, as_json))


@app.command()
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
    layer: Annotated[str | None, Option(metavar="NAME", help="See `sightline layers MODEL`.")] = None,
    set_: Annotated[
        list[str] | None, Option("--set", metavar="KEY=VALUE", help="An option of the method; repeatable.")
    ] = None,
    preprocess: Preprocess = None,
    labels: Annotated[str | None, Option(metavar="FILE", help='Names of classes, one a line; or "imagenet".')] = None,
    out: Annotated[Path, Option(metavar="DIR", help="Where the files go.")] = Path("sightline-out"),
    as_json: Json = False,
    device: Annotated[str | None, Option(metavar="D", help="For example cpu or cuda.")] = None,
    output: Output = None,
    input: Input = None,
    random_state: Annotated[int, Option(metavar="N", help="The same one gives the same weights.")] = 0,
    trust: Trust = False,
    debug: Debug = False,
) -> int:
    """See whether maps depend on what a model has learnt: its layers get random weights, from the top down."""
    question: dict[str, Any] = {"method": method or ["grad-cam"], "target": target or ["top"], "layer": layer}
    question |= {"mode": mode, "stages": stages, "copies": copies, "random_state": random_state}
    options = _options(weights, preprocess, input, output, trust) | {"labels": labels, "device": device}
    return check_files(images, model, options, Checking(question | settings(set_ or ()), out, as_json))


@app.command()
def visualize(
    model: Spec,
    targets: Annotated[
        list[str], Argument(metavar="TARGET", help='A class index or name; of a layer a channel, "7@3,4" or "all".')
    ],
    layer: Annotated[str | None, Option(metavar="NAME", help="See `sightline layers MODEL`.")] = None,
    steps: Annotated[int, Option(min=1, metavar="N", help="Passes, forward and backward.")] = 256,
    size: Annotated[int | None, Option(min=1, metavar="PIXELS", help="Of the square. [default: the model's]")] = None,
    jitter: Annotated[int, Option(min=0, metavar="PIXELS", help="How far each step may shift the picture.")] = 16,
    rate: Annotated[float, Option(min=0, metavar="X", help="The size of the first step.")] = 0.05,
    variation: Annotated[float, Option(min=0, metavar="X", help="Weight of neighbours' differences.")] = 0.0,
    l2: Annotated[float, Option(min=0, metavar="X", help="Weight of the distance from grey.")] = 0.0,
    space: Annotated[str, Option(metavar="NAME", help="What is climbed: fourier or pixels.")] = "fourier",
    weights: Weights = None,
    preprocess: Preprocess = None,
    labels: Annotated[str | None, Option(metavar="FILE", help='Names of classes, one a line; or "imagenet".')] = None,
    out: Annotated[Path, Option(metavar="DIR", help="Where the files go.")] = Path("sightline-out"),
    as_json: Json = False,
    device: Annotated[str | None, Option(metavar="D", help="For example cpu or cuda. [default: the quickest]")] = None,
    output: Output = None,
    input: Input = None,
    random_state: Annotated[int, Option(metavar="N", help="The same one gives the same picture.")] = 0,
    trust: Trust = False,
    debug: Debug = False,
) -> int:
    """Find pictures that raise a model's scores, or the values of a layer."""
    how = {"steps": steps, "size": size, "jitter": jitter, "rate": rate, "variation": variation, "l2": l2}
    options = _options(weights, preprocess, input, output, trust) | {"labels": labels, "device": device}
    wish = Wished(how | {"layer": layer, "space": space, "random_state": random_state}, out, as_json)
    return visualize_targets(model, targets, options, wish)


@app.command()
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
    layer: Annotated[str | None, Option(metavar="NAME", help="See `sightline layers MODEL`.")] = None,
    weights: Weights = None,
    preprocess: Preprocess = None,
    labels: Annotated[str | None, Option(metavar="FILE", help='Names of classes, one a line; or "imagenet".')] = None,
    out: Annotated[Path, Option(metavar="DIR", help="Where the files go.")] = Path("sightline-out"),
    as_json: Json = False,
    device: Annotated[str | None, Option(metavar="D", help="For example cpu or cuda.")] = None,
    output: Output = None,
    input: Input = None,
    random_state: Annotated[int, Option(metavar="N", help="The same one gives the same table.")] = 0,
    trust: Trust = False,
    debug: Debug = False,
) -> int:
    """Set methods side by side: their maps, what metrics say of them, what they cost."""
    loading = _options(weights, preprocess, input, output, trust) | {"labels": labels, "device": device}
    asked: dict[str, Any] = {"masks": masks, "target": target, "layer": layer, "random_state": random_state}
    asked |= {name: given for name, given in (("method", method), ("metric", metric)) if given}
    return compare_files(images, model, loading, asked, out, as_json)


@app.command()
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
    method: Annotated[str, Option(metavar="NAME", help="See `sightline methods`.")] = "integrated-gradients",
    target: Annotated[str, Option(metavar="T", help="What is explained in each picture.")] = "top",
    layer: Annotated[str | None, Option(metavar="NAME", help="See `sightline layers MODEL`.")] = None,
    set_: Annotated[
        list[str] | None, Option("--set", metavar="KEY=VALUE", help="An option of the method; repeatable.")
    ] = None,
    weights: Weights = None,
    preprocess: Preprocess = None,
    labels: Annotated[str | None, Option(metavar="FILE", help='Names of classes, one a line; or "imagenet".')] = None,
    out: Annotated[Path, Option(metavar="DIR", help="Where the files go.")] = Path("sightline-audit"),
    as_json: Json = False,
    device: Annotated[str | None, Option(metavar="D", help="For example cpu or cuda.")] = None,
    output: Output = None,
    input: Input = None,
    random_state: Annotated[int, Option(metavar="N", help="The same one gives the same figures.")] = 0,
    trust: Trust = False,
    debug: Debug = False,
) -> int:
    """Find out where a model looks in a data set, and whether it is the right place."""
    loading = _options(weights, preprocess, input, output, trust) | {"labels": labels, "device": device}
    question: dict[str, Any] = {"method": method, "target": target, "layer": layer, "random_state": random_state}
    question |= {"masks": masks, "labels_csv": labels_csv, "groups": groups, "against": against, **settings(set_ or ())}
    return audit_folder(model, folder, loading, question, fail_if or (), out, as_json=as_json)


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
    lists.list_layers(model, _options(weights, preprocess, input, output, trust))


@app.command()
def labels(model: Spec, weights: Weights = None, trust: Trust = False, debug: Debug = False) -> None:
    """List a model's classes, index and name."""
    lists.list_labels(model, {"weights": weights, "trust": trust})


def _options(
    weights: str | None, preprocess: str | None, input: str | None, output: str | None, trust: bool
) -> dict[str, Any]:
    number = int(output) if output is not None and output.isdecimal() else output
    return {"weights": weights, "preprocess": preprocess, "input": input, "output": number, "trust": trust}

"""What several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

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
Labels = Annotated[str | None, Option(metavar="FILE", help='Names of classes, one a line; or "imagenet".')]
Layer = Annotated[str | None, Option(metavar="NAME", help="See `sightline layers MODEL`.")]
Set = Annotated[list[str] | None, Option("--set", metavar="KEY=VALUE", help="An option of the method; repeatable.")]
Out = Annotated[Path, Option(metavar="DIR", help="Where the files go.")]
Device = Annotated[str | None, Option(metavar="D", help="For example cpu or cuda.")]


def loading(
    weights: str | None, preprocess: str | None, input: str | None, output: str | None, trust: bool
) -> dict[str, Any]:
    """The options of `sl.load`."""
    number = int(output) if output is not None and output.isdecimal() else output
    return {"weights": weights, "preprocess": preprocess, "input": input, "output": number, "trust": trust}

"""Files that are written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO
from uuid import uuid4

from PIL import Image, PngImagePlugin

from sightline.errors import InputError


def write_whole(path: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> None:
    """Calls `write` with an open file that gets the name `path` only when it is whole.

    The parent folder is made. InputError: a place that cannot be written.
    """
    path = Path(path)
    part = path.with_name(f".{uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("xb") as file:
            write(file)
        part.replace(path)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written ({error.strerror or error}); expected a place for a new file.",
            "Give another folder, or see whether the disk is full and whether you may write there.",
        ) from error
    finally:
        remove_leftover(part)


def remove_leftover(part: Path) -> None:
    """Removes the temporary file where it is still there; a folder that never was has none."""
    try:
        part.unlink(missing_ok=True)
    except OSError:
        return


def save_png(image: Image.Image, path: str | os.PathLike[str], facts: Mapping[str, Any]) -> None:
    """Writes the picture as PNG with `facts` in its text chunks (iTXt, UTF-8), JSON for what is no text.

    Keys are at most 79 Latin-1 characters. InputError: a place that cannot be written.
    """
    chunks = PngImagePlugin.PngInfo()
    for key, value in {"Software": "sightline", **facts}.items():
        text = value if isinstance(value, str) else json.dumps(value)
        chunks.add_itxt(key, text.encode("utf-8", "backslashreplace").decode())  # file names need not be UTF-8
    write_whole(path, lambda file: image.save(file, "PNG", pnginfo=chunks))


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """The text chunks of a PNG; InputError where there is no such file, or no PNG in it."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            image.load()
            return {key: str(text) for key, text in getattr(image, "text", {}).items()}
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read as a picture ({error}); expected a PNG.", "Give a PNG that sightline saved."
        ) from error

"""The house: who may import whom, how long files and functions may be, and that what is public is explained."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import sightline

ROOT = Path(sightline.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
FRAMEWORKS = ("none",)

# From the ground up (DESIGN.md section 3): a room imports only from rooms before it, and a folder's files among themselves.
ORDER = (
    *(
        "errors",
        "arrays",
        "eager",
        "model",
        "machine",
        "memory",
        "stream",
        "tail",
        "hiding",
        "rules",
        "method",
        "params",
        "auto",
        "metric",
    ),
    "alike",
    *(
        "images",
        "preprocessing",
        "labels",
        "scores",
        "settled",
        "regions",
        "boxes",
        "similarity",
        "targets",
        "question",
    ),
    *("layers", "reduce", "baselines", "inputs", "masks", "figures"),
    *("canvas", "ascent", "aims"),
    *(
        "pictures",
        "worlds",
        "frameworks",
        "methods",
        "metrics",
        "load",
        "references",
        "asking",
        "page",
        "archive",
        "localization",
        "explanation",
        "describe",
    ),
    *(
        "explain",
        "measurement",
        "measuring",
        "measure",
        "board",
        "compare",
        "benchmark",
        "auditing",
        "audit",
        "randomised",
        "sanity",
        "check",
        "verdict",
        "visualization",
        "visualize",
        "listing",
        "__init__",
        "cli",
        "__main__",
    ),
)
HEAVY = ("torch", "torchvision", "keras", "tensorflow", "jax", "jaxlib", "timm", "transformers")
MAY_IMPORT_A_FRAMEWORK = (
    "frameworks/",
    *(f"worlds/{name}.py" for name in ("train", "nets", "cells", "control_nets")),
)
LAZY = {  # where the array API has no word for it
    "arrays.py": {
        ("_over_keras_ops", "keras"),
        ("over_rows", "tensorflow"),
        ("over_rows", "jax"),
        ("_normal_on_device", "torch"),
        ("_sent", "torch"),
    },
    "eager.py": {("_compiled", "tensorflow"), ("_in_a_graph", "tensorflow"), ("_under_a_tape", "tensorflow")},
}


def room_of(path: Path) -> str:
    """The top-level module or folder that a file belongs to."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(tree: ast.AST) -> Iterator[str]:
    """The dotted names that are imported anywhere in a tree, except only for the type checker."""
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


each_file = pytest.mark.parametrize("path", FILES, ids=name_of)


def test_every_room_has_its_place() -> None:
    assert {room_of(path) for path in FILES} - set(ORDER) == set()


@each_file
def test_imports_point_only_downwards(path: Path) -> None:
    room = room_of(path)
    for name in imports(parsed(path)):
        package, _, rest = name.partition(".")
        if package != "sightline":
            continue
        other = rest.partition(".")[0]
        other = other if other in ORDER else "__init__"  # a public name, or the package itself
        own_folder = other == room and (ROOT / room).is_dir()
        assert own_folder or ORDER.index(other) < ORDER.index(room), f"{name_of(path)} imports {name}"


@each_file
def test_methods_and_frameworks_never_meet(path: Path) -> None:
    apart = {"methods": ("sightline.frameworks",), "frameworks": ("sightline.methods", "sightline.method.")}
    for name in imports(parsed(path)):
        assert not name.startswith(apart.get(room_of(path), ("no such module",)))


@each_file
def test_frameworks_are_imported_in_their_rooms_only(path: Path) -> None:
    if name_of(path).startswith(MAY_IMPORT_A_FRAMEWORK):
        return
    tree = parsed(path)
    found = [name for name in imports(tree) if name.partition(".")[0] in HEAVY or name.startswith("safetensors.torch")]
    inside = {(f.name, name.partition(".")[0]) for f in functions(tree) for name in imports(f)}
    allowed = LAZY.get(name_of(path), set())
    assert allowed <= inside  # else the list above is out of date
    assert len(found) == len(allowed)
    assert {name.partition(".")[0] for name in found} == {framework for _, framework in allowed}


def test_one_framework_does_not_import_another() -> None:
    for path in (ROOT / "frameworks" / "torch").glob("*.py"):
        assert not {name.partition(".")[0] for name in imports(parsed(path))} & {"keras", "tensorflow", "jax"}
    for path in (ROOT / "frameworks" / "keras").glob("*.py"):
        others = {"torch", "tensorflow", "jax"} - {path.stem}
        assert not {name.partition(".")[0] for name in imports(parsed(path))} & others


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its signature and its docstring."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


@each_file
def test_no_file_and_no_function_is_too_long(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
    assert {f.name: body_lines(f) for f in functions(parsed(path)) if body_lines(f) > 40} == {}


def test_most_functions_are_short() -> None:
    lengths = sorted(body_lines(f) for path in FILES for f in functions(parsed(path)))
    assert lengths[len(lengths) // 2] < 10


@each_file
def test_what_is_public_has_a_docstring(path: Path) -> None:
    tree = parsed(path)
    assert ast.get_docstring(tree), "the module"
    tops = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    public = [node for node in tops if not node.name.startswith("_")]
    public += [
        inner
        for node in public
        if isinstance(node, ast.ClassDef)
        for inner in node.body
        if isinstance(inner, ast.FunctionDef) and not inner.name.startswith("_")
    ]
    assert [node.name for node in public if not ast.get_docstring(node)] == []

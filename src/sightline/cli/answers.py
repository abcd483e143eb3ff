"""What was found in an image, on standard output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sightline.cli.tables import print_json, print_line, print_table
from sightline.explanation import Explanation
from sightline.pictures import words


@dataclass(frozen=True)
class Answer:
    """One explanation of one image, and the files about it."""

    explanation: Explanation
    files: Mapping[str, str]  # what it is -> its path
    verdict: Mapping[str, Any] | None = None


def tell(found: Sequence[Answer], *, as_json: bool) -> None:
    """A line of JSON for each method and target, with its facts and files; or a table of them for people."""
    if as_json:
        for answer in found:
            print_json(answer.explanation.facts() | {"files": dict(answer.files)} | dict(answer.verdict or {}))
        return
    first = found[0].explanation
    guesses = ", ".join(f"{guess['label']} {guess['probability']:.2f}" for guess in first.top[0])
    print_line(f"{first.pictures[0].name}: {guesses}".rstrip(": "))
    print_table(("method", "target", "score", "layer", "picture"), [_row(answer) for answer in found])
    for answer in found:
        if odd := words(answer.explanation.map[0]):
            print_line(f"  {answer.explanation.method}: {odd}")
        if answer.verdict:
            print_line(f"  {answer.explanation.method}: {answer.verdict['verdict']}")
            for reason in answer.verdict["reasons"]:
                print_line(f"    {reason}")


def _row(answer: Answer) -> list[str | None]:
    e = answer.explanation
    return [e.method, e.target[0]["label"], f"{e.score[0]:.4g}", e.layer, answer.files["picture"]]

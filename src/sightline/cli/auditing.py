"""`sightline audit`: a page, a table of figures, and an exit status that a pipeline can act on."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import sightline as sl
from sightline.auditing.answer import parse
from sightline.cli.bars import bars
from sightline.cli.explaining import load, make_folder
from sightline.cli.say import error, note
from sightline.cli.tables import print_json, print_line, print_table


def audit_folder(
    model: str,
    folder: str,
    loading: Mapping[str, Any],
    question: Mapping[str, Any],
    conditions: Sequence[str],
    out: Path,
    *,
    as_json: bool,
) -> int:
    """Audit a folder and write its page; 3 where a condition holds, 1 where some picture failed, else 0."""
    for condition in conditions:
        parse(condition)
    loaded = load(model, loading)
    against = question.get("against")
    other = None if against is None else load(against, loading)
    make_folder(out)
    with bars(1) as shown, redirect_stdout(sys.stderr):
        shown.image(Path(folder).name, 0)
        found = sl.audit(loaded, folder, **{**question, "against": other})
    failed = [condition for condition in conditions if found.fails(condition)]
    files = {"page": str(found.save(out / "audit.html")), "facts": str(found.save(out / "audit.json"))}
    if as_json:
        print_json(found.facts() | {"files": files, "failed": failed})
    else:
        _tell(found, files)
    for failure in found.failures:
        error(f"{failure.sample.name}: {failure.given}", failure.fix)
    for condition in failed:
        note(f"--fail-if {condition!r} holds.")
    return 3 if failed else 1 if found.failures else 0


def _tell(found: sl.Audit, files: Mapping[str, str]) -> None:
    for sentence in found.findings:
        print_line(sentence)
    rows = [[name, f"{f.mean:.3f}", f"{f.low:.3f} to {f.high:.3f}", str(f.count)] for name, f in found.figures.items()]
    print_table(("figure", "mean", "95 % interval", "pictures"), rows)
    if found.differences:
        print_line(f"more than {found.against.model if found.against else ''}:")
        print_table(
            ("figure", "difference", "95 % interval"),
            [[name, f"{f.mean:+.3f}", f"{f.low:+.3f} to {f.high:+.3f}"] for name, f in found.differences.items()],
        )
    print_line(f"page: {files['page']}")

"""The table for those who come from other libraries: every name of ours in it is a method's, and every method is in it."""

from __future__ import annotations

import re
from pathlib import Path

import sightline as sl

FRAMEWORKS = ("none",)
PAGE = Path(__file__).parents[1] / "docs" / "coming_from_elsewhere.md"
PEERS = (
    "Captum",
    "pytorch-grad-cam",
    "torchcam",
    "tf-keras-vis",
    "keras-vis",
    "xplique",
    "iNNvestigate",
    "zennit",
    "PAIR saliency",
)
NO_COUNTERPART = {  # in none of the peers
    *("attn-lrp", "contrastive-excitation-backprop", "expected-gradients", "extremal-perturbation", "idgi"),
    *("meaningful-perturbation", "recipro-cam", "rect-grad", "attention-rollout", "gradient-attention-rollout"),
    *("generic-attention", "transformer-attribution", "random", "gaussian", "edges"),
}


def rows() -> dict[str, list[list[str]]]:
    """The cells of each peer's table."""
    parts = re.split(r"^## (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {
        peer: [[c.strip() for c in line.strip().strip("|").split(" | ")] for line in text.splitlines() if "|" in line]
        for peer, text in zip(parts[::2], parts[1::2])
    }


def ours() -> set[str]:
    """What stands in the columns of ours as the name of a method."""
    cells = [row[1] for table in rows().values() for row in table[2:]]
    return {name for cell in cells for name in re.findall(r"`([a-z0-9-]+)`", cell)}


def test_every_peer_has_a_table_of_three_columns() -> None:
    assert tuple(rows()) == PEERS
    for peer, table in rows().items():
        assert table[0] == ["theirs", "ours", "what differs"], peer
        assert len(table) > 5
        assert all(len(row) in (2, 3) and row[0] and row[1] for row in table[2:]), peer


def test_every_name_of_ours_is_a_method() -> None:
    assert ours() - {m["name"] for m in sl.methods()} == set()


def test_every_method_is_told_unless_no_peer_has_it() -> None:
    assert {m["name"] for m in sl.methods()} - ours() - NO_COUNTERPART == set()

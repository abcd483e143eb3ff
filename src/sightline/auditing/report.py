"""An audit as a web page that needs nothing beside it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from sightline import pictures
from sightline.auditing.clusters import Clusters
from sightline.figures import Figure

if TYPE_CHECKING:
    from sightline.auditing.answer import Audit

_STYLE = """body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:.5rem 0 1.5rem}td,th{padding:.25rem .9rem .25rem 0;text-align:left;vertical-align:top}
th{font-weight:600;border-bottom:1px solid #ccc}td.n{font-variant-numeric:tabular-nums;text-align:right;white-space:nowrap}
.row{display:flex;flex-wrap:wrap;gap:1.2rem}figure{margin:0;max-width:16rem}figcaption{font-size:.85rem;color:#555}
li{margin:.3rem 0}.note{color:#555;font-size:.9rem}svg{background:#fafafa}"""
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442", "#000000")  # Okabe and Ito
_MEANING = {
    "accuracy": "right answers",
    "inside_mask": "attention inside the masks",
    "mask_area": "the masks' share of the pictures: what a map that is the same everywhere would have inside",
    "border": "attention on the border, a tenth of the shorter side wide",
    "corners": "attention in the four corners, a fifth of the shorter side long",
    "fall_mask": "fall of the answer's probability when what the masks cover is painted over",
    "fall_elsewhere": "the same, as much painted over elsewhere",
    "changed_mask": "answers that change when what the masks cover is painted over",
    "changed_elsewhere": "the same, as much painted over elsewhere",
    "map_correlation": "correlation of the two models' maps",
}
_ENLARGED = 8  # pixels of the page for a cell of a small map


def report(audit: Audit) -> str:
    """The page: what was found, the figures, the classes, the odd pictures, and how it was made."""
    title = f"Audit of {audit.model}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{len(audit.looks)} pictures, explained by {escape(_method(audit))}.</p>",
        _list(audit.findings),
        "<h2>Figures</h2>",
        _figures(audit.figures),
        *_against(audit),
        "<h2>By class</h2>",
        _row(_class(audit, name) for name in audit.by_class),
        *_contrasts(audit),
        "<h2>The odd pictures</h2>",
        '<p class="note">Those whose map is least like the mean of their class, first.</p>',
        _row(_odd(each) for each in audit.odd),
        *_failures(audit),
        '<p class="note">Intervals are 95 % over the pictures: a bootstrap of the mean, Wilson\'s for shares of answers. '
        "A map tells where evidence lies, not what it is; what is painted over is new to the model, too.</p>",
    ]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en">{head}{"".join(parts)}</html>\n'


def _method(audit: Audit) -> str:
    own = {
        name: value for name, value in audit.question.items() if name not in ("method", "target") and value is not None
    }
    return (
        f"{audit.question['method']} ({', '.join(f'{name}={value}' for name, value in own.items()) or 'its defaults'})"
    )


def _list(sentences: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in sentences) + "</ul>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _cell(text: str) -> str:
    number = text[:1] in "+-.0123456789" and bool(text)
    return f"<td{' class=n' if number else ''}>{escape(text)}</td>"


def _figures(figures: Mapping[str, Figure]) -> str:
    rows = [
        (name, f"{f.mean:.3f}", f"{f.low:.3f} to {f.high:.3f}", str(f.count), _MEANING.get(name, ""))
        for name, f in figures.items()
    ]
    return _table(("figure", "mean", "95 % interval", "pictures", ""), rows)


def _against(audit: Audit) -> list[str]:
    if audit.against is None:
        return []
    note = "How much more the first model has, picture by picture."
    return [
        f"<h2>Against {escape(audit.against.model)}</h2>",
        _list(audit.against.findings),
        _figures(audit.against.figures),
        f'<p class="note">{note}</p>',
        _figures(audit.differences),
    ]


def _class(audit: Audit, name: str) -> str:
    figures, count = audit.by_class[name], sum(1 for look in audit.looks if (look.sample.truth or look.answer) == name)
    told = ", ".join(
        f"{key} {f.mean:.2f}" for key, f in figures.items() if key in ("accuracy", "inside_mask", "corners")
    )
    drawn = _image(_heat(audit.mean_maps[name]), f"mean map of {name}")
    plane = _plane(audit.clusters[name]) if name in audit.clusters else ""
    return f"<figure>{drawn}{plane}<figcaption><b>{escape(name)}</b>, {count} pictures: {escape(told)}</figcaption></figure>"


def _plane(found: Clusters) -> str:
    """Where the maps of a class lie, each cluster in a colour of its own."""
    low, high = found.points.min(axis=0), found.points.max(axis=0)
    at = 8 + 176 * (found.points - low) / np.maximum(high - low, 1e-12)
    dots = "".join(
        f'<circle cx="{x:.0f}" cy="{y:.0f}" r="3" fill="{_COLOURS[member % len(_COLOURS)]}" fill-opacity=".7"/>'
        for (x, y), member in zip(at, found.member)
    )
    said = f"{found.count} cluster{'s' * (found.count > 1)} of maps"
    return f'<svg width="192" height="192" role="img" aria-label="{said}"><title>{said}</title>{dots}</svg>'


def _contrasts(audit: Audit) -> list[str]:
    if not audit.contrasts:
        return []
    rows = [
        (f"{c.first} against {c.second}", c.figure, f"{c.difference:+.3f}", f"{c.effect:+.2f}", f"{c.p:.3g}")
        for c in audit.contrasts
    ]
    head = ("compared", "figure", "difference", "Cliff's delta", "p (Mann-Whitney, Holm)")
    return ["<h2>Groups</h2>", _table(head, rows)]


def _odd(each: Any) -> str:
    look = each.look
    truth = f", in truth {look.sample.truth}" if look.sample.truth is not None else ""
    said = f"{look.sample.name}: {look.answer} {look.probability:.2f}{truth}; oddness {each.oddness:.2f}"
    return f"<figure>{_image(each.picture, look.sample.name)}<figcaption>{escape(said)}</figcaption></figure>"


def _failures(audit: Audit) -> list[str]:
    if not audit.failures:
        return []
    told = [f"{each.sample.name}: {each.given} {each.fix}" for each in audit.failures]
    return [f"<h2>{len(told)} pictures that could not be used</h2>", _list(told)]


def _row(figures: Iterable[str]) -> str:
    return f'<div class="row">{"".join(figures)}</div>'


def _heat(small: np.ndarray) -> Image.Image:
    colours = pictures.colourise(small, pictures.scale_of(small, signed=False))
    return Image.fromarray(np.kron(colours, np.ones((_ENLARGED, _ENLARGED, 1), np.uint8)))


def _image(picture: Image.Image, said: str) -> str:
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return f'<img src="data:image/png;base64,{b64encode(buffer.getvalue()).decode()}" alt="{escape(said)}">'

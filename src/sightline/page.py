"""One explanation as a web page that needs nothing beside it."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from html import escape
from typing import Any

_STYLE = "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#222}"
_STYLE += "img{max-width:100%}td{padding:.2rem 1rem .2rem 0;vertical-align:top}td:first-child{color:#666}"


def page(title: str, png: bytes, facts: Mapping[str, Any]) -> str:
    """HTML of a title, the picture inside the page, and a table of the facts."""
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(_text(value))}</td></tr>" for name, value in facts.items())
    source = f"data:image/png;base64,{b64encode(png).decode()}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f'<h1>{escape(title)}</h1><img src="{source}" alt="{escape(title)}"><table>{rows}</table></html>\n'
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)

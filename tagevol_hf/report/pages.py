"""From a template to a page in one file."""

from __future__ import annotations

import os
from base64 import b64encode
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from . import words
from .collect import meaning_of

_HERE = Path(__file__).parent


def write_page(template: str, page: Any, target: Path) -> Path:
    """Render a template of this folder with `page`, and write it, whole or not at all."""
    pages = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters.update(
        count=words.count,
        decimal=words.decimal,
        percent=words.percent,
        duration=words.duration,
        plural=words.plural,
        width=words.width,
        meaning=meaning_of,
    )
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    pages.globals.update(script=Markup(script), script_hash=script_hash(script))  # noqa: S704 - a file of the package
    text = pages.get_template(template).render(page=page)
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    fresh.write_text(words.printable(text), encoding="utf-8", newline="\n")
    fresh.replace(target)
    return target


def script_hash(script: str) -> str:
    """The source of a content security policy that allows exactly this script."""
    return f"sha256-{b64encode(sha256(script.encode()).digest()).decode()}"

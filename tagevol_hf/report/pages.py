"""From a template to a page in one file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from . import words
from .collect import meaning_of


def write_page(template: str, page: Any, target: Path) -> Path:
    """Render a template of this folder with `page`, and write it, whole or not at all."""
    pages = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
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
    text = pages.get_template(template).render(page=page)
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    fresh.write_text(words.printable(text), encoding="utf-8")
    fresh.replace(target)
    return target

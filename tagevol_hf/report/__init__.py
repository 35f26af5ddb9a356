"""One self-contained HTML page for a run: what went in, what came out, what was thrown away, and proof."""

from __future__ import annotations

import os
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from . import words
from .collect import collect, meaning_of

__all__ = ["write_report"]


def write_report(run_folder: Path) -> Path:
    """Write `report.html` into a run folder, finished or not, and give its path.

    The page asks the network for nothing and runs no script; text from the data is escaped, long text cut.

    Raises:
        DataError: If the folder holds no readable run.json.
    """
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
    text = pages.get_template("page.html.j2").render(page=collect(run_folder))
    target = run_folder / "report.html"
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    fresh.write_text(words.printable(text), encoding="utf-8")
    fresh.replace(target)
    return target

"""One self-contained HTML page for a study: its question, its arms side by side, how to repeat it."""

from __future__ import annotations

from pathlib import Path

from ..pages import write_page
from .collect import collect

__all__ = ["write_study_report"]


def write_study_report(folder: Path) -> Path:
    """Write `report.html` into the folder of a study, finished or not, and give its path.

    The page asks the network for nothing and runs no script; text from the data is escaped, long text cut.

    Raises:
        DataError: If the folder holds no readable compare.json.
    """
    return write_page("study/page.html.j2", collect(folder), folder / "report.html")

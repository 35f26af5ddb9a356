"""One self-contained HTML page for a run: what went in, what came out, what was thrown away, and proof."""

from __future__ import annotations

from pathlib import Path

from .collect import collect
from .pages import write_page

__all__ = ["write_report"]


def write_report(run_folder: str | Path) -> Path:
    """Write `report.html` into a run folder, finished or not, and give its path.

    The page asks the network for nothing; its one script is its own, allowed by its hash, and the page is complete
    without it. Text from the data is escaped, long text cut.

    Raises:
        DataError: If the folder holds no readable run.json.
    """
    folder = Path(run_folder)
    return write_page("page.html.j2", collect(folder), folder / "report.html")

"""Figures of a run for papers and notebooks, by matplotlib (extra `figures`); the data is that of the report.

>>> run = load_run("runs/quickstart")
>>> run.figures.names()
>>> run.figures.clusters()  # shows itself in a notebook
>>> write_figures("runs/quickstart", "figures")
"""

from __future__ import annotations

from .run_figures import RunFigures, write_figures

__all__ = ["RunFigures", "write_figures"]

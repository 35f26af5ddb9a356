"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RecipePath = Annotated[
    Path, typer.Argument(metavar="RECIPE", help="A recipe's folder (with curate.yaml), or its YAML file.")
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, finished or not.")]
Limit = Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the first so many rows.")]

"""The command `tagevol schema`: a JSON schema for an editor."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from .errors import DataError, RecipeError

KINDS = ("recipe", "study")


def add_to(app: typer.Typer) -> None:
    """Add the command to the program's others."""
    app.command(short_help="Write recipes' schema for editors.")(schema)


def schema(
    kind: Annotated[str, typer.Argument(metavar="recipe|study", help="Of curate.yaml, or of study.yaml.")] = KINDS[0],
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it into this file.")] = None,
) -> None:
    """Write the JSON schema of a recipe, for editors that complete and check YAML.

    tagevol schema --out tagevol-recipe.json

    Then put this line on top of a recipe (VS Code with its YAML extension, and others, read it):

    # yaml-language-server: $schema=tagevol-recipe.json
    """
    from .schema import recipe_schema, study_schema

    if kind not in KINDS:
        raise RecipeError(f"schema: expected {' or '.join(KINDS)}, got {kind!r}")
    text = json.dumps(recipe_schema() if kind == "recipe" else study_schema(), indent=2, ensure_ascii=False)
    if out is None:
        typer.echo(text)
        return
    try:
        out.write_text(text + "\n", encoding="utf-8")
    except OSError as fault:
        raise DataError(f"{out}: cannot be written ({fault.strerror})") from fault
    typer.echo(f"schema: {out}")

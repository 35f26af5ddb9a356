"""The command `tagevol doctor`: what can run here, and the line that installs what is missing."""

from __future__ import annotations

import json
from typing import Annotated

import typer

_SIGNS = {"ok": "ok", "limited": "so-so", "missing": "missing"}
_TITLES = {
    "machine": "Machine",
    "extra": "Extras",
    "engine": "Engines",
    "sandbox": "Generated code",
    "hub": "Keys and the Hub",
}


def add_to(app: typer.Typer) -> None:
    """Add the command to the program's others."""
    app.command(short_help="Tell what can run here.")(doctor)


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Tell what is installed and what can run here, with the line that installs what is missing.

    Starts no engine and asks no network. The exit status is 0 whatever is missing, since no part is needed by all.
    """
    from .doctor import as_record, findings

    found = findings()
    if as_json:
        typer.echo(json.dumps(as_record(found), ensure_ascii=False))
        return
    width = max(len(one.name) for one in found)
    for area, title in _TITLES.items():
        typer.echo(f"\n{title}")
        for one in found:
            if one.area == area:
                typer.echo(f"  {_SIGNS[one.state]:<7}  {one.name:<{width}}  {one.words}")
                if one.remedy:
                    typer.echo(f"  {'':<7}  {'':<{width}}  → {one.remedy}")

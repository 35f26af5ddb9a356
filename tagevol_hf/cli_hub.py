"""The commands `tagevol push`, `export` and `verify`: publish a run with proof, and check what is published."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="The run folder.")]
Repo = Annotated[str, typer.Argument(metavar="REPO", help="The data set on the Hub, as owner/name.")]
Where = Annotated[
    str,
    typer.Argument(metavar="RUN|REPO", help="A run folder, a data set on the Hub, or a copy of one."),
]
Public = Annotated[bool, typer.Option("--public", help="Everybody may see a repository that is made now.")]
Configs = Annotated[
    str | None,
    typer.Option(metavar="NAMES", help="Of selected,evolved,tags,comparisons,rejected, with commas.  [default: all]"),
]
Append = Annotated[bool, typer.Option("--append", help="Add the rows to those that are there, in place of replacing.")]
WithStore = Annotated[
    bool, typer.Option("--with-store", help="Also the request store: others repeat the run without a model.")
]
Revision = Annotated[
    str | None, typer.Option(metavar="COMMIT", help="Which commit of a repository.  [default: the newest]")
]


def add_to(app: typer.Typer) -> None:
    """Add the commands to the program's others."""
    app.command(short_help="Publish a run on the Hub.")(push)
    app.command(short_help="Write a run as files to publish.")(export)
    app.command(short_help="Check what was published, or a run.")(verify)


def push(
    run: RunPath,
    repo: Repo,
    public: Public = False,
    configs: Configs = None,
    append: Append = False,
    with_store: WithStore = False,
) -> None:
    """Publish a finished run as a data set on the Hub: rows, card, recipe, and the proof of how it was made.

    tagevol push runs/quickstart me/quickstart

    Private unless --public. Configs that are not pushed stay as they are, and so does what a person wrote in the card.
    A broken push is repeated by the same command: what arrived is not sent again.
    """
    from .hub import push_to_hub

    address = push_to_hub(
        run,
        repo,
        configs=_names(configs),
        private=not public,
        mode="append" if append else "replace",
        store=with_store,
        say=typer.echo,
    )
    typer.echo(f"pushed to {address}")
    typer.echo(f"check it:  tagevol verify {repo}")


def export(
    run: RunPath,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="The folder to write; one of an earlier export is replaced.")
    ],
    configs: Configs = None,
    with_store: WithStore = False,
) -> None:
    """Write a finished run as Parquet files with card, recipe and proof into a folder: a push without the Hub.

    tagevol export runs/quickstart quickstart-data
    """
    from .hub import export_run

    export_run(run, folder, configs=_names(configs), store=with_store, say=typer.echo)
    typer.echo(f"exported to {folder}")
    typer.echo(f"check it:  tagevol verify {folder}")


def _names(configs: str | None) -> list[str] | None:
    return None if configs is None else [name.strip() for name in configs.split(",") if name.strip()]


def verify(where: Where, revision: Revision = None) -> None:
    """Recompute counts and digests from the data and the recipe; where one differs, name the place (exit status 2).

    tagevol verify runs/quickstart

    tagevol verify me/quickstart
    """
    from .hub import verify as find_faults

    faults = find_faults(where, revision=revision, say=lambda line: typer.echo(line, err=True))
    for fault in faults:  # names in it come from a repository that anybody may have written
        typer.echo("".join(sign if sign.isprintable() else "\ufffd" for sign in fault))
    if faults:
        typer.echo(f"{where}: {len(faults):,} {'fault' if len(faults) == 1 else 'faults'}", err=True)
        raise typer.Exit(2)
    typer.echo(f"{where}: everything fits")

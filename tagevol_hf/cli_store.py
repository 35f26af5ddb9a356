"""The commands `tagevol store …`: look into a request store, check it, make it smaller."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .engines import store_care
from .errors import EngineError

app = typer.Typer(
    help="Look after a request store: the file with every reply that was ever paid for.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Where = Annotated[Path, typer.Argument(metavar="STORE", help="A run folder, or the store's file.")]


@app.command()
def info(where: Where) -> None:
    """Show what a store holds: replies, tokens and days by engine."""
    path = store_care.existing(where)
    found = store_care.info(path)
    typer.echo(f"{path}: {found.replies:,} replies, {found.bytes / 1e6:,.1f} MB")
    for share in found.engines:
        typer.echo(
            f"  {share.identity or '(not told)'}: {share.replies:,} replies, {share.cut_off:,} of them cut off; "
            f"{share.prompt_tokens:,} prompt and {share.completion_tokens:,} reply tokens; "
            f"{share.first_day} to {share.last_day}"
        )
    for name in found.notes:
        typer.echo(f"  note: {name}")


@app.command()
def verify(
    where: Where,
    rescue: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Copy what can be read into this new file.")
    ] = None,
) -> None:
    """Read every reply; exit status 2 if one is damaged."""
    path = store_care.existing(where)
    verdict = store_care.verify(path)
    typer.echo(f"{path}: {verdict.readable:,} replies can be read, {sum(verdict.faults.values()):,} faults found")
    for text, count in verdict.faults.most_common(10):
        typer.echo(f"  {count:,} x {text}")
    if rescue is not None:
        saved = store_care.rescue(path, rescue)
        typer.echo(f"{rescue}: {saved:,} replies saved; put it in the place of {path} and run the same command again")
    elif verdict.faults:
        raise EngineError(f"{path}: damaged; save what can be read: tagevol store verify {path} --rescue NEW")


@app.command(short_help="Delete replies that meet all given conditions.")
def prune(
    where: Where,
    engine: Annotated[
        str | None, typer.Option(metavar="ENGINE", help="Only replies of this engine, as `info` names it.")
    ] = None,
    older_than: Annotated[
        int | None, typer.Option(min=0, metavar="DAYS", help="Only replies older than so many days.")
    ] = None,
    cut_off: Annotated[bool, typer.Option("--cut-off", help="Only replies that were cut off at max_tokens.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count them.")] = False,
) -> None:
    """Delete replies that meet all given conditions; a run that needs them will ask again."""
    path = store_care.existing(where)
    before = store_care.info(path).bytes
    count = store_care.prune(path, engine=engine, older_than=older_than, cut_off=cut_off, dry=dry_run)
    if dry_run:
        typer.echo(f"{path}: {count:,} replies would go")
    else:
        typer.echo(f"{path}: {count:,} replies gone, {before / 1e6:,.1f} → {store_care.info(path).bytes / 1e6:,.1f} MB")


@app.command(short_help="Bring a run's shards together.")
def merge(run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run with shards.")]) -> None:
    """Bring the replies of a run's shards (tagevol curate RECIPE --shard 3/16) into the run's own store.

    Then every shard can go on by the same command; when none has more to ask, tagevol curate RECIPE asks nothing.
    """
    from .pipeline.merging import merge_shards

    merge_shards(run, typer.echo)

"""What `tagevol curate` does and says while a run goes on, whole or one shard of it."""

from __future__ import annotations

import hashlib
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from .project import recipe_path

if TYPE_CHECKING:
    from .recipe import Recipe

out = Console(soft_wrap=True, highlight=False, markup=False)


def curate_recipe(
    path: Path, settings: list[str] | None, limit: int | None, folder: Path | None, caps: list[str], on: str | None
) -> Path:
    """Curate by a recipe, and say what each step did; gives the run folder."""
    from .pipeline import curate

    recipe, folder = _recipe_and_folder(path, settings, limit, folder, caps)
    result = curate(recipe, folder, shlex.join(["tagevol", *sys.argv[1:]]), _tell, on=on)
    totals = result.record["totals"]
    if totals["asked"]:
        cost = f", cost {totals['cost']:,.4g}" if totals["cost"] else ""
        out.print(
            f"The engine was asked {totals['asked']:,} times{cost}; {totals['stored']:,} replies came from the store."
        )
    else:
        out.print(f"The engine was asked nothing: all {totals['stored']:,} replies were in the store.")
    for engine in result.record["engines"].values():
        if len(engine["served"]) > 1:
            shares = ", ".join(f"{url} {count:,}" for url, count in engine["served"].items())
            out.print(f"Answered by: {shares}")
    return folder


def _recipe_and_folder(
    path: Path, settings: list[str] | None, limit: int | None, folder: Path | None, caps: list[str]
) -> tuple[Recipe, Path]:
    """The recipe and its run folder, said to the user."""
    from .curate_first import run_folder_of
    from .engines.kinds import is_language_model
    from .recipe_file import load_recipe

    recipe = load_recipe(recipe_path(path), [*(settings or ()), *caps], limit)
    folder = folder or run_folder_of(recipe).with_name(recipe.name + _suffix(settings or [], limit))
    out.print(f"{recipe.name}: {recipe.data.source} → {folder}")
    if not all(is_language_model(spec) for spec in recipe.engines.values()):
        out.print("The built-in engine answers by rule: no language model is used.")
    return recipe, folder


def ask_for_shard(
    path: Path,
    settings: list[str] | None,
    limit: int | None,
    folder: Path | None,
    caps: list[str],
    on: str | None,
    shard: str,
) -> None:
    """Ask for a shard's part of a run, and say how far it came."""
    from .pipeline.shards import Shard, curate_shard

    part = Shard.read(shard)
    recipe, folder = _recipe_and_folder(path, settings, limit, folder, caps)
    out.print(f"{curate_shard(recipe, part, folder, shlex.join(['tagevol', *sys.argv[1:]]), _tell, on)}")


def _suffix(settings: list[str], limit: int | None) -> str:
    """A run with overrides gets a folder of its own, the same for the same overrides."""
    parts = [f"-limit{limit}"] if limit is not None else []
    if settings:
        parts.append("-" + hashlib.sha256("\0".join(sorted(settings)).encode()).hexdigest()[:6])
    return "".join(parts)


def _tell(step: Any) -> None:
    rejected = sum(step.rejected.values())
    parts = [f"{step.rows_in:,} → {step.rows_out:,} rows"]
    parts += [f"{rejected:,} rejected"] if rejected else []
    parts += [f"{step.not_chosen:,} not chosen"] if step.not_chosen else []
    parts += [f"{step.asked:,} asked"] if step.asked else []
    parts += [f"{step.stored:,} from the store"] if step.stored else []
    parts += [f"{sum(step.redrawn.values()):,} asked again"] if step.redrawn else []
    parts += [f"{sum(step.failed.values()):,} failed"] if step.failed else []
    parts += [f"{step.cached_share:.0%} of the prompts cached"] if step.cached_share else []
    parts += [f"{step.tokens_per_second:,.0f} tokens/s"] if step.asked and step.seconds > 1 else []
    out.print(f"  {step.number:>2} {step.name:<18} {', '.join(parts)}, {step.seconds:.1f} s")
    if step.summary.get("warning"):
        out.print(f"     {step.summary['warning']}")

"""The command `tagevol plan`: what a recipe will ask and cost, before it asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .cli_options import Limit, RecipePath
from .errors import RecipeError
from .project import recipe_path

if TYPE_CHECKING:
    from .plan import StepPlan
    from .preview import Expected
    from .recipe import Recipe

_SHOWN = 3  # rows of a preview
_CHARACTERS = 400  # of a text

Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a field: select.n=1000, …")
]
Preview = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Run so many rows for real, and say what all would take; 50 are enough."),
]
Rate = Annotated[
    float | None,
    typer.Option(min=0.1, metavar="RATE", help="Tokens a second of your engine, prompts and replies, for the hours."),
]
Folder = Annotated[
    Path | None, typer.Option("--out", metavar="FOLDER", help="The preview's folder.  [default: runs/NAME-preview]")
]


def add_to(app: typer.Typer) -> None:
    """Add the command to the program's others."""
    app.command(short_help="Count what a recipe will ask.")(plan)


def plan(
    recipe: RecipePath,
    settings: Settings = None,
    limit: Limit = None,
    preview: Preview = None,
    tokens_per_second: Rate = None,
    folder: Folder = None,
) -> None:
    """Count what a recipe will ask, step by step; with --preview also its tokens and its cost.

    tagevol plan recipes/tacos/alpaca-52k

    tagevol plan recipes/tacos/alpaca-52k --preview 50 --set 'prices={default: {prompt: 0.15, completion: 0.6}}'

    Without --preview nothing is asked.
    """
    from datasets.utils import disable_progress_bars

    from .curate_first import run_folder_of
    from .pipeline.journey import read_all, user_turns
    from .plan import plan as plan_steps
    from .recipe_file import load_recipe

    loaded = load_recipe(recipe_path(recipe), settings or (), limit)
    if tokens_per_second and not preview:
        raise RecipeError("plan: --tokens-per-second needs --preview N, which measures how many tokens there will be")
    disable_progress_bars()  # the table is all that is to be seen
    rows = read_all(loaded.data)
    steps = plan_steps(loaded, len(rows), user_turns(rows))
    if preview is None:
        _table([_counts(step) for step in steps], steps)
        _say("These are upper bounds; rows that are rejected on the way ask nothing more.")
        _choices(loaded, steps)
        _stored(run_folder_of(loaded))
        return
    folder = folder or Path("runs") / f"{loaded.name}-preview"
    found = _previewed(loaded, rows, steps, preview, folder)
    _table([[*_counts(step), *_figures(found.get(step.name))] for step in steps], steps, found)
    _sums(found, tokens_per_second)
    _say(f"From {min(preview, len(rows)):,} of {len(rows):,} rows, drawn by length; their run is {folder}")


def _previewed(recipe: Any, rows: Any, steps: Sequence[StepPlan], count: int, folder: Path) -> Mapping[str, Expected]:
    from .pipeline.journey import user_turns
    from .plan import plan as plan_steps
    from .preview import by_length, expected, preview, shown

    run = preview(recipe, rows, count, folder)
    small = rows.select(by_length(rows, count, recipe.seed))
    for name, texts in shown(run, _SHOWN):
        _say(f"\n{name}")
        for words, text in texts:
            _say(f"  {words}: {_cut(text)}")
    _say("")
    return expected(recipe, steps, run.record, plan_steps(recipe, len(small), user_turns(small)))


def _cut(text: str) -> str:
    shown = " ".join(text.split())
    return shown if len(shown) <= _CHARACTERS else f"{shown[: _CHARACTERS - 1]}…"


def _counts(step: StepPlan) -> list[str]:
    return [step.name, f"{step.rows:,}", f"{step.requests:,}", f"{step.worst:,}"]


def _figures(one: Expected | None) -> list[str]:
    if one is None:
        return ["", "", ""]
    return [f"{one.prompt_tokens:,}", f"{one.completion_tokens:,}", "" if one.cost is None else f"{one.cost:,.2f}"]


def _table(lines: list[list[str]], steps: Sequence[StepPlan], found: Mapping[str, Expected] | None = None) -> None:
    head = ["step", "rows", "requests", "if all redrawn"]
    total = ["total", "", f"{sum(s.requests for s in steps):,}", f"{sum(s.worst for s in steps):,}"]
    if found is not None:
        head += ["prompt tokens", "reply tokens", "cost"]
        total += [f"{sum(one.prompt_tokens for one in found.values()):,}"]
        total += [f"{sum(one.completion_tokens for one in found.values()):,}", _cost(found)]
    lines = [head, *lines, total]
    engines = ["engine", *(step.engine or "-" for step in steps), ""]
    widths = [max(18, *(len(line[0]) for line in lines)), 10, 10, 15, 14, 14, 10]
    for line, engine in zip(lines, engines, strict=True):
        cells = [f"{text:>{width}}" for text, width in zip(line[1:], widths[1:], strict=False)]
        _say(f"{line[0]:<{widths[0]}} {' '.join(cells)}  {engine}".rstrip())


def _choices(recipe: Recipe, steps: Sequence[StepPlan]) -> None:
    """What the pairs cost by plan, where there are any."""
    from .plan import COMPARISONS, compare_choices

    coming = next((step.rows for step in steps if step.name == "compare"), None)
    if coming is None:
        return
    heads = [f"{number} a row" for number in COMPARISONS]
    _say("\ncompare, in both orders; with one order half of it:")
    for name, cells in [("plan", heads), *((plan, [f"{n:,}" for n in found]) for plan, found in
                        compare_choices(recipe, coming).items())]:  # fmt: skip
        _say(f"  {name:<16} {' '.join(f'{cell:>10}' for cell in cells)}")


def _stored(folder: Path) -> None:
    """What need not be asked again."""
    from .engines import store_care

    if (folder / "store.sqlite").is_file():
        found = store_care.info(folder / "store.sqlite")
        _say(f"{folder / 'store.sqlite'} has {found.replies:,} replies; what is among them is not asked again.")


def _cost(found: Mapping[str, Expected]) -> str:
    costs = [one.cost for one in found.values() if one.cost is not None]
    return f"{sum(costs):,.2f}" if costs else ""


def _sums(found: Mapping[str, Expected], rate: float | None) -> None:
    tokens = sum(one.prompt_tokens + one.completion_tokens for one in found.values())
    if rate:
        _say(f"{tokens:,} tokens at {rate:,.0f} a second: {tokens / rate / 3600:,.1f} hours")


def _say(line: str) -> None:
    typer.echo(line)

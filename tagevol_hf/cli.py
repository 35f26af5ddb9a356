"""The command `tagevol`: from instructions to a curated set, a fine-tuned model and a report."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated, NoReturn

import typer
from rich.console import Console

from . import (
    __version__,
    cli_compare,
    cli_curate,
    cli_doctor,
    cli_eval,
    cli_hub,
    cli_plan,
    cli_schema,
    cli_show,
    cli_store,
)
from .cli_options import Limit, RecipePath, RunFolder
from .errors import LimitError, MissingExtraError, RecipeError, TagEvolError
from .launch import launch_evaluation, launch_training, missing_for_training
from .project import recipe_path

app = typer.Typer(
    name="tagevol",
    help="Better instruction data from the data you have: evolve it (Tag-Evol), select from it (TACOS), "
    "train on it (TRL), and see what happened.\n\n"
    "Start with: tagevol run recipes/quickstart",
    epilog="Exit status: 0 done, 1 a bug, 2 something to put right, which is said, 3 a cap was reached, 130 stopped by "
    "Ctrl-C. After 2, 3 and 130 the same command goes on.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
out = Console(soft_wrap=True, highlight=False, markup=False)
errors = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)

Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a field: data.source=my.jsonl, select.n=1000, …"),
]
MaxRequests = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Stop after so many requests to the engines.")
]
MaxTokens = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Stop before more tokens than this, prompts and replies.")
]
MaxCost = Annotated[
    float | None, typer.Option(min=0, metavar="COST", help="Stop before it costs more, at the recipe's prices.")
]
Folder = Annotated[Path | None, typer.Option("--out", metavar="FOLDER", help="The run folder.  [default: runs/NAME]")]
On = Annotated[
    str | None,
    typer.Option(
        "--on", metavar="RAY", help="Engines on a Ray cluster: ray, ray:auto or ray://HOST:PORT, with ?actors=4&gpus=1."
    ),
]
ShardOf = Annotated[
    str | None,
    typer.Option(
        "--shard", metavar="I/N", help="Only ask for this part of the replies, as 3/16; then tagevol store merge."
    ),
]
Sft = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The training recipe.  [default: the only sft-*.yaml there is]")
]
Where = Annotated[
    str | None,
    typer.Option(
        "--accelerate",
        metavar="NAME",
        help="A file of accelerate_configs/, without .yaml.  [default: single_gpu or cpu]",
    ),
]


@app.command(short_help="Curate, train, evaluate and report.")
def run(
    recipe: RecipePath,
    settings: Settings = None,
    limit: Limit = None,
    folder: Folder = None,
    sft: Sft = None,
    accelerate: Where = None,
    max_requests: MaxRequests = None,
    max_tokens: MaxTokens = None,
    max_cost: MaxCost = None,
    on: On = None,
) -> None:
    """Curate, train, evaluate and report: the whole journey of a recipe.

    tagevol run recipes/quickstart

    tagevol run recipes/quickstart --set data.source=mine.jsonl --limit 500

    The same command goes on after an interruption, and asks nothing again when all is done.
    With --set or --limit the run gets a folder of its own, named after them.
    """
    from .run_folder import read_run

    chosen = _training_recipe(recipe, sft)
    if lacking := missing_for_training() if chosen else "":
        untrained = str(MissingExtraError(lacking, "train"))
        if sft is not None:
            raise MissingExtraError(lacking, "train")
        out.print(f"nothing will be trained: {untrained}")
    path = cli_curate.curate_recipe(recipe, settings, limit, folder, _caps(max_requests, max_tokens, max_cost), on)
    model = None
    if lacking:
        out.print(f"nothing was trained: {untrained}; then the same command does it")
    elif chosen is not None:
        model = launch_training(path, chosen, accelerate, [])
        if read_run(path)["totals"]["not_chosen"]:
            launch_evaluation(path, model)
        else:
            out.print("no row was left unchosen: there is nothing to evaluate on")
    else:
        out.print(f"no sft-*.yaml beside {recipe}: nothing is trained")
    page = _report(path)
    _summary(path, model, page)


@app.command(short_help="Make a recipe's curated set.")
def curate(
    recipe: RecipePath,
    settings: Settings = None,
    limit: Limit = None,
    folder: Folder = None,
    max_requests: MaxRequests = None,
    max_tokens: MaxTokens = None,
    max_cost: MaxCost = None,
    on: On = None,
    shard: ShardOf = None,
) -> None:
    """Make the curated set of a recipe, without training.

    tagevol curate recipes/quickstart --set engines.default=vllm:Qwen/Qwen2.5-7B-Instruct

    With --shard 3/16 several jobs ask for a part of the replies each; tagevol store merge brings them together.
    """
    caps = _caps(max_requests, max_tokens, max_cost)
    if shard is not None:
        cli_curate.ask_for_shard(recipe, settings, limit, folder, caps, on, shard)
    else:
        path = cli_curate.curate_recipe(recipe, settings, limit, folder, caps, on)
        _summary(path, None, _report(path))


@app.command(
    short_help="Fine-tune on a curated set.",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def train(
    context: typer.Context,
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run folder, as runs/quickstart.")],
    sft: Annotated[
        Path, typer.Option(metavar="FILE", help="The training recipe, as recipes/quickstart/sft-tiny.yaml.")
    ],
    accelerate: Where = None,
) -> None:
    """Fine-tune a model on a run's curated set.

    accelerate starts the trainer of TRL, which gets all further arguments. For instance:

    tagevol train runs/quickstart --sft recipes/quickstart/sft-tiny.yaml --num_train_epochs 1
    """
    model = launch_training(run_folder, sft, accelerate, context.args)
    out.print(f"model: {model}")


@app.command(short_help="Write a run's page and figures.")
def report(
    run_folder: RunFolder,
    figures: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Also write figures for papers into this folder.")
    ] = None,
) -> None:
    """Write the report page of a run.

    tagevol report runs/quickstart --figures figures

    One HTML file that needs nothing else; with --figures FOLDER also each figure as .png and .svg.
    """
    out.print(f"report: {_report(run_folder)}")
    if figures is not None:
        from .figures import write_figures

        files = write_figures(run_folder, figures)
        out.print(f"figures: {len(files)} files in {figures}")


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False) -> None:
    if version:
        out.print(__version__)
        raise typer.Exit


for _more in (cli_plan, cli_show, cli_eval, cli_compare, cli_hub, cli_doctor, cli_schema):  # in the order of the help
    _more.add_to(app)
app.add_typer(cli_store.app, name="store", short_help="Look after a request store.")


def main() -> NoReturn:
    """Entry point.

    Exit status: 0 done (rows may be rejected, each with its reason), 1 a bug, 2 a clear error in one line, 3 stopped
    at a limit of the user's, 130 stopped by Ctrl-C or SIGTERM. After all but 0 the same command goes on.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    try:
        app()
    except LimitError as fault:
        errors.print(f"{fault}")
        sys.exit(3)
    except TagEvolError as fault:
        errors.print(f"error: {fault}")
        sys.exit(2)
    except OSError as fault:
        errors.print(f"error: {fault}; nothing that was answered is lost: run the same command again")
        sys.exit(2)
    except _Stopped:
        errors.print("stopped; the same command goes on from here")
        sys.exit(130)
    sys.exit(0)


class _Stopped(BaseException):
    """The user wants the run to end; not a KeyboardInterrupt, which the command-line library turns into status 1."""


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    raise _Stopped


def _caps(max_requests: int | None, max_tokens: int | None, max_cost: float | None) -> list[str]:
    """Limits of the command line as settings of the recipe; they do not name the run folder."""
    given = {"max_requests": max_requests, "max_tokens": max_tokens, "max_cost": max_cost}
    return [f"limits.{name}={value}" for name, value in given.items() if value is not None]


def _training_recipe(recipe: Path, given: Path | None) -> Path | None:
    if given is not None:
        if not given.is_file():
            raise RecipeError(f"{given}: no such training recipe")
        return given
    recipe = recipe_path(recipe)
    folder = recipe if recipe.is_dir() else recipe.parent
    found = sorted(folder.glob("sft-*.yaml"))
    if len(found) > 1:
        names = ", ".join(str(file) for file in found)
        raise RecipeError(f"{folder}: name the training recipe by --sft; there are: {names}")
    return found[0] if found else None


def _report(run_folder: Path) -> Path:
    from .report import write_report

    return write_report(run_folder)


def _summary(run_folder: Path, model: Path | None, page: Path) -> None:
    import json

    from .recipe_steps import EVOLUTIONS
    from .run_folder import read_run

    record = read_run(run_folder)
    totals, steps = record["totals"], {step["name"]: step for step in record["steps"]}
    lines = [("rows in", f"{totals['read']:,}")]
    lines += [("evolved", f"{steps[name]['rows_out']:,}") for name in EVOLUTIONS if name in steps]
    lines += [(f"rejected: {reason}", f"{count:,}") for reason, count in totals["rejected"].items()] or [
        ("rejected", "0")
    ]
    lines += [("selected", f"{totals['selected']:,}"), ("not chosen", f"{totals['not_chosen']:,}")]
    if model is not None and (model / "eval.json").exists():
        result = json.loads((model / "eval.json").read_text(encoding="utf-8"))
        before = f"{result['before']['loss']:.3f} before, " if result["before"] else ""
        after = f"{result['after']['loss']:.3f} after training"
        lines.append(("held-out loss", f"{before}{after} (nats a token, n = {result['n']})"))
    lines += [
        ("data", str(run_folder / "selected")),
        *([("model", str(model))] if model else []),
        ("report", str(page)),
    ]
    width = max(len(name) for name, _ in lines)
    out.print()
    for name, value in lines:
        out.print(f"  {name:<{width}}  {value}")
    out.print()
    if not all(engine["language_model"] for engine in record["engines"].values()):
        out.print(
            "Made by the built-in rule engine: no language model was used, so this shows the way, not the quality."
        )

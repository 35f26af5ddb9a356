"""The command `tagevol eval`: what a model can do, or how good saved predictions and judgments are."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .errors import RecipeError
from .launch import launch_evaluation

if TYPE_CHECKING:
    from .evals.model import Model
    from .evals.result import Result
    from .evals.running import Options
    from .evals.task import Task

HELD_OUT = "held_out_loss"

What = Annotated[
    str | None,
    typer.Argument(
        metavar="MODEL",
        help="A model's or LoRA adapter's folder, a run folder, a Hub id, or an endpoint http://HOST:PORT/v1#MODEL.",
    ),
]
Tasks = Annotated[
    str | None,
    typer.Option("--tasks", "--task", metavar="TASK,TASK", help="What it is to do.  [default: held_out_loss]"),
]
Data = Annotated[
    list[str] | None,
    typer.Option("--data", metavar="[TASK=]FILE", help="A task's problems: a local file or a Hub id."),
]
Limit = Annotated[int | None, typer.Option(min=1, metavar="N", help="Only the first so many problems of each task.")]
EngineName = Annotated[
    str,
    typer.Option("--engine", metavar="ENGINE", help="vllm, vllm-serve or transformers, with ?option=value if need be."),
]
MaxNewTokens = Annotated[int | None, typer.Option(min=1, metavar="N", help="Longest answer.  [default: the task's]")]
Judge = Annotated[
    str | None, typer.Option(metavar="ENGINE", help="The judge's engine, as vllm:MODEL or http://HOST:PORT/v1#MODEL.")
]
Predictions = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Grade this JSONL file instead of asking: a problem a line, the text in `output`."
    ),
]
Judgments = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Sum up recorded judgments of mt_bench, as FastChat saves them.")
]
Annotations = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Sum up recorded preferences of alpaca_eval: its JSON, or CSV of several models."
    ),
]
References = Annotated[
    list[str] | None, typer.Option(metavar="[TASK=]FILE", help="Reference answers for mt_bench's judge.")
]
RunCode = Annotated[
    bool, typer.Option("--allow-code-execution", help="Let humaneval and mbpp run the model's code, in a sandbox.")
]
Incomplete = Annotated[str, typer.Option(metavar="refuse|allow", help="What happens where problems have no answer.")]
Workers = Annotated[int | None, typer.Option(min=1, metavar="N", help="Processes that grade.  [default: one a core]")]
Seed = Annotated[int, typer.Option(metavar="N", help="Of answers that are drawn, as those of mt_bench.")]
Store = Annotated[
    Path | None, typer.Option(metavar="FILE", help="The request store.  [default: store.sqlite in the results' folder]")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", metavar="FOLDER", help="Where results go.  [default: MODEL/evals, else runs/evals]"),
]
MaxRequests = Annotated[int | None, typer.Option(min=1, metavar="N", help="Stop after so many requests.")]
MaxTokens = Annotated[int | None, typer.Option(min=1, metavar="N", help="Stop before more tokens than this.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print each task's result as one JSON object in a line.")]


def add_to(app: typer.Typer) -> None:
    """Add the command to the program's others."""
    app.command(name="eval", short_help="Evaluate a model on benchmarks.")(evaluate)


def evaluate(
    what: What = None,
    tasks: Tasks = None,
    engine: EngineName = "vllm",
    data: Data = None,
    limit: Limit = None,
    max_new_tokens: MaxNewTokens = None,
    judge: Judge = None,
    allow_code_execution: RunCode = False,
    references: References = None,
    predictions: Predictions = None,
    judgments: Judgments = None,
    annotations: Annotations = None,
    incomplete: Incomplete = "refuse",
    workers: Workers = None,
    seed: Seed = 0,
    store: Store = None,
    folder: Out = None,
    max_requests: MaxRequests = None,
    max_tokens: MaxTokens = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate a model: gsm8k, math500, humaneval, mbpp, ifeval, mt_bench, alpaca_eval, held_out_loss.

    tagevol eval runs/quickstart

    tagevol eval runs/mine/sft-qwen2.5-7b --tasks gsm8k,math500 --limit 200

    tagevol eval http://localhost:8000/v1#mine --tasks math500 --data math500=math500.jsonl

    tagevol eval --task gsm8k --predictions mine.jsonl --data test.jsonl --json

    Every mean comes with its n, how many were expected, and a 95 % interval. The same command asks nothing twice.
    """
    if incomplete not in ("refuse", "allow"):
        raise RecipeError(f"--incomplete: expected refuse or allow, got {incomplete!r}")
    names = _names(tasks or ("mt_bench" if judgments else "alpaca_eval" if annotations else HELD_OUT))
    if sum(given is not None for given in (what, predictions, judgments, annotations)) != 1:
        raise RecipeError("eval: expected either a MODEL, or one of --predictions, --judgments, --annotations")
    if what and HELD_OUT in names:
        _held_out(what, _given(data, names, "--data").get(HELD_OUT), as_json)
        names.remove(HELD_OUT)
        if not names:
            return
    if what is None and (len(names) != 1 or names == [HELD_OUT]):
        raise RecipeError(f"eval: {predictions}: name the one task that it is of by --task")
    from .engines.usage import Limits
    from .evals.running import Options

    options = Options(
        data=_given(data, names, "--data"),
        references=_given(references, names, "--references"),
        limit=limit,
        max_new_tokens=max_new_tokens,
        judge=judge,
        run_code=allow_code_execution,
        workers=workers or _cores(),
        incomplete=incomplete,
        seed=seed,
        store=store,
        limits=Limits(max_requests, max_tokens),
    )
    if judgments is not None or annotations is not None:
        for result in _recorded(judgments, annotations, names, options):
            _show(result, folder, as_json)
    elif predictions is not None:
        from .evals.running import grade_predictions

        _show(grade_predictions(_tasks(names)[0], predictions, options), folder, as_json)
    elif what is not None:
        _ask(what, names, engine, options, folder, as_json)


def _cores() -> int:
    """That this process may use; not all systems tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _recorded(judgments: Path | None, annotations: Path | None, names: list[str], options: Options) -> list[Result]:
    """The results of saved judgments, or of saved preferences: one a model."""
    from .evals.alpaca_eval_recorded import recorded_results
    from .evals.mt_bench_recorded import recorded_result
    from .evals.records import read_objects

    if names != ["mt_bench" if judgments else "alpaca_eval"]:
        raise RecipeError("eval: --judgments is for --task mt_bench, --annotations for --task alpaca_eval")
    if judgments is None:
        return recorded_results(annotations or Path(), incomplete=options.incomplete)
    questions = options.data.get("mt_bench")
    known = read_objects(Path(questions)) if questions else None
    return [recorded_result(judgments, questions=known, incomplete=options.incomplete)]


def _ask(what: str, names: list[str], engine: str, options: Options, folder: Path | None, as_json: bool) -> None:
    """Let a model do the tasks."""
    from dataclasses import replace

    from datasets import disable_progress_bars

    from .evals.model import find_model
    from .evals.running import evaluate as run

    model = find_model(what, engine)
    folder = folder or _folder_of(model)
    folder.mkdir(parents=True, exist_ok=True)
    disable_progress_bars()  # of how judgments are written; how far the asking is, is shown otherwise
    options = replace(options, store=options.store or folder / "store.sqlite")
    _say(f"{model.name}: {', '.join(names)} → {folder}")
    for result in run(model, _tasks(names), options, _say):
        _show(result, folder, as_json)


def _names(tasks: str) -> list[str]:
    """The tasks that are asked for, checked."""
    from .evals.tasks import check_names

    names = [name.strip() for name in tasks.split(",") if name.strip()]
    check_names((name for name in names if name != HELD_OUT), "--tasks")
    return list(dict.fromkeys(names))


def _tasks(names: list[str]) -> list[Task]:
    from .evals.tasks import task_of

    return [task_of(name) for name in names]


def _given(data: list[str] | None, names: list[str], option: str) -> dict[str, str]:
    """Task → file, from TASK=FILE; a plain FILE is for the only task."""
    from .evals.tasks import NAMES

    found = {}
    for text in data or ():
        name, sign, place = text.partition("=")
        if sign and name in (*NAMES, HELD_OUT):
            found[name] = place
        elif len(names) == 1:
            found[names[0]] = text
        else:
            raise RecipeError(f"{option} {text}: expected TASK=FILE, with one of {', '.join(names)}")
    return found


def _held_out(what: str, run: str | None, as_json: bool) -> None:
    """The loss on held-out rows, by its own script: it needs the model itself, not its replies."""
    from .evals.model import find_model

    model = find_model(what).folder
    if model is None:
        raise RecipeError(
            f"{HELD_OUT}: needs the folder of a model or of a run that trained one, and {what} is neither; "
            "for other tasks name them by --tasks"
        )
    place = Path(run) if run else Path(what) if (Path(what) / "run.json").is_file() else model.parent
    if not (place / "run.json").is_file():
        raise RecipeError(f"{HELD_OUT}: name the run whose rows are held out by --data {HELD_OUT}=RUN_FOLDER")
    launch_evaluation(place, model, sys.stderr if as_json else None)
    if as_json:
        _print((model / "eval.json").read_text("utf-8"))
    else:
        _say(f"result: {model / 'eval.json'}")


def _folder_of(model: Model) -> Path:
    if model.folder is not None:
        return model.folder / "evals"
    kept = "".join(letter if letter.isalnum() or letter in "._-" else "-" for letter in model.name)
    return Path("runs") / "evals" / kept.strip("-")[:100]


def _show(result: Result, folder: Path | None, as_json: bool) -> None:
    """One result, for a program or for a person; and its file."""
    file = result.save(folder) if folder is not None else None
    if as_json:
        _print(json.dumps(result.figures(), ensure_ascii=False))
        return
    verdicts = ", ".join(f"{name} {count:,}" for name, count in result.verdicts.items())
    if result.about.get("annotations"):
        typer.echo(f"{result.about['model']}")
    typer.echo(f"  {result.task:<12} {_mean(result)}, n = {result.n:,} of {result.n_expected:,}   ({verdicts})")
    for name, value in result.summary.items():
        if isinstance(value, int | float | str):
            typer.echo(f"    {name.replace('_', ' '):<32} {_figure(value)}")
    if file is not None:
        typer.echo(f"    {file}")


def _mean(result: Result) -> str:
    """The mean and its interval, in percent where it is a share."""
    share = result.metric in ("accuracy", "win_rate")
    factor, unit, digits = (100, " %", 1) if share else (1, "", 2)
    if result.mean is None:
        return f"{result.metric}: none"
    text = f"{result.metric.replace('_', ' ')} {result.mean * factor:.{digits}f}{unit}"
    if result.interval is None:
        return text
    low, high = (value * factor for value in result.interval)
    return f"{text} [{low:.{digits}f}, {high:.{digits}f}]"


def _figure(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def _print(text: str) -> None:
    typer.echo(text.strip())


def _say(line: str) -> None:
    """What goes on goes to standard error, so that standard output holds results only."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - see above

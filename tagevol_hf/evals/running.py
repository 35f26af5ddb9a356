"""From a model, or from what it said, to results: answers first, then grades, so that one model is loaded at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..engines.open import open_engine
from ..engines.usage import Limits, Spending
from ..errors import RecipeError
from ..versions import versions
from .generate import Answers, generate
from .model import Model
from .records import read_objects, read_predictions, read_records
from .result import Result, result_of
from .task import Means, Problem, Task

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """How tasks are run.

    Attributes:
        data: Task → its records: a file, a saved data set or a Hub id; else the task's own place on the Hub.
        references: Task → a file of reference answers, where its records hold none.
        limit: Only the first so many problems of each task, at least 1.
        max_new_tokens: Upper bound of an answer in place of the task's own, in tokens.
        judge: Engine of the judge.
        run_code: Whether generated code may be run, in a sandbox.
        workers: Processes at once that grade, at least 1.
        incomplete: Where problems have no output: "refuse" or "allow".
        seed: Of answers that are not greedy.
        store: The request store of all engines; None for one that goes with the process.
        limits: Caps on what is asked, of model and judge together.
    """

    data: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    references: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    limit: int | None = None
    max_new_tokens: int | None = None
    judge: str | None = None
    run_code: bool = False
    workers: int = 1
    incomplete: str = "refuse"
    seed: int = 0
    store: Path | None = None
    limits: Limits = field(default_factory=Limits)


def evaluate(model: Model, tasks: Sequence[Task], options: Options, say: Say = lambda line: None) -> Iterator[Result]:
    """Ask a model for its answers to all tasks, then grade them.

    Args:
        model: Who is asked.
        tasks: At least one.
        options: See there.
        say: Prints a line; first of all what will be asked.

    Yields:
        The result of each task, in their order.

    Raises:
        DataError: If a task's records cannot be had, or a task is incomplete and this is not allowed.
        RecipeError: If a task needs a judge, or to run code, and has not got it.
        EngineError: If an engine fails. What was answered is in the store.
        LimitError: If a cap is reached; likewise.
    """
    asked = problems_of_all(tasks, options)
    turns = sum(len(problem.turns) for problems in asked.values() for problem in problems)
    say(f"{sum(map(len, asked.values())):,} problems, {turns:,} requests to {model.spec}")
    spending = Spending(options.limits)
    with closing(open_engine(model.spec, store=options.store, spending=spending)) as engine:
        answers = {
            task.name: generate(engine, bounded(task, options), asked[task.name], options.seed) for task in tasks
        }
        identity, usage = engine.identity, engine.usage
        say(f"{usage.asked:,} asked, {usage.stored:,} from the store")
    for task in tasks:
        about = {"model": model.name, "engine": model.spec, "identity": identity, **_said(answers[task.name])}
        yield _graded(task, asked[task.name], answers[task.name].outputs, about, options, spending)


def grade_predictions(task: Task, predictions: Path, options: Options) -> Result:
    """Grade what any program saved; asks no model but a judge.

    Raises:
        DataError: If the predictions or the records cannot be read, or do not fit.
        RecipeError: If the task needs a judge, or to run code, and has not got it.
    """
    check([task], options)
    problems = problems_of(task, options)
    outputs = read_predictions(predictions, problems, incomplete=options.incomplete)
    return _graded(task, problems, outputs, {"predictions": str(predictions)}, options, Spending(options.limits))


def check(tasks: Sequence[Task], options: Options) -> None:
    """Refuse tasks that could not be graded, before anything is asked.

    Raises:
        RecipeError: If one needs a judge, or to run code, and has not got it.
    """
    for task in tasks:
        if task.judged and options.judge is None:
            raise RecipeError(f"{task.name}: needs a judge; name its engine by --judge, as vllm:MODEL or an endpoint")
        if task.runs_code and not options.run_code:
            raise RecipeError(
                f"{task.name}: runs code that the model wrote, in a sandbox; allow it with --allow-code-execution"
            )


def bounded(task: Task, options: Options) -> Task:
    """The task with the answers' length that is asked for."""
    most = options.max_new_tokens
    return task if most is None else replace(task, max_tokens=most)


def problems_of_all(tasks: Sequence[Task], options: Options) -> dict[str, list[Problem]]:
    """The problems of tasks that can be graded, by the task's name.

    Raises:
        DataError: If a task's records cannot be had or lack a column.
        RecipeError: If one needs a judge, or to run code, and has not got it.
    """
    check(tasks, options)
    return {task.name: problems_of(task, options) for task in tasks}


def problems_of(task: Task, options: Options) -> list[Problem]:
    """The problems of a task.

    Raises:
        DataError: If its records cannot be had or lack a column.
    """
    records = read_records(task, options.data.get(task.name), options.limit)
    if task.name in options.references:
        if task.with_references is None:
            raise RecipeError(f"{task.name}: takes no reference answers")
        records = task.with_references(records, read_objects(Path(options.references[task.name])))
    return task.problems(records)


def _graded(
    task: Task,
    problems: Sequence[Problem],
    outputs: Sequence[Any],
    about: Mapping[str, Any],
    options: Options,
    spending: Spending,
) -> Result:
    means = Means(run_code=options.run_code, workers=options.workers)
    about = {
        **about,
        "data": options.data.get(task.name) or task.source[0],
        "graded": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": versions(),
    }
    if not task.judged or options.judge is None:
        return result_of(task, task.grade(problems, outputs, means), about, incomplete=options.incomplete)
    with closing(open_engine(options.judge, store=options.store, spending=spending)) as judge:
        grades = task.grade(problems, outputs, replace(means, judge=judge))
        about = {**about, "judge": options.judge, "judge_identity": judge.identity}
    return result_of(task, grades, about, incomplete=options.incomplete)


def _said(answers: Answers) -> dict[str, Any]:
    return {"cut_off": answers.cut_off, "failed": answers.failed}

"""After the arms are curated: equal data, trainings, evaluations, and the arms against each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...evals.running import Options, check
from ...evals.tasks import task_of
from .budgets import Pool, drawn_rows
from .doubts import doubts_of_trained
from .evaluating import Evaluation, Means, evaluate_all, scores_of
from .options import HELD_OUT, Evaluate, Train
from .paired import Scores, contrasts
from .pools import HeldOut, base_model, held_out_of, max_length_of, pools_of, selected_rows
from .training import Say, Training, given_arguments, train_all

FOLDER = "trained"


@dataclass(frozen=True)
class Trained:
    """What became of the trainings and evaluations of a study, as plain values of JSON.

    Attributes:
        contrasts: One for each (task, equal, arm): the arm's mean and its difference to the arm compared with.
        doubts: What makes the trained arms hard to compare.
    """

    trainings: tuple[Mapping[str, Any], ...]
    evaluations: tuple[Mapping[str, Any], ...]
    contrasts: tuple[Mapping[str, Any], ...]
    doubts: tuple[str, ...]

    @property
    def failed(self) -> list[str]:
        """Names of the trainings and evaluations without a result."""
        parts = [one for one in (*self.trainings, *self.evaluations) if one["status"] == "failed"]
        return [
            " ".join([f"{one['arm']}/{one['equal']}-seed{one['seed']}", one.get("task", "")]).strip() for one in parts
        ]


def check_sections(train: Train | None, evaluate: Evaluate | None, *, run_code: bool) -> None:
    """Find before hours of curating what would be found after them.

    Raises:
        RecipeError: If the training recipe cannot be read, or a task needs a judge or to run code and has not got it.
    """
    if train is not None:
        given_arguments(train)
    if evaluate is not None:
        check([task_of(name) for name in evaluate.asking], Options(judge=evaluate.judge, run_code=run_code))


def train_and_evaluate(
    train: Train, evaluate: Evaluate | None, runs: Mapping[str, Path], folder: Path, *, run_code: bool, say: Say
) -> Trained:
    """Train on what each arm selected, at equal size, and evaluate the models.

    Args:
        train: The study's section.
        evaluate: Likewise; None trains only.
        runs: Arm → its finished run.
        folder: The study's.
        run_code: Whether generated code may be run, in a sandbox.
        say: Prints a line.

    Raises:
        RecipeError: If the training recipe or its model cannot be read.
        DataError: If no arm has rows to train on.
    """
    with _without_bars():
        return _train_and_evaluate(train, evaluate, runs, folder, run_code, say)


def _train_and_evaluate(
    train: Train, evaluate: Evaluate | None, runs: Mapping[str, Path], folder: Path, run_code: bool, say: Say
) -> Trained:
    place, settings = folder / FOLDER, given_arguments(train)
    selected, faults = selected_rows(runs)
    if not selected:
        raise DataError(f"{folder}: no arm has a row with a response to train on ({'; '.join(faults.values())})")
    model = base_model(str(settings["model_name_or_path"]), selected, place)
    pools = pools_of(selected, settings, model, place)
    trainings = train_all(train, pools, faults, model, place, say)
    if evaluate is None:
        return _trained(trainings, [], [], None, folder)
    held_out, fault = _held_out(train, evaluate, {arm: runs[arm] for arm in selected}, pools, place)
    means = Means(held_out, fault, settings, max_length_of(settings), folder / "store.sqlite", run_code)
    evaluations = evaluate_all(evaluate, trainings, means, place, say)
    return _trained(trainings, evaluations, _contrasts(train, evaluate, evaluations), evaluate, folder)


@contextmanager
def _without_bars() -> Iterator[None]:
    """No progress bars of `datasets` and of the Hub, whose setting transformers follows: a training has several."""
    datasets = import_module("datasets.utils.tqdm")
    hub = import_module("huggingface_hub.utils.tqdm")
    shown = [bars for bars in (datasets, hub) if not bars.are_progress_bars_disabled()]
    for bars in shown:
        bars.disable_progress_bars()
    try:
        yield
    finally:
        for bars in shown:
            bars.enable_progress_bars()


def _held_out(
    train: Train, evaluate: Evaluate, runs: Mapping[str, Path], pools: Sequence[Pool], place: Path
) -> tuple[HeldOut | None, str]:
    if HELD_OUT not in evaluate.tasks:
        return None, ""
    drawn = drawn_rows(pools, train.equal, train.seeds)
    try:
        return held_out_of(runs, drawn, evaluate.held_out_rows, place, evaluate.data.get(HELD_OUT)), ""
    except DataError as fault:
        return None, str(fault)


def _contrasts(train: Train, evaluate: Evaluate, evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """Of each task and budget."""
    against, found = evaluate.against or "", []
    for task in dict.fromkeys(evaluate.tasks):
        for equal in train.equal:
            arms: Mapping[str, Scores] = scores_of(evaluations, task, equal)
            some = next((one.result for one in evaluations if one.task == task and one.result), {})
            about = {
                "task": task,
                "metric": some.get("metric"),
                "better": "lower" if task == HELD_OUT else "higher",
                "equal": equal,
                "against": against,
            }
            found += [{**about, **one.plain()} for one in contrasts(arms, against)]
    return found


def _trained(
    trainings: Sequence[Training],
    evaluations: Sequence[Evaluation],
    found: Sequence[Mapping[str, Any]],
    evaluate: Evaluate | None,
    folder: Path,
) -> Trained:
    told = [one.plain(folder) for one in trainings]
    reached = [one.plain(folder) for one in evaluations]
    doubts = doubts_of_trained(told, reached, found, evaluate.against if evaluate else None)
    return Trained(tuple(told), tuple(reached), tuple(found), tuple(doubts))
